package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/cgroup"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// ownCgroups is a hierarchy of this test's, where one can be made.
func ownCgroups(t *testing.T) *cgroup.Hierarchy {
	t.Helper()
	h, err := cgroup.Open("wazlet-shim-" + strings.ToLower(t.Name()) + "-" + strconv.Itoa(os.Getpid()))
	if err == nil {
		err = h.Create("probe/c-0", bundle.Limits{MemoryBytes: 1 << 20})
	}
	if err != nil {
		t.Skipf("cgroups cannot be made here: %v", err)
	}
	t.Cleanup(func() { eventually(t, "removal of the cgroups", func() bool { return removeTrees(h.Dirs("")) }) })
	return h
}

// removeTrees removes the cgroups with all below them, unless there are processes in one.
func removeTrees(dirs []string) bool {
	for _, dir := range dirs {
		var all []string
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, path)
			}
			return nil
		})
		for _, path := range slices.Backward(all) {
			if os.Remove(path) != nil {
				return false
			}
		}
	}
	return true
}

// checkMember checks that the process is in the cgroups, and this one, the daemon, is not.
func checkMember(t *testing.T, dirs []string, pid int) {
	t.Helper()
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if got := strings.Fields(string(text)); err != nil || !slices.Equal(got, []string{strconv.Itoa(pid)}) {
			t.Errorf("%s has the processes %v, %v; want %d", dir, got, err, pid)
		}
	}
}

// setting is what the first of the files says that is there in one of the directories.
func setting(dirs []string, files ...string) string {
	for _, dir := range dirs {
		for _, file := range files {
			if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				return strings.TrimSpace(string(text))
			}
		}
	}
	return ""
}

// A command beside a guest in a shared shim has the limits of the container, and is counted neither with the daemon nor with
// the shim.
func TestSharedExecHasTheContainersLimits(t *testing.T) {
	h, d := ownCgroups(t), newDaemon(t)
	d.reopen(func(c *bundle.Config) { c.Cgroups = h })
	spec := d.spec("main", 0, enginetest.C(t, "multi.c"), func(s *bundle.Spec) { s.MemoryBytes, s.Args = 4<<20, []string{"x", "idle"} })
	if err := os.WriteFile(filepath.Join(spec.Rootfs, "large.wasm"), enginetest.Module(enginetest.Custom("", make([]byte, maxExecModule-100)...)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := d.start(spec, bundle.Limits{MemoryBytes: spec.MemoryBytes, CPUMillicores: 500})
	d.entered(p)
	id := spec.ID()
	dirs := h.Dirs(id.PodUID + "/main-0")

	var stderr bytes.Buffer
	code, err := d.Exec(patient(t), id, bundle.ExecOptions{Args: []string{"/large.wasm"}, Stderr: &stderr})
	if code != codeKilled || err != nil {
		t.Errorf("a command that needs more memory than its container may have: code %d, %v, %s", code, err, stderr.String())
	}

	ctx, cancel := context.WithCancelCause(patient(t))
	defer cancel(nil)
	up, ended := &firstWrite{seen: make(chan struct{})}, make(chan error, 1)
	go func() {
		_, err := d.Exec(ctx, id, bundle.ExecOptions{Args: []string{"x", "spin"}, Stdout: up})
		ended <- err
	}()
	select {
	case <-up.seen:
	case err := <-ended:
		t.Fatal(err)
	}
	commands := processes(t, spec.Rootfs)
	if len(commands) != 1 {
		t.Fatalf("processes of the container: %v; want the command's alone", commands)
	}
	for pid := range commands {
		checkMember(t, dirs, pid)
	}
	if got, want := setting(dirs, "memory.max", "memory.limit_in_bytes"), strconv.FormatInt(spec.MemoryBytes+bundle.ShimOverheadBytes, 10); got != want {
		t.Errorf("memory limit %q, want %q", got, want)
	}
	// Where there are controllers for it.
	if got := setting(dirs, "cpu.max", "cpu.cfs_quota_us"); got != "50000 100000" && got != "50000" && got != "" {
		t.Errorf("CPU quota %q", got)
	}
	if setting(dirs, "cpu.stat", "cpuacct.usage") != "" {
		eventually(t, "CPU time in the cgroup", func() bool { return h.Usage(dirs).CPUTime > 100*time.Millisecond })
	}
	cancel(errGone)
	if err := <-ended; !errors.Is(err, errGone) {
		t.Error(err)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s stayed after the last command: %v", dir, err)
		}
	}
	if err := p.Signal(false); err != nil {
		t.Fatal(err)
	}
	if e := d.ended(p); e.Code != codeTerminated {
		t.Errorf("the container ended with %+v", e)
	}
}
