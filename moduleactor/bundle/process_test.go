package bundle

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var ignoreTimes = cmpopts.IgnoreFields(Exit{}, "StartedAt", "FinishedAt", "PeakMemoryBytes", "CPUTimeNanos")

func TestProcessEnds(t *testing.T) {
	tests := []struct {
		name string
		args []string
		// end is what is done once the guest runs (or once the shim does, if it never gets there).
		end     func(*Process) error
		entered bool
		want    Exit
		message string // part of it
	}{
		{"completes", []string{"exit", "0"}, nil, true, Exit{Code: 0, Reason: Completed}, ""},
		{"fails", []string{"exit", "3"}, nil, true, Exit{Code: 3, Reason: Error}, ""},
		{"kill -9", []string{"run"}, func(p *Process) error { return p.Signal(true) }, true, Exit{Code: 137, Reason: Killed}, ""},
		{"SIGTERM", []string{"run"}, func(p *Process) error { return p.Signal(false) }, true, Exit{Code: 143, Reason: Killed}, ""},
		{"SIGTERM ignored, then kill", []string{"ignore-term"}, func(p *Process) error { return errors.Join(p.Signal(false), p.Signal(true)) }, true, Exit{Code: 137, Reason: Killed}, ""},
		{"killed before _start", []string{"silent"}, func(p *Process) error { return p.Signal(true) }, false, Exit{Code: 137, Reason: Killed}, ""},
		{"crashes before _start", []string{"crash"}, nil, false, Exit{Code: 128, Reason: StartError}, "shim exited with code 70\nfakeshim: no room"},
		{"crashes after _start", []string{"crash-late"}, nil, true, Exit{Code: 70, Reason: Error}, "shim exited with code 70\nfakeshim: fell over"},
		{"leaves garbage", []string{"garbage"}, nil, true, Exit{Code: 137, Reason: Error}, "exit.json: decode: unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, t.TempDir(), nil)
			p := f.start(0, tt.args...)
			if tt.entered {
				st := f.started(p)
				if st.PID != p.PID() || st.StartTicks == 0 || st.StartedAt.IsZero() {
					t.Errorf("state %+v of process %d", st, p.PID())
				}
			}
			if tt.end != nil {
				if err := tt.end(p); err != nil {
					t.Fatal(err)
				}
			}
			e := f.ended(p)
			if !strings.Contains(e.Message, tt.message) || tt.message == "" && e.Message != "" {
				t.Errorf("message %q, want %q in it", e.Message, tt.message)
			}
			got := e
			got.Message = ""
			if diff := cmp.Diff(tt.want, got, ignoreTimes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if e.FinishedAt.IsZero() || tt.entered == e.StartedAt.IsZero() || e.CPUTimeNanos <= 0 {
				t.Errorf("times of %+v", e)
			}
			if _, ok, err := p.Started(t.Context()); ok != tt.entered || err != nil {
				t.Errorf("after the end: Started = %t, %v", ok, err)
			}
			checkKept(t, f, p, e)
		})
	}
}

// checkKept checks that an ended attempt stays what it was.
func checkKept(t *testing.T, f *fixture, p *Process, e Exit) {
	t.Helper()
	if kept, err := ReadExit(p.dir); err != nil || kept.Code != e.Code || kept.Reason != e.Reason {
		t.Errorf("exit.json has %+v, %v; want %+v", kept, err, e)
	}
	if again := f.ended(p); !cmp.Equal(again, e) {
		t.Errorf("asked again: %+v", again)
	}
	if err := errors.Join(p.Signal(false), p.Signal(true)); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
	adopted, err := f.Adopt(t.Context(), p.id)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.ended(adopted); got.Code != e.Code || got.Reason != e.Reason || adopted.PID() != 0 {
		t.Errorf("adopted: %+v, pid %d", got, adopted.PID())
	}
	if diff := cmp.Diff(p.Spec(), adopted.Spec()); diff != "" {
		t.Errorf("adopted spec (-want +got):\n%s", diff)
	}
}

func TestWaitGivesUp(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	p := f.start(0, "silent")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
	if _, _, err := p.Started(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Started: %v", err)
	}
	eventually(t, "one shim runs", func() bool { return len(shims(t, f.root)) == 1 })
}

func TestCloseLeavesShims(t *testing.T) {
	root := t.TempDir()
	f := newFixture(t, root, nil)
	p, silent := f.start(0, "run"), testSpec(root, 0, "silent")
	silent.Container = "silent"
	q, err := f.Start(t.Context(), silent, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f.started(p)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Process{p, q} {
		if _, err := x.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Wait: %v", err)
		}
		if err := x.Signal(true); !errors.Is(err, ErrClosed) {
			t.Errorf("Signal: %v", err)
		}
	}
	if _, _, err := q.Started(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Started: %v", err)
	}
	if _, err := f.Start(t.Context(), testSpec(root, 1, "run"), Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v", err)
	}
	if err := f.Compile(t.Context(), "/m", testSpec(root, 0).ModuleDigest, false); !errors.Is(err, ErrClosed) {
		t.Errorf("Compile: %v", err)
	}
	if _, err := f.Adopt(t.Context(), p.id); !errors.Is(err, ErrClosed) {
		t.Errorf("Adopt: %v", err)
	}
	eventually(t, "two shims run", func() bool { return len(shims(t, root)) == 2 })
}

func TestStartRefuses(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	p := f.start(3, "run")
	if _, err := f.Start(t.Context(), testSpec(f.root, 3, "run"), Limits{}); !errors.Is(err, ErrBusy) {
		t.Errorf("the same attempt: %v", err)
	}
	for _, n := range []int{2, 4} {
		if _, err := f.Start(t.Context(), testSpec(f.root, n, "run"), Limits{}); !errors.Is(err, ErrBusy) {
			t.Errorf("attempt %d while 3 runs: %v", n, err)
		}
	}
	if err := p.Signal(true); err != nil {
		t.Fatal(err)
	}
	f.ended(p)
	if _, err := f.Start(t.Context(), testSpec(f.root, 3, "run"), Limits{}); !errors.Is(err, ErrExists) {
		t.Errorf("the same attempt after its end: %v", err)
	}
	q := f.start(4, "exit", "0")
	if e := f.ended(q); e.Reason != Completed {
		t.Errorf("next attempt: %+v", e)
	}
	bad := testSpec(f.root, 5, "run")
	bad.Container = "../c"
	if _, err := f.Start(t.Context(), bad, Limits{}); err == nil || !strings.Contains(err.Error(), `container: want a DNS label, 1 to 63 of a-z, 0-9 and - (got "../c")`) {
		t.Errorf("hostile name: %v", err)
	}
}

// TestStartFails checks that a start that failed can be repeated, with the rootfs that was made for it.
func TestStartFails(t *testing.T) {
	root := t.TempDir()
	cg := &fakeCgroups{root: root}
	f := newFixture(t, root, func(c *Config) { c.Cgroups = cg })
	dir, err := Dir(root, ID{uid, "c", 0})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, RootfsDir, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	shim := f.cfg.Shim
	f.cfg.Shim = filepath.Join(root, "no-shim")
	if _, err := f.Start(t.Context(), testSpec(root, 0, "run"), Limits{}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without a shim: %v", err)
	}
	if ok, err := exists(dir, SpecFile); ok || err != nil {
		t.Errorf("spec.json stayed: %t, %v", ok, err)
	}
	if n := len(cg.made()); n != 0 {
		t.Errorf("%d cgroups stayed", n)
	}
	f.cfg.Shim = shim
	p := f.start(0, "exit", "0")
	if e := f.ended(p); e.Reason != Completed {
		t.Errorf("started again: %+v", e)
	}
	if _, err := os.Stat(filepath.Join(dir, RootfsDir, "etc")); err != nil {
		t.Errorf("rootfs: %v", err)
	}
}

func TestShimEnvironment(t *testing.T) {
	t.Setenv("SECRET", "of the daemon")
	f := newFixture(t, t.TempDir(), func(c *Config) { c.Env = []string{"EXTRA=1"} })
	p := f.start(0, "run")
	f.started(p)
	proc := filepath.Join("/proc", filepath.Base(filepath.Join("/proc", itoa(p.PID()))))
	env, err := os.ReadFile(filepath.Join(proc, "environ"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(env), "GOTRACEBACK=single\x00EXTRA=1\x00"; got != want {
		t.Errorf("environment %q, want %q", got, want)
	}
	if cwd, err := os.Readlink(filepath.Join(proc, "cwd")); err != nil || cwd != p.dir {
		t.Errorf("working directory %q, %v", cwd, err)
	}
	for fd, want := range map[string]string{"0": os.DevNull, "1": filepath.Join(p.dir, ShimLogFile), "2": filepath.Join(p.dir, ShimLogFile), "3": filepath.Join(p.dir, LockFile)} {
		if got, err := os.Readlink(filepath.Join(proc, "fd", fd)); err != nil || got != want {
			t.Errorf("fd %s is %q, %v; want %q", fd, got, err, want)
		}
	}
}

func TestAttachRefuses(t *testing.T) {
	root := t.TempDir()
	dir, err := Dir(root, ID{uid, "c", 0})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no bundle: %v", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteSpec(dir, testSpec(root, 0, "x")); err != nil {
		t.Fatal(err)
	}
	a, err := Attach(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("attached twice: %v", err)
	}
	if err := errors.Join(a.Started(time.Now()), a.End(Exit{Reason: Trap, Message: strings.Repeat("é", 4000), FinishedAt: time.Now()}), a.lock.Close()); err != nil {
		t.Fatal(err)
	}
	if e, err := ReadExit(dir); err != nil || len(e.Message) != maxMessage || e.CPUTimeNanos == 0 {
		t.Errorf("exit %d bytes, cpu %d, %v", len(e.Message), e.CPUTimeNanos, err)
	}
	if _, err := Attach(dir); !errors.Is(err, ErrExists) {
		t.Errorf("attached after the end: %v", err)
	}
}

// TestManyShims waits on 200 shims and counts the threads that takes.
func TestManyShims(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	const n = 200
	before := threads(t)
	ps := make([]*Process, n)
	for i := range ps {
		s := testSpec(f.root, 0, "run")
		s.Container = "c" + itoa(i)
		p, err := f.Start(t.Context(), s, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		ps[i] = p
	}
	for _, p := range ps {
		f.started(p)
	}
	if got := threads(t); got > before+30 {
		t.Errorf("%d threads wait on %d shims, %d before", got, n, before)
	}
	for _, p := range ps {
		if err := p.Signal(true); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range ps {
		if e := f.ended(p); e.Code != 137 {
			t.Errorf("%s: %+v", p.id, e)
		}
	}
	if got := len(shims(t, f.root)); got != 0 {
		t.Errorf("%d shims or zombies are left", got)
	}
}

func threads(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
