package podactor

import (
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// environment is a container's own environment, in the order of its definition.
type environment struct {
	names  []string
	values map[string]string
}

func (e *environment) lookup(name string) (string, bool) {
	v, ok := e.values[name]
	return v, ok
}

// list is K=V, each name once, with its last value.
func (e *environment) list() []string {
	out := make([]string, 0, len(e.names))
	for _, n := range e.names {
		out = append(out, n+"="+e.values[n])
	}
	return out
}

func (e *environment) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

// newEnvironment evaluates env. What refers to objects of a cluster is refused: an empty value would be a lie.
func newEnvironment(cfg Config, pod *corev1.Pod, c *corev1.Container) (*environment, error) {
	if len(c.EnvFrom) > 0 {
		return nil, fmt.Errorf("envFrom[0].%s: not supported by a node without a cluster; use env with a value",
			setField(c.EnvFrom[0]))
	}
	e := &environment{values: make(map[string]string, len(c.Env))}
	for i := range c.Env {
		v := &c.Env[i]
		switch {
		case v.ValueFrom == nil:
			e.set(v.Name, expand(v.Value, e.lookup))
		case v.ValueFrom.FieldRef != nil:
			value, err := podField(cfg, pod, v.ValueFrom.FieldRef.FieldPath)
			if err != nil {
				return nil, fmt.Errorf("env[%d].valueFrom.fieldRef.fieldPath: %w", i, err)
			}
			e.set(v.Name, value)
		default:
			return nil, fmt.Errorf("env[%d].valueFrom.%s: not supported by a node without a cluster; use a value", i, setField(*v.ValueFrom))
		}
	}
	return e, nil
}

// setField names the first field of a struct that is not nil, as in a manifest.
func setField(s any) string {
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			return name
		}
	}
	return "(empty)"
}

// podField is the value of a field of the Pod, for valueFrom.fieldRef.
func podField(cfg Config, pod *corev1.Pod, path string) (string, error) {
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
		return cfg.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return cfg.HostIP, nil
	}
	return "", fmt.Errorf("want metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], "+
		"metadata.annotations['KEY'], spec.nodeName, spec.serviceAccountName or status.hostIP (got %q)", path)
}

// subscript takes KEY from field['KEY'].
func subscript(path, field string) (key string, ok bool) {
	rest, ok := strings.CutPrefix(path, field+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}
