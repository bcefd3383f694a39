package cgroup

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

const (
	statV1 = "cache 9\nrss 1\ninactive_file 7\npgfault 8\ntotal_cache 500\ntotal_rss 300\ntotal_pgfault 50\ntotal_pgmajfault 3\ntotal_inactive_file 100\n"
	statV2 = "anon 300\nfile 500\nworkingset_refault_anon 0\ninactive_anon 1\ninactive_file 100\npgfault 50\npgmajfault 3\n"
)

func TestSample(t *testing.T) {
	v1 := []mount{{"memory", []string{"memory"}}, {"acct", []string{"cpu", "cpuacct"}}, {"pids", []string{"pids"}}}
	filesV1 := map[string]string{
		"memory/wazlet/u/c-0/memory.usage_in_bytes": "1000\n", "memory/wazlet/u/c-0/memory.stat": statV1,
		"acct/wazlet/u/c-0/cpuacct.usage": "1234567890\n",
	}
	v2 := []mount{{"all", []string{"memory", "cpu", "pids"}}}
	filesV2 := map[string]string{
		"all/wazlet/u/c-0/memory.current": "1000\n", "all/wazlet/u/c-0/memory.stat": statV2,
		"all/wazlet/u/c-0/cpu.stat": "usage_usec 1234567\nuser_usec 1\n",
	}
	want := bundle.Sample{MemoryBytes: 1000, WorkingSetBytes: 900, RSSBytes: 300, PageFaults: 50, MajorPageFaults: 3}
	for name, tt := range map[string]struct {
		mounts []mount
		files  map[string]string
		change map[string]string
		cpu    time.Duration
		err    string // part of it; empty: none
	}{
		"version 1":                {v1, filesV1, nil, 1234567890, ""},
		"version 2":                {v2, filesV2, nil, 1234567 * time.Microsecond, ""},
		"without cpuacct":          {v1[:1], filesV1, nil, 0, "no cpuacct"},
		"a file is missing":        {v1, filesV1, map[string]string{"acct/wazlet/u/c-0/cpuacct.usage": ""}, 0, "cpuacct.usage: no such file"},
		"version 2, gone":          {v2, nil, nil, 0, "memory.current: no such file"},
		"something else in a file": {v2, filesV2, map[string]string{"all/wazlet/u/c-0/memory.current": "-1"}, 0, `want a number (got "-1")`},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			h := &Hierarchy{parent: "wazlet", unified: len(tt.mounts) == 1 && len(tt.mounts[0].controllers) > 1}
			for _, m := range tt.mounts {
				h.mounts = append(h.mounts, mount{filepath.Join(root, m.path), m.controllers})
			}
			files := maps.Clone(tt.files)
			maps.Copy(files, tt.change)
			write(t, root, files)
			got, err := h.Sample(h.Dirs("u/c-0"))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q in it", err, tt.err)
				}
				return
			}
			want.CPU = tt.cpu
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if content == "" {
			continue
		}
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A spec of a daemon that saw other mounts names other directories.
func TestSampleOfAnotherHierarchy(t *testing.T) {
	h := &Hierarchy{mounts: []mount{{"/a", []string{"memory"}}, {"/b", []string{"cpuacct"}}}}
	if _, err := h.Sample([]string{"/a/wazlet/u/c-0"}); err == nil || !strings.Contains(err.Error(), "want 2 directories (got 1)") {
		t.Error(err)
	}
}
