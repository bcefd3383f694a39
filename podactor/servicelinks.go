package podactor

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// configSource is the annotation of a Pod that came from a file; without it, or with apiSource, the API server has it.
const (
	configSource = "kubernetes.io/config.source"
	apiSource    = "api"
)

// apiServerService is how the API server is called in the namespace default. Every Pod knows it.
const apiServerService = "kubernetes"

// IsStatic tells whether a Pod comes from a file, and not from the API server.
func IsStatic(p *corev1.Pod) bool {
	source := p.Annotations[configSource]
	return source != "" && source != apiSource
}

// serviceVariables sets the variables that tell where Services are: those of the Pod's namespace, unless it does not want
// them, and the API server. A Pod that is not of the API server does not wait for it.
func (s surroundings) serviceVariables(ctx context.Context, e *environment) error {
	if s.objects == nil {
		return nil
	}
	if IsStatic(s.pod) {
		over, cancel := context.WithCancel(ctx)
		cancel()
		if vars, err := s.serviceLinks(over); err == nil {
			e.services = vars
		}
		return nil
	}
	vars, err := s.serviceLinks(ctx)
	e.services = vars
	return err
}

func (s surroundings) serviceLinks(ctx context.Context) (map[string]string, error) {
	vars := map[string]string{}
	wanted := []string{metav1.NamespaceDefault}
	links := s.pod.Spec.EnableServiceLinks == nil || *s.pod.Spec.EnableServiceLinks
	if links && s.pod.Namespace != metav1.NamespaceDefault {
		wanted = append(wanted, s.pod.Namespace)
	}
	chosen := map[string]*corev1.Service{} // by name: the API server's cannot be replaced by one of the Pod's namespace
	for _, namespace := range wanted {
		services, err := s.objects.Services(ctx, namespace)
		if err != nil {
			return nil, fmt.Errorf("services have not yet been read at least once, cannot construct envvars: %w", err)
		}
		for _, svc := range services {
			apiServer := namespace == metav1.NamespaceDefault && svc.Name == apiServerService
			if !hasAddress(svc) || !apiServer && (!links || namespace != s.pod.Namespace) {
				continue
			}
			if _, ok := chosen[svc.Name]; !ok || apiServer {
				chosen[svc.Name] = svc
			}
		}
	}
	for _, svc := range chosen {
		addLinks(vars, svc)
	}
	return vars, nil
}

func hasAddress(s *corev1.Service) bool {
	return s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone && len(s.Spec.Ports) > 0
}

// addLinks sets the variables of one Service: Kubernetes' own, and those that Docker's links once had.
func addLinks(vars map[string]string, s *corev1.Service) {
	prefix := variableName(s.Name)
	vars[prefix+"_SERVICE_HOST"] = s.Spec.ClusterIP
	vars[prefix+"_SERVICE_PORT"] = strconv.Itoa(int(s.Spec.Ports[0].Port))
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		number := strconv.Itoa(int(p.Port))
		if p.Name != "" {
			vars[prefix+"_SERVICE_PORT_"+variableName(p.Name)] = number
		}
		protocol := corev1.ProtocolTCP
		if p.Protocol != "" {
			protocol = p.Protocol
		}
		lower := strings.ToLower(string(protocol))
		url := lower + "://" + net.JoinHostPort(s.Spec.ClusterIP, number)
		if i == 0 {
			vars[prefix+"_PORT"] = url
		}
		port := prefix + "_PORT_" + number + "_" + strings.ToUpper(string(protocol))
		vars[port] = url
		vars[port+"_PROTO"] = lower
		vars[port+"_PORT"] = number
		vars[port+"_ADDR"] = s.Spec.ClusterIP
	}
}

func variableName(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }
