package podactor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// podField is the value of a field of the Pod, for valueFrom.fieldRef.
func (s surroundings) podField(path string) (string, error) {
	pod := s.pod
	if key, ok := subscript(path, "metadata.labels"); ok {
		return pod.Labels[key], nil
	}
	if key, ok := subscript(path, "metadata.annotations"); ok {
		return pod.Annotations[key], nil
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return s.cfg.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	}
	var addresses corev1.PodStatus
	setAddresses(&addresses, pod, s.hostIP, s.podIP)
	if strings.HasPrefix(path, "status.hostIP") && addresses.HostIP == "" {
		return "", fmt.Errorf("%s: %w", path, errNoHostIP)
	}
	if strings.HasPrefix(path, "status.podIP") && addresses.PodIP == "" {
		return "", fmt.Errorf("%s: the Pod has no address", path)
	}
	switch path {
	case "status.hostIP":
		return addresses.HostIP, nil
	case "status.podIP":
		return addresses.PodIP, nil
	case "status.hostIPs":
		return joined(addresses.HostIPs, func(a corev1.HostIP) string { return a.IP }), nil
	case "status.podIPs":
		return joined(addresses.PodIPs, func(a corev1.PodIP) string { return a.IP }), nil
	}
	return "", fmt.Errorf("want metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], "+
		"metadata.annotations['KEY'], spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP "+
		"or status.podIPs (got %q)", path)
}

func joined[T any](list []T, text func(T) string) string {
	out := make([]string, 0, len(list))
	for _, x := range list {
		out = append(out, text(x))
	}
	return strings.Join(out, ",")
}

// subscript takes KEY from field['KEY'].
func subscript(path, field string) (key string, ok bool) {
	rest, ok := strings.CutPrefix(path, field+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// volumeField is podField for a file of a downwardAPI volume, where all labels or annotations can be had at once.
func (s surroundings) volumeField(path string) (string, error) {
	switch path {
	case "metadata.labels":
		return formatMap(s.pod.Labels), nil
	case "metadata.annotations":
		return formatMap(s.pod.Annotations), nil
	}
	return s.podField(path)
}

// formatMap is one line KEY="VALUE" for each entry, sorted, without a newline at the end.
func formatMap(m map[string]string) string {
	var b strings.Builder
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s=%q", key, m[key])
	}
	return b.String()
}

// resourceField is the value of a resourceFieldRef: a request or limit of a container, counted in divisors and rounded
// up. A limit that the container does not have is the Pod's, or else all that the node can give.
func (s surroundings) resourceField(container string, f *corev1.ResourceFieldSelector) (string, error) {
	c := specOf(s.pod, container)
	if c == nil {
		return "", fmt.Errorf("containerName: the Pod has no container %q", container)
	}
	which, name, _ := strings.Cut(f.Resource, ".")
	resourceName := corev1.ResourceName(name)
	if !countable(resourceName) || which != "limits" && which != "requests" {
		return "", fmt.Errorf("resource: want limits. or requests. followed by cpu, memory, ephemeral-storage or "+
			"hugepages-SIZE (got %q)", f.Resource)
	}
	list := c.Resources.Requests
	if which == "limits" {
		list = c.Resources.Limits
	}
	q, ok := list[resourceName]
	if which == "limits" && (!ok || q.IsZero()) {
		var err error
		if q, err = s.defaultLimit(resourceName); err != nil {
			return "", fmt.Errorf("resource: %s: %w", f.Resource, err)
		}
	}
	divisor := f.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if resourceName == corev1.ResourceCPU {
		return strconv.FormatInt(ceil(q.MilliValue(), divisor.MilliValue()), 10), nil
	}
	return strconv.FormatInt(ceil(q.Value(), divisor.Value()), 10), nil
}

func countable(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage ||
		strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

func (s surroundings) defaultLimit(name corev1.ResourceName) (resource.Quantity, error) {
	if r := s.pod.Spec.Resources; r != nil {
		if q, ok := r.Limits[name]; ok && !q.IsZero() {
			return q, nil
		}
	}
	if s.allocatable == nil {
		return resource.Quantity{}, errors.New("the container has no limit, and what the node can give is not known")
	}
	return s.allocatable()[name], nil
}

// ceil is a/b rounded up; b is positive, because the smallest quantity above zero rounds up to one.
func ceil(a, b int64) int64 {
	q := a / b
	if a%b > 0 {
		q++
	}
	return q
}
