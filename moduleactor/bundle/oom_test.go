package bundle_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/cgroup"
)

// TestOutOfMemory lets the kernel kill a shim, where this process may make cgroups.
func TestOutOfMemory(t *testing.T) {
	r, spec := withCgroups(t, "alloc") // which would otherwise eat all memory
	p, err := r.Start(t.Context(), spec, bundle.Limits{MemoryBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e.Code != 137 || e.Reason != bundle.OOMKilled || e.PeakMemoryBytes < 16<<20 || e.CPUTimeNanos == 0 {
		t.Errorf("exit %+v", e)
	}
	for _, d := range p.Spec().Cgroups {
		if _, err := os.Stat(d); !os.IsNotExist(err) {
			t.Errorf("%s stayed: %v", d, err)
		}
	}
}

// withCgroups returns a Runtime that makes cgroups, where this process may, and the spec of an attempt.
func withCgroups(t *testing.T, args ...string) (*bundle.Runtime, bundle.Spec) {
	t.Helper()
	cg, err := cgroup.Open("wazlet-test-" + strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	if err := cg.Create("probe/c-0", bundle.Limits{MemoryBytes: 1 << 20}); err != nil {
		t.Skipf("cgroups are not writable here: %v", err)
	}
	if err := cg.Remove(cg.Dirs("probe/c-0")); err != nil {
		t.Error(err)
	}
	root := t.TempDir()
	r, err := bundle.New(bundle.Config{
		Root: root, Shim: bundle.FakeShim, CacheDir: filepath.Join(root, "cache"), Cgroups: cg,
		Warn: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		for _, d := range cg.Dirs("") {
			_ = os.Remove(d)
		}
	})
	return r, bundle.Spec{
		Version: bundle.SpecVersion, PodUID: "uid", Container: "c", ContainerID: bundle.NewContainerID(),
		Module: "/m", ModuleDigest: "sha256:" + strings.Repeat("0", 64), CacheDir: root, Rootfs: root, Args: args,
	}
}

// TestBornInCgroups finds the shim in its cgroups, alone, from the first moment on, or, if it may hardly use the CPU, once
// its guest runs.
func TestBornInCgroups(t *testing.T) {
	r, spec := withCgroups(t, "run")
	for attempt, millicores := range []int64{0, 500, 50} {
		spec.Attempt = attempt
		p, err := r.Start(t.Context(), spec, bundle.Limits{CPUMillicores: millicores})
		if err != nil {
			t.Fatal(err)
		}
		if millicores == 50 {
			if _, ok, err := p.Started(t.Context()); err != nil || !ok {
				t.Fatalf("started %t, %v", ok, err)
			}
		}
		for _, d := range p.Spec().Cgroups {
			procs, err := os.ReadFile(filepath.Join(d, "cgroup.procs"))
			if got, want := string(procs), strconv.Itoa(p.PID())+"\n"; err != nil || got != want {
				t.Errorf("%d millicores: %s has %q, %v; want %q", millicores, d, got, err, want)
			}
		}
		if err := p.Signal(true); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
