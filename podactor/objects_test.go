package podactor

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// fakeObjects is a cluster of maps; the key of an object is namespace/name.
type fakeObjects struct {
	configMaps map[string]*corev1.ConfigMap
	secrets    map[string]*corev1.Secret
	services   map[string][]*corev1.Service
	reads      int
	tokens     int
	// until is when a token grows old.
	until time.Time
	err   error
}

func (f *fakeObjects) ConfigMap(_ context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	f.reads++
	if cm, ok := f.configMaps[namespace+"/"+name]; ok || f.err != nil {
		return cm, f.err
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmap"}, name)
}

func (f *fakeObjects) Secret(_ context.Context, namespace, name string) (*corev1.Secret, error) {
	f.reads++
	if s, ok := f.secrets[namespace+"/"+name]; ok || f.err != nil {
		return s, f.err
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secret"}, name)
}

func (f *fakeObjects) Token(context.Context, *corev1.Pod, corev1.ServiceAccountTokenProjection) (string, time.Time, error) {
	f.tokens++
	return "token-" + string(rune('0'+f.tokens)), f.until, f.err
}

// Services fails when it would have to wait, but for a namespace that is there.
func (f *fakeObjects) Services(ctx context.Context, namespace string) ([]*corev1.Service, error) {
	if f.services == nil {
		return nil, errors.Join(ctx.Err(), f.err)
	}
	return f.services[namespace], nil
}

func configVolume(name string) corev1.Volume {
	v := corev1.Volume{Name: name}
	v.ConfigMap = &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}
	return v
}

func downwardVolume(path string) corev1.Volume {
	v := corev1.Volume{Name: "downward"}
	v.DownwardAPI = &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
		{Path: "value", FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}},
	}}
	return v
}
