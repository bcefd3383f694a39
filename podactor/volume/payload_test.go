package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// cluster has one ConfigMap, one Secret and tokens; anything else is not found.
type cluster struct {
	data  map[string]string
	err   error
	until time.Time
}

func (c *cluster) ConfigMap(_ context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	if c.err != nil || namespace != "ns" || name != "cm" {
		return nil, c.missing("configmap", name)
	}
	return &corev1.ConfigMap{Data: c.data, BinaryData: map[string][]byte{"bin": {0xff, 0}}}, nil
}

func (c *cluster) Secret(_ context.Context, namespace, name string) (*corev1.Secret, error) {
	if c.err != nil || namespace != "ns" || name != "s" {
		return nil, c.missing("secret", name)
	}
	return &corev1.Secret{Data: map[string][]byte{"user": []byte("u"), "pass": []byte("p")}}, nil
}

func (c *cluster) Token(_ context.Context, pod *corev1.Pod, p corev1.ServiceAccountTokenProjection) (string, time.Time, error) {
	return "token of " + pod.Name + " for " + p.Audience, c.until, c.err
}

func (c *cluster) missing(kind, name string) error {
	if c.err != nil {
		return c.err
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: kind}, name)
}

func clusterWorld(t *testing.T, c *cluster) World {
	t.Helper()
	return World{
		Root: t.TempDir(), Objects: c,
		Field: func(path string) (string, error) {
			if path == "bad" {
				return "", errors.New("want another one")
			}
			return "field " + path, nil
		},
		Resource: func(container string, f *corev1.ResourceFieldSelector) (string, error) {
			return container + " " + f.Resource, nil
		},
	}
}

func parsePod(t *testing.T, volume string) *corev1.Pod {
	t.Helper()
	v := corev1.Volume{Name: "v"}
	if err := yaml.UnmarshalStrict([]byte(volume), &v); err != nil {
		t.Fatal(err)
	}
	p := podWith(v)
	p.Name, p.Namespace = "p", "ns"
	return p
}

// listing is what a guest sees: the files with their content and modes.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	data := filepath.Join(dir, "..data")
	real, err := filepath.EvalSymlinks(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range tree(t, real) {
		if name, content, ok := strings.Cut(line, "="); ok {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			out[name] = info.Mode().String() + " " + content
		}
	}
	return out
}

const kubeAPIAccess = `
projected:
  defaultMode: 420
  sources:
  - serviceAccountToken: {path: token, expirationSeconds: 3607, audience: api}
  - configMap: {name: cm, items: [{key: ca.crt, path: ca.crt}]}
  - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}`

func TestProject(t *testing.T) {
	until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		volume  string
		want    map[string]string
		refresh time.Time
	}{
		"config map": {`configMap: {name: cm}`, map[string]string{"ca.crt": "-rw-r--r-- CERT", "k": "-rw-r--r-- v", "bin": "-rw-r--r-- \xff\x00"}, time.Time{}},
		"items and modes": {
			`configMap: {name: cm, defaultMode: 256, items: [{key: k, path: d/e/k}, {key: bin, path: bin, mode: 511}]}`,
			map[string]string{"d/e/k": "-r-------- v", "bin": "-rwxrwxrwx \xff\x00"},
			time.Time{},
		},
		"secret":          {`secret: {secretName: s, defaultMode: 288}`, map[string]string{"user": "-r--r----- u", "pass": "-r--r----- p"}, time.Time{}},
		"optional":        {`secret: {secretName: none, optional: true}`, map[string]string{}, time.Time{}},
		"optional keys":   {`configMap: {name: cm, optional: true, items: [{key: none, path: x}, {key: k, path: k}]}`, map[string]string{"k": "-rw-r--r-- v"}, time.Time{}},
		"downward":        {`downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}, mode: 256}, {path: r/cpu, resourceFieldRef: {containerName: c, resource: limits.cpu}}]}`, map[string]string{"l": "-r-------- field metadata.labels", "r/cpu": "-rw-r--r-- c limits.cpu"}, time.Time{}},
		"kube-api-access": {kubeAPIAccess, map[string]string{"token": "-rw-r--r-- token of p for api", "ca.crt": "-rw-r--r-- CERT", "namespace": "-rw-r--r-- field metadata.namespace"}, until},
		"all of a source": {`projected: {defaultMode: 256, sources: [{secret: {name: s}}, {configMap: {name: none, optional: true}}]}`, map[string]string{"user": "-r-------- u", "pass": "-r-------- p"}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := clusterWorld(t, &cluster{data: map[string]string{"ca.crt": "CERT", "k": "v"}, until: until})
			refresh, err := Setup(t.Context(), w, parsePod(t, c.volume))
			if err != nil || !refresh.Equal(c.refresh) {
				t.Fatalf("refresh at %v, error %v; want %v", refresh, err, c.refresh)
			}
			if d := cmp.Diff(c.want, listing(t, volumeDir(w.Root))); d != "" {
				t.Errorf("files (-want +got):\n%s", d)
			}
		})
	}
}

// The words are the kubelet's.
func TestProjectRefuses(t *testing.T) {
	for volume, want := range map[string]string{
		`configMap: {name: none}`:                                                   `configmap "none" not found`,
		`secret: {secretName: none}`:                                                `secret "none" not found`,
		`configMap: {name: cm, items: [{key: none, path: x}]}`:                      "configmap references non-existent config key: none",
		`secret: {secretName: s, items: [{key: none, path: x}]}`:                    "references non-existent secret key: none",
		`configMap: {name: cm, items: [{key: k, path: ../x}]}`:                      `path: must be without`,
		`configMap: {name: cm, items: [{key: k, path: ..data}]}`:                    `path: must not start with '..' (got "..data")`,
		`configMap: {name: cm, items: [{key: k, path: /x}]}`:                        `path: must be a relative path`,
		`configMap: {name: cm, items: [{key: k, path: x, mode: 512}]}`:              `mode of "x": want 0 to 0777 (got 01000)`,
		`configMap: {name: cm, items: [{key: k, path: x, mode: -1}]}`:               `mode of "x": want 0 to 0777`,
		`downwardAPI: {items: [{path: x}]}`:                                         "downwardAPI.items[0]: no source is given",
		`downwardAPI: {items: [{path: x, fieldRef: {fieldPath: bad}}]}`:             "downwardAPI.items[0].fieldRef.fieldPath: want another one",
		`projected: {sources: [{configMap: {name: none}}, {secret: {name: gone}}]}`: `[configmap "none" not found, secret "gone" not found]`,
		`projected: {sources: [{clusterTrustBundle: {name: x, path: z}}]}`:          "projected: kind clusterTrustBundle is not supported by this node",
		`configMap: {name: cm, items: [{key: k, path: a}, {key: k, path: a/b}]}`:    "write files",
		`persistentVolumeClaim: {claimName: c}`:                                     "kind persistentVolumeClaim is not supported by this node; supported: configMap",
	} {
		w := clusterWorld(t, &cluster{data: map[string]string{"k": "v"}})
		_, err := Setup(t.Context(), w, parsePod(t, volume))
		wantError(t, err, want)
	}
	w := clusterWorld(t, &cluster{err: errors.New("no API server")})
	for _, volume := range []string{`configMap: {name: cm, optional: true}`, `secret: {secretName: s, optional: true}`, kubeAPIAccess} {
		_, err := Setup(t.Context(), w, parsePod(t, volume))
		wantError(t, err, "no API server")
	}
}

func TestRefresh(t *testing.T) {
	c := &cluster{data: map[string]string{"k": "old"}}
	w := clusterWorld(t, c)
	pod := parsePod(t, `configMap: {name: cm, items: [{key: k, path: k}]}`)
	other := corev1.Volume{Name: "other"}
	other.Secret = &corev1.SecretVolumeSource{SecretName: "s"}
	pod.Spec.Volumes = append([]corev1.Volume{emptyDir("data"), other}, pod.Spec.Volumes...)
	if _, err := Setup(t.Context(), w, pod); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.Root, "pods", uid, ".volumes", "data")); err != nil {
		t.Fatal(err)
	}
	show := func(want string) {
		t.Helper()
		if d := cmp.Diff(map[string]string{"k": "-rw-r--r-- " + want}, listing(t, volumeDir(w.Root))); d != "" {
			t.Errorf("files (-want +got):\n%s", d)
		}
	}
	c.data = map[string]string{"k": "new"}
	if _, err := Refresh(t.Context(), w, pod); err != nil {
		t.Fatal(err)
	}
	show("new")
	if _, err := os.Stat(filepath.Join(w.Root, "pods", uid, ".volumes", "data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Refresh touches an emptyDir: %v", err)
	}
	// One that is gone keeps its content, and the next volume gets its new one.
	pod.Spec.Volumes[1].Secret.SecretName = "gone"
	c.data = map[string]string{"k": "newer"}
	_, err := Refresh(t.Context(), w, pod)
	wantError(t, err, `volume "other": secret "gone" not found`)
	show("newer")
	c.err = errors.New("no API server")
	if _, err := Refresh(t.Context(), w, pod); err == nil {
		t.Error("no error")
	}
	show("newer")
	c.err, pod.Spec.Volumes[1].Secret.SecretName = nil, "s"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.data = map[string]string{"k": "late"}
	if _, err := Refresh(ctx, w, pod); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	show("newer")
}

func TestUses(t *testing.T) {
	for volume, want := range map[string]string{
		`configMap: {name: a}`:    "ConfigMap a",
		`secret: {secretName: a}`: "Secret a",
		`projected: {sources: [{downwardAPI: {}}, {secret: {name: a}}]}`: "Secret a downward",
		`projected: {sources: [{configMap: {name: a}}]}`:                 "ConfigMap a",
		`downwardAPI: {}`: "downward",
		`emptyDir: {}`:    "",
	} {
		pod := parsePod(t, volume)
		var got []string
		for _, kind := range []string{"ConfigMap", "Secret"} {
			if Uses(pod, kind, "a") {
				got = append(got, kind+" a")
			}
			if Uses(pod, kind, "b") {
				got = append(got, kind+" b")
			}
		}
		if Downward(pod) {
			got = append(got, "downward")
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%s (-want +got):\n%s", volume, d)
		}
	}
}

// A container that mounts one file goes on seeing it when the volume is replaced; the next attempt sees the new one.
func TestSubPathOfMadeFiles(t *testing.T) {
	c := &cluster{data: map[string]string{"k": "old"}}
	w := clusterWorld(t, c)
	pod := parsePod(t, `configMap: {name: cm, items: [{key: k, path: d/k}]}`)
	if _, err := Setup(t.Context(), w, pod); err != nil {
		t.Fatal(err)
	}
	container := &corev1.Container{Name: "c", VolumeMounts: []corev1.VolumeMount{
		{Name: "v", MountPath: "/all"}, {Name: "v", MountPath: "/one", SubPath: "d/k"}, {Name: "v", MountPath: "/dir", SubPath: "d"},
	}}
	for _, step := range []string{"old", "new"} {
		mounts, err := Mounts(w.Root, pod, container, noExpand)
		if err != nil {
			t.Fatal(err)
		}
		c.data = map[string]string{"k": "new"}
		if _, err := Refresh(t.Context(), w, pod); err != nil {
			t.Fatal(err)
		}
		for _, m := range mounts {
			if !m.ReadOnly {
				t.Errorf("%s can be written", m.Guest)
			}
		}
		if data, err := os.ReadFile(mounts[1].Host); err != nil || string(data) != step {
			t.Errorf("the mounted file: %q, %v; want %q", data, err, step)
		}
		if data, err := os.ReadFile(filepath.Join(mounts[0].Host, "d/k")); err != nil || string(data) != "new" {
			t.Errorf("the volume: %q, %v", data, err)
		}
	}
	for sub, want := range map[string]string{"none": "no such file", "/d": "absolute", "../x": "'..'"} {
		container.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/x", SubPath: sub}}
		_, err := Mounts(w.Root, pod, container, noExpand)
		wantError(t, err, want)
	}
}
