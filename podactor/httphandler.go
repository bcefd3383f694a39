package podactor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// The annotations of a Pod whose containers are HTTP handlers. The first one makes them so: all containers that declare a
// TCP port, or those that the second one names.
const (
	annotationHandler           = "wazlet.dev/http-handler"
	annotationHandlerContainers = "wazlet.dev/http-handler-containers"
	annotationHandlerTimeout    = "wazlet.dev/http-handler-timeout"
	annotationHandlerConcurrent = "wazlet.dev/http-handler-max-concurrency"
	annotationHandlerBody       = "wazlet.dev/http-handler-max-body-bytes"
	annotationHandlerAuth       = "wazlet.dev/http-handler-pass-authorization"
)

// HandlerLimits are what HTTP handlers have, and what a Pod may ask for.
type HandlerLimits struct {
	// Default holds for a Pod that says nothing, Max is the most that an annotation may say.
	Default, Max HandlerLimit
}

// HandlerLimit bounds the requests of one container.
type HandlerLimit struct {
	Timeout        time.Duration
	MaxConcurrency int
	MaxBodyBytes   int64
}

// httpHandler is how a container serves HTTP, nil if it does not. An error names the annotation, what was found and what is
// allowed.
func httpHandler(limits HandlerLimits, pod *corev1.Pod, c *corev1.Container) (*bundle.Handler, error) {
	protocol, ok := pod.Annotations[annotationHandler]
	if !ok {
		return nil, strayHandlerAnnotation(pod)
	}
	if protocol != bundle.HandlerCGI {
		return nil, invalidAnnotation(pod, annotationHandler, "want "+bundle.HandlerCGI)
	}
	chosen, err := isHandler(pod, c)
	if err != nil || !chosen {
		return nil, err
	}
	h := &bundle.Handler{
		Protocol: protocol, Timeout: limits.Default.Timeout,
		MaxConcurrency: limits.Default.MaxConcurrency, MaxBodyBytes: limits.Default.MaxBodyBytes,
	}
	return h, limits.Max.read(pod, h)
}

// strayHandlerAnnotation refuses settings of a handler that is none.
func strayHandlerAnnotation(pod *corev1.Pod) error {
	for _, name := range []string{
		annotationHandlerContainers, annotationHandlerTimeout, annotationHandlerConcurrent, annotationHandlerBody, annotationHandlerAuth,
	} {
		if _, ok := pod.Annotations[name]; ok {
			return fmt.Errorf("annotation %s: needs %s: %s", name, annotationHandler, bundle.HandlerCGI)
		}
	}
	return nil
}

// isHandler tells whether a container of a Pod with handlers is one.
func isHandler(pod *corev1.Pod, c *corev1.Container) (bool, error) {
	list, ok := pod.Annotations[annotationHandlerContainers]
	if !ok {
		if !slices.ContainsFunc(candidates(pod), hasTCPPort) {
			return false, invalidAnnotation(pod, annotationHandler, "want a container with a containerPort of protocol TCP")
		}
		return roleOf(pod, c.Name) != Init && hasTCPPort(*c), nil
	}
	var names []string
	for _, n := range candidates(pod) {
		names = append(names, n.Name)
	}
	chosen := false
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		i := slices.Index(names, name)
		if i < 0 {
			return false, invalidAnnotation(pod, annotationHandlerContainers, "want names of containers, with commas: "+strings.Join(names, ","))
		}
		if !hasTCPPort(candidates(pod)[i]) {
			return false, invalidAnnotation(pod, annotationHandlerContainers, fmt.Sprintf("container %s has no containerPort of protocol TCP", name))
		}
		chosen = chosen || name == c.Name
	}
	return chosen, nil
}

// candidates are the containers that may be handlers: those that are not to end by themselves.
func candidates(pod *corev1.Pod) []corev1.Container {
	var out []corev1.Container
	for _, c := range pod.Spec.InitContainers {
		if roleOf(pod, c.Name) == Sidecar {
			out = append(out, c)
		}
	}
	return append(out, pod.Spec.Containers...)
}

func hasTCPPort(c corev1.Container) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
		return p.Protocol == corev1.ProtocolTCP || p.Protocol == ""
	})
}

// read lets the Pod's annotations change h, up to what is the most.
func (most HandlerLimit) read(pod *corev1.Pod, h *bundle.Handler) error {
	if v, ok := pod.Annotations[annotationHandlerTimeout]; ok {
		d, err := time.ParseDuration(v)
		if err != nil || d < time.Millisecond || d > most.Timeout {
			return invalidAnnotation(pod, annotationHandlerTimeout, fmt.Sprintf("want 1ms to %s, as in 30s", most.Timeout))
		}
		h.Timeout = d
	}
	if v, ok := pod.Annotations[annotationHandlerConcurrent]; ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > most.MaxConcurrency {
			return invalidAnnotation(pod, annotationHandlerConcurrent, fmt.Sprintf("want 1 to %d", most.MaxConcurrency))
		}
		h.MaxConcurrency = n
	}
	if v, ok := pod.Annotations[annotationHandlerBody]; ok {
		q, err := resource.ParseQuantity(v)
		if limit := resource.NewQuantity(most.MaxBodyBytes, resource.BinarySI); err != nil || q.Sign() < 0 || q.Cmp(*limit) > 0 {
			return invalidAnnotation(pod, annotationHandlerBody, fmt.Sprintf("want 0 to %s, as in 10Mi", limit))
		}
		h.MaxBodyBytes = q.Value()
	}
	if v, ok := pod.Annotations[annotationHandlerAuth]; ok {
		if v != "true" && v != "false" {
			return invalidAnnotation(pod, annotationHandlerAuth, "want true or false")
		}
		h.PassAuthorization = v == "true"
	}
	return nil
}

func invalidAnnotation(pod *corev1.Pod, name, allowed string) error {
	return fmt.Errorf("annotation %s: %s (got %.80q)", name, allowed, pod.Annotations[name])
}
