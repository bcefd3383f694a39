package podactor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// shown is the content of a file of a volume, as a guest finds it.
func (n *fakeNode) shown(volume, name string) string {
	n.t.Helper()
	data, err := os.ReadFile(filepath.Join(n.cfg.RootDir, "pods", "uid-1", ".volumes", volume, name))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(data)
}

// What every Pod of a cluster carries, from the missing ConfigMap to the last token.
func TestPodOfACluster(t *testing.T) {
	pod := onePod("c")
	access := corev1.Volume{Name: "kube-api-access"}
	access.Projected = &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}},
		}}},
	}}
	pod.Spec.Volumes = []corev1.Volume{access}
	n := newNode(t, 1, pod, forever)
	objects := &fakeObjects{
		configMaps: map[string]*corev1.ConfigMap{}, services: map[string][]*corev1.Service{},
		until: n.sim.Now().Add(48 * time.Minute),
	}
	n.objects = objects
	n.up()
	if len(n.starts) != 0 {
		t.Fatalf("started without its volume")
	}
	objects.configMaps["ns/kube-root-ca.crt"] = &corev1.ConfigMap{Data: map[string]string{"ca.crt": "one"}}
	n.tell(Refresh{kindConfigMap, "ns", "kube-root-ca.crt"})
	if d := cmp.Diff([]time.Duration{0}, n.starts); d != "" {
		t.Errorf("starts (-want +got):\n%s", d)
	}
	wantFiles := func(token, ca string) {
		t.Helper()
		got := []string{n.shown(access.Name, "token"), n.shown(access.Name, "ca.crt"), n.shown(access.Name, "namespace")}
		if d := cmp.Diff([]string{token, ca, "ns"}, got); d != "" {
			t.Errorf("files (-want +got):\n%s", d)
		}
	}
	wantFiles("token-2", "one") // the first was asked for in vain
	n.sim.Run(40 * time.Minute)
	wantFiles("token-2", "one")
	objects.until = n.sim.Now().Add(time.Hour)
	n.sim.Run(9 * time.Minute)
	wantFiles("token-3", "one")
	objects.configMaps["ns/kube-root-ca.crt"] = &corev1.ConfigMap{Data: map[string]string{"ca.crt": "two"}}
	n.tell(Refresh{kindConfigMap, "ns", "kube-root-ca.crt"})
	wantFiles("token-4", "two")
	n.tell(Terminate{Grace: time.Second})
	n.sim.Run(time.Minute)
	if _, err := os.Stat(filepath.Join(n.cfg.RootDir, "pods", "uid-1", ".volumes")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("volumes are left: %v", err)
	}
	n.down()
}
