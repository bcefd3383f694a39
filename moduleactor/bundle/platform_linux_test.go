package bundle

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/prometheus/procfs"
)

// TestStartUnified has a process born in a cgroup of version 2, where this process may make one.
func TestStartUnified(t *testing.T) {
	dir := filepath.Join(unifiedMount(t), "wazlet-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	pidfd := -1
	p, err := startIn([]string{dir}, []string{"/bin/sleep", "1000"}, &os.ProcAttr{Sys: shimAttr(&pidfd)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Kill()
		_, _ = p.Wait()
		_ = os.NewFile(uintptr(pidfd), "pidfd").Close()
	})
	procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if got, want := string(procs), strconv.Itoa(p.Pid)+"\n"; err != nil || got != want {
		t.Errorf("it has %q, %v; want %q", got, err, want)
	}
	lines, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Pid), "cgroup"))
	if err != nil || !isIn(string(lines), []string{dir}) {
		t.Errorf("%q, %v does not say that it is in %s", lines, err, dir)
	}
}

func unifiedMount(t *testing.T) string {
	t.Helper()
	mounts, err := procfs.GetMounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if m.FSType == "cgroup2" {
			return m.MountPoint
		}
	}
	t.Skip("no cgroups of version 2 here")
	return ""
}
