package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// kernel makes the files that the kernel would make in a new cgroup.
func kernel(t *testing.T, dir string, files ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 {
			got[e.Name()] = string(data)
		}
	}
	return got
}

func TestCreateUnified(t *testing.T) {
	tests := []struct {
		name   string
		limits bundle.Limits
		want   map[string]string
	}{
		{"limits", bundle.Limits{MemoryBytes: 1 << 20, CPUMillicores: 250}, map[string]string{
			"memory.max": "1048576", "memory.swap.max": "0", "cpu.max": "25000 100000", "pids.max": strconv.Itoa(PIDs()),
		}},
		{"none", bundle.Limits{}, map[string]string{
			"memory.max": "max", "memory.swap.max": "0", "cpu.max": "max 100000", "pids.max": strconv.Itoa(PIDs()),
		}},
		{"least cpu", bundle.Limits{CPUMillicores: 1}, map[string]string{
			"memory.max": "max", "memory.swap.max": "0", "cpu.max": "1000 100000", "pids.max": strconv.Itoa(PIDs()),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			h := &Hierarchy{mounts: []mount{{root, []string{"memory", "cpu", "pids"}}}, unified: true, parent: "wazlet"}
			for _, d := range []string{"", "wazlet", "wazlet/uid"} {
				kernel(t, filepath.Join(root, d), "cgroup.subtree_control")
			}
			kernel(t, h.Dirs("uid/c-0")[0], "memory.max", "memory.swap.max", "cpu.max", "pids.max")
			if err := h.Create("uid/c-0", tt.limits); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, contents(t, h.Dirs("uid/c-0")[0])); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if got := contents(t, root)["cgroup.subtree_control"]; got != "+pids" {
				t.Errorf("root delegates %q last, want +pids", got)
			}
		})
	}
}

func TestCreateV1(t *testing.T) {
	root := t.TempDir()
	h := &Hierarchy{mounts: []mount{
		{filepath.Join(root, "memory"), []string{"memory"}},
		{filepath.Join(root, "cpu,cpuacct"), []string{"cpu", "cpuacct"}},
	}, parent: "wazlet"}
	dirs := h.Dirs("uid/c-3")
	kernel(t, dirs[0], "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
	kernel(t, dirs[1], "cpu.cfs_period_us", "cpu.cfs_quota_us")
	for _, step := range []struct {
		limits      bundle.Limits
		mem, memsw  string
		quota, name string
	}{
		{bundle.Limits{MemoryBytes: 4096, CPUMillicores: 1500}, "4096", "4096", "150000", "limits"},
		{bundle.Limits{}, "-1", "-1", "-1", "again without"},
	} {
		if err := h.Create("uid/c-3", step.limits); err != nil {
			t.Fatal(err)
		}
		want := []map[string]string{
			{"memory.limit_in_bytes": step.mem, "memory.memsw.limit_in_bytes": step.memsw},
			{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": step.quota},
		}
		got := []map[string]string{contents(t, dirs[0]), contents(t, dirs[1])}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestCreateNotWritable(t *testing.T) {
	root := t.TempDir()
	h := &Hierarchy{mounts: []mount{{root, []string{"memory"}}}, parent: "wazlet"}
	err := h.Create("uid/c-0", bundle.Limits{MemoryBytes: 1}) // no kernel here makes memory.limit_in_bytes
	if err == nil || !strings.Contains(err.Error(), "memory.limit_in_bytes") {
		t.Fatalf("got error %v, want one that names the file", err)
	}
	if _, err := os.Stat(h.Dirs("uid/c-0")[0]); !os.IsNotExist(err) {
		t.Errorf("the cgroup was left behind: %v", err)
	}
}

func TestUsage(t *testing.T) {
	write := func(dir string, files map[string]string) string {
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	tests := []struct {
		name string
		dirs []string
		want bundle.Usage
	}{
		{"unified", []string{write(t.TempDir(), map[string]string{
			"memory.events": "low 0\noom 2\noom_kill 1\noom_group_kill 0\n", "memory.peak": "4096\n",
			"cpu.stat": "usage_usec 1500\nuser_usec 1000\n",
		})}, bundle.Usage{OOMKills: 1, PeakMemoryBytes: 4096, CPUTime: 1500 * time.Microsecond}},
		{"v1", []string{
			write(t.TempDir(), map[string]string{
				"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "memory.max_usage_in_bytes": "8192\n",
			}),
			write(t.TempDir(), map[string]string{"cpuacct.usage": "77\n", "cpu.stat": "nr_periods 0\n"}),
		}, bundle.Usage{OOMKills: 3, PeakMemoryBytes: 8192, CPUTime: 77}},
		{"gone", []string{filepath.Join(t.TempDir(), "gone")}, bundle.Usage{}},
		{"nonsense", []string{write(t.TempDir(), map[string]string{"memory.peak": "max", "memory.events": "oom_kill x\n"})}, bundle.Usage{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, new(Hierarchy).Usage(tt.dirs)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	root := t.TempDir()
	h := &Hierarchy{mounts: []mount{{root, []string{"memory"}}}, parent: "wazlet"}
	a, b := h.Dirs("uid/a-0"), h.Dirs("uid/b-0")
	kernel(t, a[0])
	kernel(t, b[0])
	pod := filepath.Dir(a[0])
	if err := h.Remove(a); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pod); err != nil {
		t.Errorf("the Pod's cgroup went with its first container: %v", err)
	}
	if err := h.Remove(b); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pod); !os.IsNotExist(err) {
		t.Errorf("the Pod's cgroup stayed: %v", err)
	}
	if err := h.Remove(b); err != nil {
		t.Errorf("removed again: %v", err)
	}
	for _, foreign := range []string{root, filepath.Join(root, "wazlet"), filepath.Join(root, "other"), filepath.Join(root, "wazlet/../other")} {
		if err := h.Remove([]string{foreign}); err == nil {
			t.Errorf("removed %s", foreign)
		}
	}
}

// TestKernel makes a real cgroup where this process may.
func TestKernel(t *testing.T) {
	h, err := Open("wazlet-test-" + strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	err = h.Create("uid/c-0", bundle.Limits{MemoryBytes: 64 << 20, CPUMillicores: 500})
	if err != nil {
		t.Skipf("cgroups are not writable here: %v", err)
	}
	t.Cleanup(func() {
		for _, m := range h.mounts {
			_ = os.Remove(filepath.Join(m.path, h.parent))
		}
	})
	if err := h.Create("uid/c-0", bundle.Limits{}); err != nil {
		t.Errorf("create again without limits: %v", err)
	}
	if err := h.Create("uid/c-0", bundle.Limits{MemoryBytes: 32 << 20}); err != nil {
		t.Errorf("create again: %v", err)
	}
	if got := h.Usage(h.Dirs("uid/c-0")).OOMKills; got != 0 {
		t.Errorf("got %d OOM kills of an empty cgroup", got)
	}
	if err := h.Remove(h.Dirs("uid/c-0")); err != nil {
		t.Error(err)
	}
}
