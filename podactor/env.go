package podactor

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// environment is a container's environment, in the order of its definition. Variables of Services come last: they yield
// to the container's own.
type environment struct {
	names    []string
	values   map[string]string
	services map[string]string
}

func (e *environment) lookup(name string) (string, bool) {
	if v, ok := e.values[name]; ok {
		return v, true
	}
	v, ok := e.services[name]
	return v, ok
}

// list is K=V, each name once, with its last value.
func (e *environment) list() []string {
	out := make([]string, 0, len(e.names)+len(e.services))
	for _, n := range e.names {
		out = append(out, n+"="+e.values[n])
	}
	for _, n := range slices.Sorted(maps.Keys(e.services)) {
		if _, own := e.values[n]; !own {
			out = append(out, n+"="+e.services[n])
		}
	}
	return out
}

func (e *environment) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

// check refuses what cannot be handed to a guest: WASI ends each variable with a NUL.
func (e *environment) check() error {
	for _, n := range e.names {
		if strings.ContainsRune(n, 0) || strings.ContainsRune(e.values[n], 0) {
			return fmt.Errorf("environment variable %q: contains a NUL byte", n)
		}
	}
	return nil
}

// newEnvironment evaluates envFrom, then env, as the kubelet does, and with its words for what is missing. What refers to
// objects of a cluster is refused where there is none: an empty value would be a lie.
func newEnvironment(ctx context.Context, s surroundings, c *corev1.Container) (*environment, error) {
	e := &environment{values: make(map[string]string, len(c.Env))}
	if err := s.serviceVariables(ctx, e); err != nil {
		return nil, err
	}
	r := &references{surroundings: s, configMaps: map[string]*corev1.ConfigMap{}, secrets: map[string]*corev1.Secret{}}
	for i := range c.EnvFrom {
		if err := r.envFrom(ctx, e, i, &c.EnvFrom[i]); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		v := &c.Env[i]
		if v.ValueFrom == nil || v.Value != "" {
			e.set(v.Name, expand(v.Value, e.lookup))
			continue
		}
		value, skip, err := r.valueFrom(ctx, c.Name, i, v.ValueFrom)
		if err != nil {
			return nil, err
		}
		if !skip {
			e.set(v.Name, value)
		}
	}
	return e, e.check()
}

// references reads what an environment refers to; each object once, so that all its keys are of one version.
type references struct {
	surroundings
	configMaps map[string]*corev1.ConfigMap
	secrets    map[string]*corev1.Secret
}

// envFrom sets a variable for each key of an object.
func (r *references) envFrom(ctx context.Context, e *environment, i int, f *corev1.EnvFromSource) error {
	if r.objects == nil {
		return fmt.Errorf("envFrom[%d].%s: not supported by a node without a cluster; use env with a value", i, setField(*f))
	}
	data := map[string]string{}
	switch {
	case f.ConfigMapRef != nil:
		cm, err := r.configMap(ctx, f.ConfigMapRef.Name)
		if err != nil {
			return unlessOptional(err, f.ConfigMapRef.Optional)
		}
		data = cm.Data
	case f.SecretRef != nil:
		secret, err := r.secret(ctx, f.SecretRef.Name)
		if err != nil {
			return unlessOptional(err, f.SecretRef.Optional)
		}
		for k, v := range secret.Data {
			data[k] = string(v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(data)) {
		e.set(f.Prefix+k, data[k])
	}
	return nil
}

// valueFrom is the value of one variable; skip leaves the variable out, because what it refers to is optional.
func (r *references) valueFrom(ctx context.Context, container string, i int, f *corev1.EnvVarSource) (value string, skip bool, err error) {
	switch {
	case f.FieldRef != nil:
		if value, err = r.podField(f.FieldRef.FieldPath); err != nil {
			err = fmt.Errorf("env[%d].valueFrom.fieldRef.fieldPath: %w", i, err)
		}
		return value, false, err
	case f.ResourceFieldRef != nil:
		if f.ResourceFieldRef.ContainerName != "" {
			container = f.ResourceFieldRef.ContainerName
		}
		if value, err = r.resourceField(container, f.ResourceFieldRef); err != nil {
			err = fmt.Errorf("env[%d].valueFrom.resourceFieldRef.%w", i, err)
		}
		return value, false, err
	case f.FileKeyRef != nil:
		return "", false, fmt.Errorf("env[%d].valueFrom.fileKeyRef: not supported by this node", i)
	case r.objects == nil:
		return "", false, fmt.Errorf("env[%d].valueFrom.%s: not supported by a node without a cluster; use a value", i, setField(*f))
	case f.ConfigMapKeyRef != nil:
		return r.configMapKey(ctx, f.ConfigMapKeyRef)
	case f.SecretKeyRef != nil:
		return r.secretKey(ctx, f.SecretKeyRef)
	}
	return "", false, fmt.Errorf("env[%d].valueFrom: no source is given", i)
}

func (r *references) configMapKey(ctx context.Context, f *corev1.ConfigMapKeySelector) (value string, skip bool, err error) {
	cm, err := r.configMap(ctx, f.Name)
	if err != nil {
		err = unlessOptional(err, f.Optional)
		return "", err == nil, err
	}
	value, ok := cm.Data[f.Key]
	switch {
	case ok:
		return value, false, nil
	case optional(f.Optional):
		return "", true, nil
	}
	return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", f.Key, r.pod.Namespace, f.Name)
}

func (r *references) secretKey(ctx context.Context, f *corev1.SecretKeySelector) (value string, skip bool, err error) {
	secret, err := r.secret(ctx, f.Name)
	if err != nil {
		err = unlessOptional(err, f.Optional)
		return "", err == nil, err
	}
	data, ok := secret.Data[f.Key]
	switch {
	case ok:
		return string(data), false, nil
	case optional(f.Optional):
		return "", true, nil
	}
	return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", f.Key, r.pod.Namespace, f.Name)
}

func (r *references) configMap(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	if cm, ok := r.configMaps[name]; ok {
		return cm, nil
	}
	cm, err := r.objects.ConfigMap(ctx, r.pod.Namespace, name)
	if err == nil {
		r.configMaps[name] = cm
	}
	return cm, err
}

func (r *references) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	if s, ok := r.secrets[name]; ok {
		return s, nil
	}
	s, err := r.objects.Secret(ctx, r.pod.Namespace, name)
	if err == nil {
		r.secrets[name] = s
	}
	return s, err
}

// unlessOptional is nil for the absence of an optional object. Whether it is absent must be known for that.
func unlessOptional(err error, o *bool) error {
	if optional(o) && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func optional(o *bool) bool { return o != nil && *o }

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

// environmentUses tells whether the environment of a container refers to an object.
func environmentUses(c *corev1.Container, kind, name string) bool {
	isConfigMap, isSecret := kind == kindConfigMap, kind == kindSecret
	for i := range c.EnvFrom {
		f := &c.EnvFrom[i]
		if isConfigMap && f.ConfigMapRef != nil && f.ConfigMapRef.Name == name || isSecret && f.SecretRef != nil && f.SecretRef.Name == name {
			return true
		}
	}
	for i := range c.Env {
		f := c.Env[i].ValueFrom
		if f == nil {
			continue
		}
		if isConfigMap && f.ConfigMapKeyRef != nil && f.ConfigMapKeyRef.Name == name || isSecret && f.SecretKeyRef != nil && f.SecretKeyRef.Name == name {
			return true
		}
	}
	return false
}
