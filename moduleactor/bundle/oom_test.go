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
	cg, err := cgroup.Open("wazlet-test-" + strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	root := t.TempDir()
	r, err := bundle.New(bundle.Config{
		Root: root, Shim: bundle.FakeShim, CacheDir: filepath.Join(root, "cache"), Cgroups: cg,
		Warn: func(err error) {
			t.Error(err)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec := bundle.Spec{
		Version: bundle.SpecVersion, PodUID: "uid", Container: "c", ContainerID: bundle.NewContainerID(),
		Module: "/m", ModuleDigest: "sha256:" + strings.Repeat("0", 64), CacheDir: root, Rootfs: root, Args: []string{"alloc"},
	}
	// What is probed here would otherwise eat all memory.
	if err := cg.Create("probe/c-0", bundle.Limits{MemoryBytes: 1 << 20}); err != nil {
		t.Skipf("cgroups are not writable here: %v", err)
	}
	if err := cg.Remove(cg.Dirs("probe/c-0")); err != nil {
		t.Error(err)
	}
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
		_ = os.Remove(filepath.Dir(filepath.Dir(d)))
	}
}
