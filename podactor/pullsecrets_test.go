package podactor

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestPullKeys(t *testing.T) {
	pod := onePod("c")
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "a"}, {Name: "gone"}, {}, {Name: "lost"}, {Name: "b"}}
	secret := func(name string, kind corev1.SecretType, key, content string) *corev1.Secret {
		s := &corev1.Secret{Type: kind, Data: map[string][]byte{key: []byte(content)}}
		s.Namespace, s.Name, s.UID = "ns", name, "uid"
		return s
	}
	objects := &fakeObjects{secrets: map[string]*corev1.Secret{
		"ns/a": secret("a", corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, `{"auths":{"x.io":{"password":"hunter2"},"y.io":{}}}`),
		"ns/b": secret("b", corev1.SecretTypeDockercfg, corev1.DockerConfigKey, `{"z.io":{"auth":"YTpi"}}`),
	}}
	keys, missing := pullKeys(t.Context(), surroundings{pod: pod, objects: objects})
	if d := cmp.Diff([]string{"gone", "lost"}, missing); d != "" || keys.Len() != 3 {
		t.Errorf("%d keys; missing (-want +got):\n%s", keys.Len(), d)
	}
	if keys, missing = pullKeys(t.Context(), surroundings{pod: pod}); keys.Len() != 0 || len(missing) != 4 {
		t.Errorf("without a cluster: %d keys, missing %v", keys.Len(), missing)
	}
}

// What a Pod's actor keeps on disk knows no credentials.
func TestCheckpointHoldsNoCredentials(t *testing.T) {
	pod := onePod("c")
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "a"}}
	n := newNode(t, 1, pod, forever)
	s := &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{
		corev1.DockerConfigJsonKey: []byte(`{"auths":{"x.io":{"password":"hunter2"}}}`),
	}}
	n.objects = &fakeObjects{secrets: map[string]*corev1.Secret{"ns/a": s}}
	n.up()
	n.down()
	c, err := LoadCheckpoint(n.cfg.RootDir, string(pod.UID))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.State.Containers) != 1 || strings.Contains(string(b), "hunter2") {
		t.Errorf("checkpoint: %s", b)
	}
}
