package moduleactor_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/moduleactortest"
)

// newBundles is a real runtime whose shims run no module.
func newBundles(t *testing.T) (*bundle.Runtime, string) {
	t.Helper()
	root := t.TempDir()
	r, err := bundle.New(bundle.Config{Root: root, Shim: os.Args[0], CacheDir: filepath.Join(root, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, root
}

func shimSpec(root string, attempt int, args ...string) bundle.Spec {
	id := bundle.ID{PodUID: "uid-1", Container: "c", Attempt: attempt}
	return bundle.Spec{
		Version: bundle.SpecVersion, PodUID: id.PodUID, Namespace: "ns", Pod: "pod", Container: id.Container, Attempt: attempt,
		ContainerID: bundle.NewContainerID(), ImageID: "r/i@sha256:1", Module: "/m.wasm",
		ModuleDigest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		CacheDir:     filepath.Join(root, "cache"), Args: args, Rootfs: filepath.Join(root, "rootfs"),
	}
}

// TestAdapterEndsAStrayAttempt starts an attempt while an earlier one runs that nobody watches any more.
func TestAdapterEndsAStrayAttempt(t *testing.T) {
	r, root := newBundles(t)
	rt := moduleactor.FromBundle(r)
	stray, err := rt.Start(t.Context(), shimSpec(root, 0, moduleactortest.Deaf), bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := stray.Started(t.Context()); !ok || err != nil {
		t.Fatalf("started: %v, %v", ok, err)
	}
	next, err := rt.Start(t.Context(), shimSpec(root, 1, "app"), bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := stray.Wait(t.Context()); err != nil || x.Code != 137 {
		t.Errorf("the stray attempt ended with %+v, %v; want code 137", x, err)
	}
	adopted, err := rt.Adopt(t.Context(), bundle.ID{PodUID: "uid-1", Container: "c", Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := adopted.Started(t.Context()); !ok || err != nil {
		t.Fatalf("started: %v, %v", ok, err)
	}
	if err := adopted.Signal(false); err != nil {
		t.Fatal(err)
	}
	if x, err := next.Wait(t.Context()); err != nil || x.Code != 143 {
		t.Errorf("the next attempt ended with %+v, %v; want code 143", x, err)
	}
}

// TestAdapterErrors has no process in its hand after an error, not even a nil one.
func TestAdapterErrors(t *testing.T) {
	r, root := newBundles(t)
	rt := moduleactor.FromBundle(r)
	if p, err := rt.Adopt(t.Context(), bundle.ID{PodUID: "uid-1", Container: "c"}); p != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("adopt: %v, %v", p, err)
	}
	bad := shimSpec(root, 0, "app")
	bad.Version = 99
	if p, err := rt.Start(t.Context(), bad, bundle.Limits{}); p != nil || err == nil {
		t.Errorf("start: %v, %v", p, err)
	}
}
