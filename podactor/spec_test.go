package podactor

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/image"
	"github.com/wazlet/wazlet/podactor/volume"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"A": "a", "EMPTY": "", "REF": "$(A)"}
	lookup := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	for in, want := range map[string]string{
		"":             "",
		"plain":        "plain",
		"$(A)":         "a",
		"x$(A)y$(A)z":  "xayaz",
		"$(EMPTY)":     "",
		"$(NONE)":      "$(NONE)",
		"$(REF)":       "$(A)", // once only
		"$$(A)":        "$(A)",
		"$$$(A)":       "$a",
		"$$$$(A)":      "$$(A)",
		"$A":           "$A",
		"${A}":         "${A}",
		"$":            "$",
		"a$":           "a$",
		"$$":           "$",
		"$(A":          "$(A",
		"$(A$(A)":      "$(A$(A)",
		"$()":          "$()",
		"$(A))":        "a)",
		"100% $ (A) ä": "100% $ (A) ä",
	} {
		if got := expand(in, lookup); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$(A)", "$$(A)", "$(A", "$", "a$(B)c$$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := expand(s, func(string) (string, bool) { return "", false }); len(got) > len(s) {
			t.Errorf("expand(%q) = %q: longer although nothing is known", s, got)
		}
		if !strings.Contains(s, "$") && expand(s, func(string) (string, bool) { return "x", true }) != s {
			t.Errorf("%q has nothing to expand", s)
		}
	})
}

func TestPullPolicy(t *testing.T) {
	for ref, want := range map[string]image.PullPolicy{
		"hello": image.Always, "hello:latest": image.Always, "hello:1": image.IfNotPresent,
		"reg:5000/hello": image.Always, "reg:5000/hello:2": image.IfNotPresent,
		"hello@sha256:abc": image.IfNotPresent, "hello:latest@sha256:abc": image.IfNotPresent,
	} {
		if got := pullPolicy(&corev1.Container{Image: ref}); got != want {
			t.Errorf("%s: %s, want %s", ref, got, want)
		}
	}
	if got := pullPolicy(&corev1.Container{Image: "hello", ImagePullPolicy: corev1.PullNever}); got != image.Never {
		t.Errorf("the container's own policy: %s", got)
	}
}

func TestResolveSpec(t *testing.T) {
	cfg := Config{RootDir: t.TempDir(), PodLogsDir: "/var/log/pods", NodeName: "edge-1"}
	pod := onePod("c")
	pod.Labels = map[string]string{"app": "web"}
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	yes := true
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	pod.Spec.Containers[0] = corev1.Container{
		Name: "c", Image: "reg/img:1", WorkingDir: "/w",
		Command: []string{"run", "$(GREETING)"}, Args: []string{"$(NODE)", "$$(NODE)", "$(LATER)"},
		Env: []corev1.EnvVar{
			{Name: "NODE", ValueFrom: field("spec.nodeName")},
			{Name: "GREETING", Value: "hi $(NODE) $(LATER)"},
			{Name: "LATER", Value: "l"},
			{Name: "APP", ValueFrom: field("metadata.labels['app']")},
			{Name: "IP", ValueFrom: field("status.hostIP")},
			{Name: "LATER", Value: "l2"},
		},
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
		}},
		VolumeMounts:    []corev1.VolumeMount{{Name: "v", MountPath: "/data", SubPathExpr: "$(APP)"}},
		SecurityContext: &corev1.SecurityContext{ReadOnlyRootFilesystem: &yes},
	}
	if _, err := volume.Setup(t.Context(), volume.World{Root: cfg.RootDir}, pod); err != nil {
		t.Fatal(err)
	}
	got, err := resolveSpec(t.Context(), surroundings{cfg: cfg, pod: pod, hostIP: "10.0.0.1"}, "c", false)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Mounts) != 1 || !strings.HasSuffix(got.Mounts[0].Host, "/.volumes/v/web") || got.Mounts[0].Guest != "/data" {
		t.Errorf("mounts %+v", got.Mounts)
	}
	got.Mounts = nil
	want := moduleactor.Spec{
		Pod: refOf(pod), Container: "c", FieldPath: "spec.containers{c}", Image: "reg/img:1", PullPolicy: image.IfNotPresent,
		Command: []string{"run", "hi edge-1 $(LATER)"}, Args: []string{"edge-1", "$(NODE)", "l2"},
		Env:      []string{"NODE=edge-1", "GREETING=hi edge-1 $(LATER)", "LATER=l2", "APP=web", "IP=10.0.0.1"},
		Hostname: "p", WorkingDir: "/w", RootReadOnly: true, MemoryBytes: 64 << 20, CPUMillicores: 250,
		LogDir:                   "/var/log/pods/ns_p_uid-1/c",
		TerminationMessagePath:   "/dev/termination-log",
		TerminationMessagePolicy: "File",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("spec (-want +got):\n%s", d)
	}
	adopted, err := resolveSpec(t.Context(), surroundings{pod: pod, hostIP: "10.0.0.1"}, "c", true)
	if err != nil || adopted.Mounts != nil {
		t.Errorf("adopting looks at volumes: %+v, %v", adopted.Mounts, err)
	}
}

func TestResolveSpecRefuses(t *testing.T) {
	env := func(v corev1.EnvVar) func(*corev1.Container) {
		return func(c *corev1.Container) { c.Env = []corev1.EnvVar{v} }
	}
	for name, c := range map[string]struct {
		change func(*corev1.Container)
		want   string
	}{
		"secret": {
			env(corev1.EnvVar{Name: "X", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}}),
			"env[0].valueFrom.secretKeyRef: not supported by a node without a cluster; use a value",
		},
		"unknown field": {
			env(corev1.EnvVar{Name: "X", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.x"}}}),
			`env[0].valueFrom.fieldRef.fieldPath: want metadata.name,`,
		},
		"no source": {env(corev1.EnvVar{Name: "X", ValueFrom: &corev1.EnvVarSource{}}), "env[0].valueFrom.(empty)"},
		"envFrom": {
			func(c *corev1.Container) {
				c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{}}}
			},
			"envFrom[0].configMapRef: not supported by a node without a cluster; use env with a value",
		},
		"mount": {
			func(c *corev1.Container) {
				c.VolumeMounts = []corev1.VolumeMount{{Name: "none", MountPath: "/x"}}
			},
			`volumeMounts[0]: name: the Pod has no volume "none"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := onePod("c")
			c.change(&pod.Spec.Containers[0])
			_, err := resolveSpec(t.Context(), surroundings{cfg: Config{RootDir: t.TempDir()}, pod: pod}, "c", false)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if _, err := resolveSpec(t.Context(), surroundings{cfg: Config{}, pod: onePod("c")}, "d", false); err == nil {
		t.Error("a container that does not exist has a spec")
	}
}

// A Pod gets the isolation that its class stands for, or none.
func TestIsolationIsNeverAnother(t *testing.T) {
	for name, c := range map[string]struct {
		class    string // empty: none
		fallback Isolation
		apart    bool // a shim for each namespace
		hostPath bool
		want     string
		err      string // part of it
	}{
		"none":                        {"", "", false, false, "", ""},
		"process":                     {"wasm", IsolationShared, false, true, "", ""},
		"shared":                      {"wasm-shared", IsolationProcess, false, false, "node", ""},
		"shared by namespace":         {"wasm-shared", "", true, false, "ns-default", ""},
		"not named":                   {"other", "", false, false, "", ""},
		"not named, shared otherwise": {"other", IsolationShared, false, false, "node", ""},
		"shared with a hostPath": {
			"wasm-shared", "", false, true, "",
			"volumes[0].hostPath: not possible with isolation shared, whose process sees nothing of the host but isolation.shared.hostPaths",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{
				RootDir: t.TempDir(), RuntimeClasses: map[string]Isolation{"wasm-shared": IsolationShared, "wasm": IsolationProcess},
				DefaultIsolation: c.fallback, SharedByNamespace: c.apart,
			}
			pod := onePod("c")
			pod.Namespace = "default"
			if c.class != "" {
				pod.Spec.RuntimeClassName = &c.class
			}
			if c.hostPath {
				pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
			}
			s, err := resolveSpec(t.Context(), surroundings{cfg: cfg, pod: pod}, "c", false)
			if s.Shim != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("shim %q, %v; want %q, %q", s.Shim, err, c.want, c.err)
			}
		})
	}
}

// In a shared shim a hostPath volume must be in one of the node's directories for that, wherever links lead.
func TestSharedHostPaths(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	err = errors.Join(os.MkdirAll(in("shared/data"), 0o755), os.Mkdir(in("private"), 0o755), os.Symlink("shared", in("link")),
		os.Symlink("../private", in("shared/out")), os.Symlink("data", in("shared/inside")))
	if err != nil {
		t.Fatal(err)
	}
	class := "wasm-shared"
	for name, c := range map[string]struct{ allowed, path, host, err string }{
		"the directory itself":    {"shared", "shared", "shared", ""},
		"below it":                {"shared", "shared/data", "shared/data", ""},
		"made below it":           {"shared", "shared/new", "shared/new", ""},
		"a link that stays in it": {"shared", "shared/inside", "shared/data", ""},
		"the node's own link":     {"link", "link/data", "shared/data", ""},
		"outside":                 {"shared", "private", "", "got " + strconv.Quote(in("private"))},
		"above":                   {"shared", ".", "", "got " + strconv.Quote(dir)},
		"of a similar name":       {"shared", "shared2", "", "got " + strconv.Quote(in("shared2"))},
		"a link that leads out":   {"shared", "shared/out", "", "got " + strconv.Quote(in("private"))},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{RootDir: t.TempDir(), RuntimeClasses: map[string]Isolation{class: IsolationShared}, SharedHostPaths: []string{in(c.allowed)}}
			pod := onePod("c")
			pod.Spec.RuntimeClassName = &class
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: in(c.path)}}}}
			pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/data"}}
			s, err := resolveSpec(t.Context(), surroundings{cfg: cfg, pod: pod}, "c", false)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %s", err, c.err)
				}
				return
			}
			if err != nil || len(s.Mounts) != 1 || s.Mounts[0].Host != in(c.host) {
				t.Errorf("mounts %v, %v; want %s", s.Mounts, err, in(c.host))
			}
		})
	}
}

func TestSignalsAnnotation(t *testing.T) {
	for value, want := range map[string]string{"-": "", "fd": "fd", "none": "none", "": `annotation wazlet.dev/signals: want fd or none (got "")`, "yes": `(got "yes")`} {
		pod := onePod("c")
		if value != "-" {
			pod.Annotations = map[string]string{SignalsAnnotation: value}
		}
		s, err := resolveSpec(t.Context(), surroundings{cfg: Config{RootDir: t.TempDir()}, pod: pod}, "c", false)
		got := s.Signals
		if err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, want) || want == "" && got != "" {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestRemoveLogsStaysInItsDirectory(t *testing.T) {
	for name, change := range map[string]func(*corev1.Pod, *Config){
		"name with a slash": func(p *corev1.Pod, _ *Config) { p.Name = "../../x" },
		"namespace":         func(p *corev1.Pod, _ *Config) { p.Namespace = "../x" },
		"no directory":      func(_ *corev1.Pod, c *Config) { c.PodLogsDir = "" },
	} {
		t.Run(name, func(t *testing.T) {
			pod, cfg := onePod("c"), Config{PodLogsDir: t.TempDir()}
			change(pod, &cfg)
			if err := removeLogs(cfg, pod); err == nil {
				t.Errorf("%s is taken for a Pod's directory", podLogsDir(cfg, pod))
			}
		})
	}
}

func TestPodField(t *testing.T) {
	pod := onePod("c")
	pod.Labels, pod.Annotations = map[string]string{"a.b/c": "l"}, map[string]string{"x": "n"}
	pod.Spec.ServiceAccountName = "sa"
	around := surroundings{cfg: Config{NodeName: "edge-1"}, pod: pod, hostIP: "10.0.0.1"}
	for path, want := range map[string]string{
		"metadata.name": "p", "metadata.namespace": "ns", "metadata.uid": "uid-1", "metadata.labels['a.b/c']": "l",
		"metadata.labels['none']": "", "metadata.annotations['x']": "n", "spec.nodeName": "edge-1",
		"spec.serviceAccountName": "sa", "status.hostIP": "10.0.0.1", "status.hostIPs": "10.0.0.1",
	} {
		if got, err := around.podField(path); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", path, got, err, want)
		}
	}
	around.podIP = "10.1.0.2"
	for _, path := range []string{"status.podIP", "status.podIPs"} {
		if got, err := around.podField(path); err != nil || got != "10.1.0.2" {
			t.Errorf("%s = %q, %v", path, got, err)
		}
	}
	around.podIP = ""
	for _, path := range []string{"", "metadata.labels", "metadata.labels['x", "status.podIP", "metadata.labels[x]"} {
		if got, err := around.podField(path); err == nil {
			t.Errorf("%q = %q, want an error", path, got)
		}
	}
}
