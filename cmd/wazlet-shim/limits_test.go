package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// The limits of the spec are the guest's: it cannot open more, nor wait for more, it lists all of a directory that the host has
// in memory in parts, and what it prints too fast comes late, but comes.
func TestGuestLimits(t *testing.T) {
	const printed = 1500
	for name, tc := range map[string]struct {
		limits bundle.GuestLimits
		args   []string
	}{
		"given":   {bundle.GuestLimits{OpenFiles: 20, OutputBytesPerSecond: 1024, DirectoryEntries: 16, PollSubscriptions: 70}, []string{"limits", "1500", "70"}},
		"default": {bundle.GuestLimits{OpenFiles: 20}, []string{"limits", "1500", "4096"}},
	} {
		t.Run(name, func(t *testing.T) {
			isolations(t, func(t *testing.T, d *daemon, shim string) {
				spec := d.spec("c", 0, enginetest.C(t, "limits.c", "-Wl,-z,stack-size=1048576"), func(s *bundle.Spec) {
					s.Shim, s.Args, s.GuestLimits = shim, tc.args, tc.limits
				})
				if e := d.ended(d.running(spec)); e.Reason != bundle.Completed {
					t.Errorf("%+v", e)
				}
				log := d.log(spec)
				for _, line := range []string{
					"stdout F 100 listed\n",
					"stdout F 16 open, errno 33\n",     // besides the standard streams and the root; 33 is EMFILE
					"stdout F poll 1, then errno 28\n", // EINVAL
				} {
					if !strings.Contains(log, line) {
						t.Errorf("no %q in\n%.300s", line, log)
					}
				}
				if n := strings.Count(log, "x"); n != printed-printed/64 {
					t.Errorf("%d bytes came, want %d", n, printed-printed/64)
				}
			})
		})
	}
}

// What bounds a guest's memory, its tables and its stack.
func TestMemoryLimits(t *testing.T) {
	// grow grows a table of 2000 elements by as many as it is told and traps if that is refused.
	grow := func(n uint32) []byte {
		return enginetest.Module(
			enginetest.Section(1, enginetest.Type(nil, nil)),
			enginetest.Section(3, enginetest.U32(0)),
			enginetest.Section(4, append([]byte{0x70, 0}, enginetest.U32(2000)...)),
			enginetest.Section(7, enginetest.Export("_start", 0, 0)),
			enginetest.Section(10, enginetest.Body(append(append([]byte{0xd0, 0x70, 0x41}, enginetest.U32(n)...), 0xfc, 0x0f, 0, 0x41, 0x7f, 0x46, 0x04, 0x40, 0x00, 0x0b)...)),
		)
	}
	faults := enginetest.C(t, "faults.c")
	recursion := enginetest.Command(1, nil, 0x10, 0)
	trap := func(text string) bundle.Exit { return bundle.Exit{Code: 134, Reason: bundle.Trap, Message: text} }
	tooDeep := func(limit string) bundle.Exit {
		return trap("wasm error: stack overflow: calls are nested too deeply (" + limit + "), or without end")
	}
	hoard := func(memory, otherwise int64) func(*bundle.Spec) {
		return func(s *bundle.Spec) {
			s.Args, s.MemoryBytes, s.GuestLimits.MemoryBytes = []string{"faults", "hoard-exit"}, memory, otherwise
		}
	}
	tables := func(n int) func(*bundle.Spec) { return func(s *bundle.Spec) { s.GuestLimits.TableElements = n } }
	stack := func(n int64) func(*bundle.Spec) { return func(s *bundle.Spec) { s.GuestLimits.StackBytes = n } }
	for name, tc := range map[string]struct {
		code            []byte
		limit           func(*bundle.Spec)
		process, shared bundle.Exit
	}{
		"memory of a container without a limit": {code: faults, limit: hoard(0, 16<<20), process: oom(16 << 20), shared: oom(16 << 20)},
		"memory of one with a limit":            {code: faults, limit: hoard(24<<20, 16<<20), process: oom(24 << 20), shared: oom(24 << 20)},
		"a table at its limit":                  {code: grow(50), limit: tables(2050), process: bundle.Exit{Reason: bundle.Completed}, shared: bundle.Exit{Reason: bundle.Completed}},
		"a table above its limit":               {code: grow(51), limit: tables(2050), process: trap("wasm error: unreachable"), shared: trap("wasm error: unreachable")},
		"a table that starts above its limit": {
			code: grow(0), limit: tables(1999),
			process: bundle.Exit{Code: 128, Reason: bundle.StartError, Message: "its tables start with 2000 elements or more; at most 1999 are allowed"},
			shared:  bundle.Exit{Code: 128, Reason: bundle.StartError, Message: "its tables start with 2000 elements or more; at most 1999 are allowed"},
		},
		"a stack":                 {code: recursion, limit: stack(1 << 20), process: tooDeep("84 MB"), shared: tooDeep("1048576 bytes")},
		"a stack without a limit": {code: recursion, limit: stack(0), process: tooDeep("84 MB"), shared: tooDeep("8388608 bytes")},
	} {
		t.Run(name, func(t *testing.T) {
			isolations(t, func(t *testing.T, d *daemon, shim string) {
				want := tc.process
				spec := d.spec("c", 0, tc.code, func(s *bundle.Spec) {
					if s.Shim = shim; shim != "" {
						want = tc.shared
					}
					tc.limit(s)
				})
				got := d.ended(d.start(spec, bundle.Limits{}))
				got.Message, _, _ = strings.Cut(got.Message, "\nwasm stack trace:")
				if i := strings.Index(got.Message, "its tables"); i >= 0 {
					got.Message = got.Message[i:] // and where in the module
				}
				if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(bundle.Exit{}, "StartedAt", "FinishedAt", "PeakMemoryBytes", "CPUTimeNanos")); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func oom(limit int) bundle.Exit {
	return bundle.Exit{Code: 42, Reason: bundle.OOMKilled, Message: "the guest's memory reached its limit of " + strconv.Itoa(limit) + " bytes"}
}

// Guests of a shared shim that call themselves without end, one after the other, make it no larger than docs/operations.md
// says: by a stack of 21 MB, as much again that is garbage, and what it needs to compile them.
func TestSharedStacksAreBounded(t *testing.T) {
	const bound = 64 << 20
	d := newDaemon(t)
	d.running(d.spec("idle", 0, enginetest.C(t, "idle.c"), nil))
	before := peakOf(t, d.shimPID())
	for i := range 5 {
		e := d.ended(d.start(d.spec("c", i, enginetest.Command(1, nil, 0x10, 0), func(s *bundle.Spec) { s.MemoryBytes = 16 << 20 }), bundle.Limits{MemoryBytes: 16 << 20}))
		if e.Code != 134 || e.Reason != bundle.Trap {
			t.Errorf("%+v", e)
		}
	}
	if grown := peakOf(t, d.shimPID()) - before; grown > bound {
		t.Errorf("the shared shim grew by %d bytes, at most %d", grown, bound)
	} else {
		t.Logf("the shared shim grew by %d MiB", grown>>20)
	}
}

// peakOf is the most memory that a process has had, in bytes.
func peakOf(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	fields := strings.Fields(string(rest))
	if len(fields) == 0 {
		t.Fatalf("no VmHWM in %s", status)
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// cgroups remember what was made.
type cgroups struct {
	dir string

	mu   sync.Mutex
	made map[string]bundle.Limits
}

func (c *cgroups) Dirs(name string) []string { return []string{filepath.Join(c.dir, name)} }

func (c *cgroups) Create(name string, l bundle.Limits) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		c.made = map[string]bundle.Limits{}
	}
	c.made[name] = l
	dir := c.Dirs(name)[0]
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), nil, 0o600)
}

func (*cgroups) Usage([]string) bundle.Usage { return bundle.Usage{} }
func (*cgroups) Remove([]string) error       { return nil }

// The memory of a shared shim is bounded by its cgroup if the node's configuration says so.
func TestSharedMemoryLimit(t *testing.T) {
	cg, d := &cgroups{dir: t.TempDir()}, newDaemon(t)
	d.reopen(func(c *bundle.Config) { c.Cgroups, c.SharedMemoryBytes = cg, 1<<30 })
	d.running(d.spec("idle", 0, enginetest.C(t, "idle.c"), nil))
	cg.mu.Lock()
	defer cg.mu.Unlock()
	name := "shared/" + filepath.Base(d.shimDir())
	if diff := cmp.Diff(map[string]bundle.Limits{name: {MemoryBytes: 1 << 30}}, cg.made); diff != "" {
		t.Error(diff)
	}
	if procs, err := os.ReadFile(filepath.Join(cg.Dirs(name)[0], "cgroup.procs")); string(procs) != strconv.Itoa(d.shimPID()) || err != nil {
		t.Errorf("in it is %q, want %d (%v)", procs, d.shimPID(), err)
	}
}

// At its limit the kernel ends the shim, and so all that runs there; the next container gets another shim.
func TestSharedMemoryIsLimited(t *testing.T) {
	h, d := ownCgroups(t), newDaemon(t)
	d.reopen(func(c *bundle.Config) { c.Cgroups, c.SharedMemoryBytes = h, 96<<20 })
	idle, code := enginetest.C(t, "idle.c"), enginetest.C(t, "faults.c")
	bystander := d.running(d.spec("idle", 0, idle, nil))
	greedy := d.start(d.spec("greedy", 0, code, func(s *bundle.Spec) { s.Args, s.MemoryBytes = []string{"faults", "hoard-exit"}, 512<<20 }), bundle.Limits{})
	for _, p := range []*bundle.Process{bystander, greedy} {
		if e := d.ended(p); e.Code != codeKilled {
			t.Errorf("%+v", e)
		}
	}
	d.running(d.spec("idle", 1, idle, nil))
}
