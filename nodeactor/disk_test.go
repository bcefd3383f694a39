package nodeactor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/moduleactortest"
	"github.com/wazlet/wazlet/nodeactor"
	"github.com/wazlet/wazlet/podactor"
)

// start starts a real process that does nothing, as a container of a Pod.
func start(t *testing.T, r *bundle.Runtime, root, uid, container, arg string) *bundle.Process {
	t.Helper()
	p, err := r.Start(t.Context(), bundle.Spec{
		Version: bundle.SpecVersion, PodUID: uid, Namespace: "ns", Pod: "pod", Container: container,
		ContainerID: bundle.NewContainerID(), ImageID: "r/i@sha256:1", Module: "/m.wasm",
		ModuleDigest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		CacheDir:     filepath.Join(root, "cache"), Args: []string{arg}, Rootfs: filepath.Join(root, "rootfs"),
	}, bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := p.Started(t.Context()); !ok || err != nil {
		t.Fatalf("started: %v, %v", ok, err)
	}
	return p
}

// TestDiskEndsAndRemoves deals with a Pod that no actor knows: real processes, one of which ignores SIGTERM.
func TestDiskEndsAndRemoves(t *testing.T) {
	root := t.TempDir()
	r, err := bundle.New(bundle.Config{Root: root, Shim: os.Args[0], CacheDir: filepath.Join(root, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	logs := filepath.Join(root, "logs")
	for _, name := range []string{"ns_pod_uid-1", "ns_pod_uid-2"} {
		if err := os.MkdirAll(filepath.Join(logs, name, "c"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	polite := start(t, r, root, "uid-1", "polite", "app")
	deaf := start(t, r, root, "uid-1", "deaf", moduleactortest.Deaf)
	other := start(t, r, root, "uid-2", "other", "app")
	d := nodeactor.NewDisk(r, root, logs)
	if got := d.Recover(); cmp.Diff([]string{"uid-1", "uid-2"}, got.Orphans) != "" || len(got.Errs) > 0 {
		t.Errorf("remains: %+v", got)
	}
	if err := d.Remove("uid-1"); !errors.Is(err, bundle.ErrBusy) {
		t.Errorf("remove with guests alive: %v, want %v", err, bundle.ErrBusy)
	}
	if err := d.End(t.Context(), "uid-1", 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for p, code := range map[*bundle.Process]int32{polite: 143, deaf: 137} {
		if x, err := p.Wait(t.Context()); err != nil || x.Code != code {
			t.Errorf("%s ended with %+v, %v; want code %d", p.Spec().Container, x, err, code)
		}
	}
	for range 2 { // the second time there is nothing
		if err := d.Remove("uid-1"); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "orphans that are left", d.Recover().Orphans, "uid-2")
	if _, err := os.Stat(filepath.Join(logs, "ns_pod_uid-1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the logs are still there: %v", err)
	}
	if err := d.End(t.Context(), "uid-2", time.Minute); err != nil {
		t.Fatal(err)
	}
	if x, err := other.Wait(t.Context()); err != nil || x.Code != 143 {
		t.Errorf("other ended with %+v, %v", x, err)
	}
}

func TestDiskRefusesStrangeNames(t *testing.T) {
	d := nodeactor.NewDisk(nil, t.TempDir(), t.TempDir())
	for _, uid := range []string{"", "..", "../x", "a/b", "*"} {
		if err := d.Remove(uid); err == nil || !strings.Contains(err.Error(), "podUID") {
			t.Errorf("remove %q: %v", uid, err)
		}
	}
}

// TestDiskFailWithoutCheckpoint has nothing to write the verdict into.
func TestDiskFailWithoutCheckpoint(t *testing.T) {
	d := nodeactor.NewDisk(nil, t.TempDir(), "")
	if err := d.Fail("uid-1", podactor.Outcome{Phase: corev1.PodFailed, Reason: actors.ReasonAgentError}, time.Now()); err != nil {
		t.Error(err)
	}
}
