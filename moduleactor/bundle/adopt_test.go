package bundle

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

func (f *fixture) adopt0() *Process {
	f.t.Helper()
	p, err := f.Adopt(deadline(f.t), ID{uid, "c", 0})
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// TestAdopt takes over the shim of a daemon that was killed.
func TestAdopt(t *testing.T) {
	for _, tt := range []struct {
		name string
		kill bool
	}{{"SIGTERM", false}, {"SIGKILL", true}} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			startDaemon(t, root, "-", "run")
			f := newFixture(t, root, nil)
			p := f.adopt0()
			st := f.started(p)
			if st.PID != p.PID() || p.PID() == 0 || p.Spec().Args[0] != "run" {
				t.Errorf("state %+v, pid %d, spec %+v", st, p.PID(), p.Spec())
			}
			if again := f.adopt0(); again != p {
				t.Error("adopted again: another process")
			}
			if err := p.Signal(tt.kill); err != nil {
				t.Fatal(err)
			}
			// Nobody but init can know an orphan's wait status.
			if e := f.ended(p); e.Code != 137 || e.Reason != Killed || !e.StartedAt.Equal(st.StartedAt) {
				t.Errorf("exit %+v", e)
			}
		})
	}
}

func TestAdoptOwnChild(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	p := f.start(0, "run")
	if f.adopt0() != p {
		t.Error("another process")
	}
}

func TestAdoptSilent(t *testing.T) {
	root := t.TempDir()
	startDaemon(t, root, "pid", "silent")
	f := newFixture(t, root, nil)
	p := f.adopt0()
	if err := p.Signal(true); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := p.Started(deadline(t)); ok || err != nil {
		t.Errorf("Started = %t, %v", ok, err)
	}
	if e := f.ended(p); e.Code != 137 || !e.StartedAt.IsZero() {
		t.Errorf("exit %+v", e)
	}
}

// TestEndedMeanwhile is about shims that ended while there was no daemon.
func TestEndedMeanwhile(t *testing.T) {
	t.Run("by itself", func(t *testing.T) {
		root := t.TempDir()
		trigger := filepath.Join(root, "trigger")
		startDaemon(t, root, "-", "exit-when", trigger)
		if err := os.WriteFile(trigger, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the shim is gone", func() bool { return len(shims(t, root)) == 0 })
		ended := time.Now()
		f := newFixture(t, root, nil)
		e := f.ended(f.adopt0())
		if e.Code != 7 || e.Reason != Error || e.FinishedAt.After(ended) {
			t.Errorf("exit %+v", e)
		}
	})
	t.Run("killed", func(t *testing.T) {
		root := t.TempDir()
		startDaemon(t, root, "-", "run")
		killShims(t, root)
		f := newFixture(t, root, nil)
		eventually(t, "the lock is free", func() bool { // a process that dies has no command line for a while before
			running, err := f.Running(uid, "c")
			return err == nil && len(running) == 0
		})
		found, err := f.Scan(uid)
		if err != nil || len(found) != 1 || found[0].Alive || found[0].Exit == nil || found[0].State == nil {
			t.Fatalf("found %+v, %v", found, err)
		}
		e := f.ended(f.adopt0())
		if e.Code != 137 || e.Reason != Killed || !e.FinishedAt.Equal(found[0].Exit.FinishedAt) {
			t.Errorf("exit %+v, found with %+v", e, found[0].Exit)
		}
	})
}

func TestAdoptNothing(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	if _, err := f.Adopt(t.Context(), ID{uid, "c", 0}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no bundle: %v", err)
	}
	if _, err := f.Adopt(t.Context(), ID{"..", "c", 0}); err == nil {
		t.Error("a hostile UID was accepted")
	}
}

// TestPIDReuse has a pid file that names a living process which is not the shim.
func TestPIDReuse(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	dir, err := Dir(f.root, ID{uid, "c", 0})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteSpec(dir, testSpec(f.root, 0, "x")); err != nil {
		t.Fatal(err)
	}
	lock, err := takeLock(dir) // as if a shim had it
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := StartTicks(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]procID{
		"other start": {os.Getpid(), ticks + 1},
		"no process":  {1 << 22, 5},
	} {
		if err := writePID(dir, p); err != nil {
			t.Fatal(err)
		}
		if _, err := f.adopt(dir, ID{uid, "c", 0}); !isAll(err, ErrBusy, syscall.ESRCH) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.Adopt(ctx, ID{uid, "c", 0}); !isAll(err, ErrBusy, context.DeadlineExceeded) {
		t.Errorf("Adopt: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if e := f.ended(f.adopt0()); e.Code != 137 {
		t.Errorf("with the lock free: %+v", e)
	}
}

// TestDamagedWhileRunning checks that no damage to files strands a running guest.
func TestDamagedWhileRunning(t *testing.T) {
	root := t.TempDir()
	startDaemon(t, root, "-", "run")
	dir, err := Dir(root, ID{uid, "c", 0})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{PIDFile, SpecFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := newFixture(t, root, nil)
	found, err := f.Scan(uid)
	if err != nil || len(found) != 1 || !found[0].Alive || found[0].Err == nil {
		t.Fatalf("found %+v, %v", found, err)
	}
	p := f.adopt0()
	if p.Spec().ID() != (ID{uid, "c", 0}) || len(f.warned()) != 1 {
		t.Errorf("spec %+v, warnings %v", p.Spec(), f.warned())
	}
	if err := p.Signal(true); err != nil {
		t.Fatal(err)
	}
	if e := f.ended(p); e.Code != 137 {
		t.Errorf("exit %+v", e)
	}
}

// TestDaemonDiesAnywhere kills the daemon at each step of Start. Whoever comes next must find out the truth, never run an
// attempt twice, and always be able to go on.
func TestDaemonDiesAnywhere(t *testing.T) {
	for _, step := range []string{"directory", "lock", "cgroup", "spec", "fork", "pid", "-"} {
		t.Run(step, func(t *testing.T) {
			root := t.TempDir()
			startDaemon(t, root, step, "run")
			f := newFixture(t, root, nil)
			found, err := f.Scan(uid)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case len(found) == 0: // never started: the number is free
				if step == "fork" || step == "pid" || step == "-" || step == "spec" {
					t.Fatal("the attempt is lost")
				}
				f.started(f.start(0, "run"))
			case found[0].Alive:
				if _, err := f.Start(t.Context(), testSpec(root, 0, "run"), Limits{}); !errors.Is(err, ErrBusy) {
					t.Errorf("start again: %v", err)
				}
				if _, err := f.Start(t.Context(), testSpec(root, 1, "run"), Limits{}); !errors.Is(err, ErrBusy) {
					t.Errorf("start another: %v", err)
				}
				if st := f.started(f.adopt0()); st.PID == 0 {
					t.Errorf("state %+v", st)
				}
			default:
				if e := found[0].Exit; step != "spec" || e == nil || e.Code != 137 {
					t.Errorf("found dead with %+v", e)
				}
				if _, err := f.Start(t.Context(), testSpec(root, 0, "run"), Limits{}); !errors.Is(err, ErrExists) {
					t.Errorf("start again: %v", err)
				}
				f.started(f.start(1, "run"))
			}
			if n := len(shims(t, root)); n != 1 { // its guest has started, so it is to be seen by now
				t.Errorf("%d incarnations", n)
			}
		})
	}
}

// TestAdoptGivesUp: somebody who is no shim holds the lock.
func TestAdoptGivesUp(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	p := f.start(0, "exit", "0")
	f.ended(p)
	dir, err := Dir(f.cfg.Root, p.id)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := takeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := os.Remove(filepath.Join(dir, PIDFile)); err != nil {
		t.Fatal(err)
	}
	f.adoptFor = time.Millisecond
	if _, err := f.Adopt(t.Context(), p.id); !errors.Is(err, ErrBusy) {
		t.Errorf("adopt: %v, want ErrBusy", err)
	}
	if w := f.warned(); len(w) != 1 || !errors.Is(w[0], ErrBusy) {
		t.Errorf("warnings: %v", w)
	}
}
