package main

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// stepper is a clock that stands until somebody moves it.
type stepper struct {
	mu  sync.Mutex
	now time.Time
}

func (s *stepper) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stepper) step(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// isGone waits until there is no such process.
func isGone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "end of the process", func() bool {
		var ws syscall.WaitStatus
		_, _ = syscall.Wait4(pid, &ws, syscall.WNOHANG, nil) // it may be this process's child
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
}

// A shared shim without containers ends when its time is over. The next container gets another, and no warning is given.
func TestIdleSharedShimIsRetired(t *testing.T) {
	clock, code := &stepper{now: time.Now()}, enginetest.C(t, "idle.c")
	d := newDaemon(t)
	d.beat = time.Second // four of them without an answer would be its end
	d.reopen(func(c *bundle.Config) { c.Clock, c.SharedIdle = clock, time.Hour })
	p := d.running(d.spec("main", 0, code, nil))
	before := p.PID()
	if err := p.Signal(true); err != nil {
		t.Fatal(err)
	}
	d.ended(p)
	eventually(t, "end of the shim", func() bool {
		clock.step(time.Hour)
		return errors.Is(syscall.Kill(before, 0), syscall.ESRCH)
	})
	eventually(t, "removal of its directory", func() bool { return d.shimDir() == "" })
	again := d.running(d.spec("main", 1, code, nil))
	if again.PID() == before {
		t.Error("the process that was retired runs the next container")
	}
	select {
	case err := <-d.warned:
		t.Error(err)
	default:
	}
}

// After an upgrade containers stay in the shim that they are in, new ones get one of the new binary, and the old one ends with
// its last container. A daemon that is restarted later knows them, too.
func TestSharedShimIsUpgraded(t *testing.T) {
	code, path := enginetest.C(t, "idle.c"), filepath.Join(t.TempDir(), "wazlet-shim")
	d := newDaemon(t)
	d.beat = time.Second // four of them without an answer would be its end
	build := func(version string) {
		old, err := os.ReadFile(binary)
		if err == nil {
			err = errors.Join(os.RemoveAll(path), os.WriteFile(path, append(old, version...), 0o700)) //nolint:gosec // a program
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	build("1")
	upgraded := func(c *bundle.Config) { c.Shim = path }
	d.reopen(upgraded)
	first := d.spec("old", 0, code, nil)
	before := d.running(first).PID()

	build("2")
	d.reopen(upgraded)
	second := d.spec("new", 0, code, nil)
	after := d.running(second)
	t.Cleanup(func() { _ = syscall.Kill(after.PID(), syscall.SIGKILL) })
	if after.PID() == before {
		t.Fatal("a new container is run by the old binary")
	}
	d.reopen(upgraded)
	for _, c := range []struct {
		spec bundle.Spec
		pid  int
	}{{first, before}, {second, after.PID()}} {
		p, err := d.Adopt(patient(t), c.spec.ID())
		if err != nil {
			t.Fatal(err)
		}
		if st := d.entered(p); st.PID != c.pid || p.PID() != c.pid {
			t.Errorf("%s runs in %d, %d; want %d", c.spec.Container, st.PID, p.PID(), c.pid)
		}
	}
	p, err := d.Adopt(patient(t), first.ID())
	if err == nil {
		err = p.Signal(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	if e := d.ended(p); e.Code != codeTerminated {
		t.Errorf("%+v", e)
	}
	isGone(t, before)
	eventually(t, "removal of the old directory", func() bool {
		names, err := filepath.Glob(filepath.Join(d.root, "shims", "*"))
		return err == nil && len(names) == 1
	})
	if d.shimPID() != after.PID() {
		t.Errorf("process %d took the place of %d", d.shimPID(), after.PID())
	}
	if u, ok := d.Usage(second.ID()); !ok {
		t.Errorf("the new container: %+v", u)
	}
}
