package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// faults is a bundle whose guest fails in the given way.
func faults(t *testing.T, how string, change func(*bundle.Spec)) string {
	t.Helper()
	return newBundle(t, enginetest.C(t, "faults.c"), func(s *bundle.Spec) {
		s.Args = []string{"faults", how}
		if change != nil {
			change(s)
		}
	})
}

// TestEndlessLoop shows that SIGKILL ends what nothing else may.
func TestEndlessLoop(t *testing.T) {
	dir := faults(t, "spin", nil)
	cmd := start(t, dir)
	logged(t, dir, "up")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v", cmd.ProcessState)
	}
	if _, err := bundle.ReadExit(dir); err == nil {
		t.Error("who wrote exit.json?")
	}
}

func TestEndlessRecursion(t *testing.T) {
	dir := newBundle(t, enginetest.Command(1, nil, 0x10, 0), nil) // call _start
	cmd := start(t, dir)
	exit := wait(t, cmd, dir)
	want := bundle.Exit{Code: 134, Reason: bundle.Trap, Message: "wasm error: stack overflow: calls are nested too deeply (84 MB), or without end"}
	if diff := sameExit(want, exit); diff != "" {
		t.Error(diff)
	}
	// wazero's stack doubles up to 84 MB and is copied each time; nothing but the cgroup bounds it lower.
	const most = 320 << 20
	if rss := maxRSS(t, cmd); rss > most {
		t.Errorf("%d MiB of memory", rss>>20)
	} else {
		t.Logf("%d MiB of memory", rss>>20)
	}
}

func TestEndlessAllocation(t *testing.T) {
	const limit = 64 << 20
	dir := faults(t, "hoard-exit", func(s *bundle.Spec) { s.MemoryBytes = limit })
	cmd := start(t, dir)
	exit := wait(t, cmd, dir)
	want := bundle.Exit{Code: 42, Reason: bundle.OOMKilled, Message: "the guest's memory reached its limit of 67108864 bytes"}
	if diff := sameExit(want, exit); diff != "" {
		t.Error(diff)
	}
	if exit.PeakMemoryBytes > limit || exit.PeakMemoryBytes < limit/2 {
		t.Errorf("a peak of %d bytes", exit.PeakMemoryBytes)
	}
	if rss := maxRSS(t, cmd); rss > limit+(128<<20) {
		t.Errorf("%d MiB of memory", rss>>20)
	}
}

// TestEndlessAllocationOfGo is the same with a guest whose runtime ends it.
func TestEndlessAllocationOfGo(t *testing.T) {
	const limit = 64 << 20
	dir := newBundle(t, enginetest.Go(t, "hoard"), func(s *bundle.Spec) { s.MemoryBytes = limit })
	exit := wait(t, start(t, dir), dir)
	want := bundle.Exit{Code: 2, Reason: bundle.OOMKilled, Message: "the guest's memory reached its limit of 67108864 bytes"}
	if diff := sameExit(want, exit); diff != "" {
		t.Error(diff)
	}
	logged(t, dir, "out of memory")
}

func TestEndlessOutput(t *testing.T) {
	const maxBytes, maxFiles = 256 << 10, 3
	dir := faults(t, "print", func(s *bundle.Spec) { s.Log.MaxBytes, s.Log.MaxFiles = maxBytes, maxFiles })
	cmd := start(t, dir)
	logs := filepath.Join(dir, "logs")
	seen := map[string]bool{}
	eventually(t, "rotation", func() bool {
		var size int64
		for _, name := range list(t, logs) {
			seen[name] = true
			if info, err := os.Stat(filepath.Join(logs, name)); err == nil {
				size += info.Size()
			}
		}
		// One more file for the moment of a rotation, and what one write adds.
		if size > (maxFiles+1)*(maxBytes+128<<10) {
			t.Fatalf("%d bytes of logs", size)
		}
		return len(seen) > 10
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait(t, cmd, dir)
	if files := list(t, logs); len(files) > maxFiles {
		t.Errorf("files left: %q", files)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Type() == fs.FileMode(0) {
			out = append(out, e.Name())
		}
	}
	return out
}

// TestTableBomb: no memory limit counts tables, so the engine caps them. The guest grows a table by 100,000 entries at a time
// until that is refused.
func TestTableBomb(t *testing.T) {
	cgroup := memoryCgroup(t, 200<<20)
	code := enginetest.Module(
		enginetest.Section(1, enginetest.Type(nil, nil)),
		enginetest.Section(3, enginetest.U32(0)),
		enginetest.Section(4, []byte{0x70, 0, 0}),
		enginetest.Section(7, enginetest.Export("_start", 0, 0)),
		enginetest.Section(10, enginetest.Body(
			0x03, 0x40, // loop
			0xd0, 0x70, 0x41, 0xa0, 0x8d, 0x06, 0xfc, 0x0f, 0x00, // ref.null func, i32.const 100000, table.grow 0
			0x41, 0x7f, 0x47, 0x0d, 0x00, 0x0b, // i32.const -1, i32.ne, br_if 0, end
		)),
	)
	dir := newBundle(t, code, func(s *bundle.Spec) {
		s.Cgroups, s.MemoryBytes = []string{cgroup}, 1<<20
	})
	if exit := wait(t, start(t, dir), dir); exit.Code != 0 {
		t.Errorf("ended with %+v", exit)
	}
}

// memoryCgroup makes a memory cgroup with a limit, of version 2 or 1.
func memoryCgroup(t *testing.T, limit int) string {
	t.Helper()
	for base, file := range map[string]string{"/sys/fs/cgroup": "memory.max", "/sys/fs/cgroup/memory": "memory.limit_in_bytes"} {
		dir := filepath.Join(base, "wazlet-shim-test-"+strconv.Itoa(os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { eventually(t, "removal of the cgroup", func() bool { return syscall.Rmdir(dir) == nil }) })
		limits, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
		if err != nil {
			continue // a directory, but no cgroup
		}
		_, err = limits.WriteString(strconv.Itoa(limit))
		if err := errors.Join(err, limits.Close()); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Skip("no memory cgroup can be made here")
	return ""
}
