package moduleactor

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

func TestArgv(t *testing.T) {
	bare := image.Image{Name: "app.wasm"}
	both := image.Image{Name: "app.wasm", Entrypoint: []string{"/app.wasm", "-v"}, Cmd: []string{"serve"}}
	onlyCmd := image.Image{Name: "app.wasm", Cmd: []string{"/app.wasm", "serve"}}
	cases := []struct {
		name          string
		img           image.Image
		command, args []string
		want          []string
	}{
		{"no config", bare, nil, nil, []string{"app.wasm"}},
		{"no config, args", bare, nil, []string{"a", "b"}, []string{"app.wasm", "a", "b"}},
		{"no config, command", bare, []string{"x"}, nil, []string{"x"}},
		{"no config, both", bare, []string{"x"}, []string{"a"}, []string{"x", "a"}},
		{"image", both, nil, nil, []string{"/app.wasm", "-v", "serve"}},
		{"image, args replace cmd", both, nil, []string{"a"}, []string{"/app.wasm", "-v", "a"}},
		{"image, command replaces both", both, []string{"x"}, nil, []string{"x"}},
		{"image, both", both, []string{"x"}, []string{"a"}, []string{"x", "a"}},
		{"cmd only", onlyCmd, nil, nil, []string{"/app.wasm", "serve"}},
		{"cmd only, args", onlyCmd, nil, []string{"/app.wasm", "q"}, []string{"/app.wasm", "q"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := argv(Spec{Command: c.command, Args: c.args}, c.img)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("argv (-want +got):\n%s", d)
			}
		})
	}
}

func TestEnviron(t *testing.T) {
	cases := []struct {
		name string
		spec Spec
		img  image.Image
		want []string
	}{
		{"host name", Spec{}, image.Image{}, []string{"HOSTNAME=web-0"}},
		{"container's host name", Spec{Env: []string{"HOSTNAME=x"}}, image.Image{}, []string{"HOSTNAME=x"}},
		{"image first", Spec{Env: []string{"B=2"}}, image.Image{Env: []string{"A=1"}}, []string{"HOSTNAME=web-0", "A=1", "B=2"}},
		{"last wins", Spec{Env: []string{"A=2", "A=3"}}, image.Image{Env: []string{"A=1", "C=c"}}, []string{"HOSTNAME=web-0", "A=3", "C=c"}},
		{"image's directory", Spec{}, image.Image{WorkingDir: "/srv"}, []string{"HOSTNAME=web-0", "PWD=/srv"}},
		{"container's directory", Spec{WorkingDir: "/data"}, image.Image{WorkingDir: "/srv", Env: []string{"PWD=/"}}, []string{"HOSTNAME=web-0", "PWD=/data"}},
		{"container's PWD", Spec{WorkingDir: "/data", Env: []string{"PWD=/x"}}, image.Image{}, []string{"HOSTNAME=web-0", "PWD=/x"}},
		{"empty value, equals sign", Spec{Env: []string{"A=", "B=c=d"}}, image.Image{}, []string{"HOSTNAME=web-0", "A=", "B=c=d"}},
		{"nonsense of an image", Spec{}, image.Image{Env: []string{"", "=x", "novalue"}}, []string{"HOSTNAME=web-0"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.spec.Pod.Name = "web-0"
			if d := cmp.Diff(c.want, environ(c.spec, c.img)); d != "" {
				t.Errorf("environment (-want +got):\n%s", d)
			}
		})
	}
}

// TestBuildSpec makes a spec that a bundle takes.
func TestBuildSpec(t *testing.T) {
	run := Run{Attempt: 2, Spec: Spec{
		Pod: actors.PodRef{UID: "uid-1", Namespace: "ns", Name: "web"}, Container: "c", LogDir: "/logs/c",
		Mounts: []bundle.Mount{{Host: "/h", Guest: "/g", ReadOnly: true}}, RootReadOnly: true, MemoryBytes: 1 << 20,
		TerminationMessagePath: "/dev/termination-log",
	}}
	img := image.Image{
		ID: "r/i@sha256:1", Module: "/m.wasm", Name: "m.wasm",
		Digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	}
	got := buildSpec(run, img, Config{RootDir: "/var/lib/wazlet", GuestLimits: bundle.GuestLimits{OpenFiles: 7}}.withDefaults())
	got.ContainerID, got.Rootfs = bundle.NewContainerID(), "/rootfs"
	if err := got.Validate(); err != nil {
		t.Errorf("the spec is not valid: %v", err)
	}
	want := bundle.Spec{
		Version: bundle.SpecVersion, PodUID: "uid-1", Namespace: "ns", Pod: "web", Container: "c", Attempt: 2,
		ContainerID: got.ContainerID, ImageID: "r/i@sha256:1", Module: "/m.wasm", ModuleDigest: img.Digest,
		CacheDir: filepath.Join("/var/lib/wazlet", "cache"), Args: []string{"m.wasm"}, Env: []string{"HOSTNAME=web"},
		Rootfs: "/rootfs", RootReadOnly: true, Mounts: []bundle.Mount{{Host: "/h", Guest: "/g", ReadOnly: true}},
		MemoryBytes: 1 << 20, GuestLimits: bundle.GuestLimits{OpenFiles: 7}, Log: &bundle.Log{Path: "/logs/c/2.log", MaxBytes: 10 << 20, MaxFiles: 5},
		TerminationMessagePath: "/dev/termination-log", Landlock: true,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("spec (-want +got):\n%s", d)
	}
}

// The Pod's word counts, then the image's.
func TestWantsSignals(t *testing.T) {
	for _, tt := range []struct {
		pod, image string
		want       bool
		err        string
	}{
		{"", "", false, ""},
		{"fd", "", true, ""},
		{"", "fd", true, ""},
		{"none", "fd", false, ""},
		{"fd", "none", true, ""},
		{"none", "whatever", false, ""},
		{"", "whatever", false, `image label wazlet.dev/signals: want fd or none (got "whatever")`},
	} {
		got, err := wantsSignals(Spec{Signals: tt.pod}, image.Image{Signals: tt.image})
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tt.want || text != tt.err {
			t.Errorf("Pod %q, image %q: %t, %q", tt.pod, tt.image, got, text)
		}
	}
}
