package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// TestSharedOutlivesDaemon: a daemon that comes back finds all that runs, in the same process, and what ended meanwhile.
func TestSharedOutlivesDaemon(t *testing.T) {
	d, code := newDaemon(t), enginetest.C(t, "idle.c")
	var ids []bundle.ID
	for i := range 20 {
		spec := d.spec("c"+strconv.Itoa(i), 0, code, nil)
		p := d.running(spec)
		ids = append(ids, spec.ID())
		if i != 0 {
			continue
		}
		d.logs(spec, "up")
		if err := p.Signal(false); err != nil {
			t.Fatal(err)
		}
		d.ended(p)
	}
	pid := d.shimPID()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d.open()
	if _, err := d.Start(t.Context(), d.spec("c1", 1, code, nil), bundle.Limits{}); !errors.Is(err, bundle.ErrBusy) {
		t.Errorf("a second incarnation: %v", err)
	}
	for i, id := range ids {
		p, err := d.Adopt(patient(t), id)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if e := d.ended(p); e.Code != 143 {
				t.Errorf("ended while nobody looked: %+v", e)
			}
			continue
		}
		if st := d.entered(p); st.PID != pid || p.PID() != pid || d.shimPID() != pid {
			t.Errorf("%s runs in %d, %d; want %d", id, st.PID, p.PID(), pid)
		}
		if again, err := d.Adopt(patient(t), id); again != p || err != nil {
			t.Errorf("adopted again: %p, %v; want %p", again, err, p)
		}
		if err := p.Signal(i%2 == 0); err != nil {
			t.Fatal(err)
		}
		if e := d.ended(p); e.Code != map[bool]int32{true: 137, false: 143}[i%2 == 0] {
			t.Errorf("%s: %+v", id, e)
		}
	}
}

// TestSharedShimDies: all its attempts end with 137, and the next one gets another shim.
func TestSharedShimDies(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "frozen": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			d, code := newDaemon(t), enginetest.C(t, "idle.c")
			d.beat = 250 * time.Millisecond
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d.open()
			var all []*bundle.Process
			for i := range 10 {
				all = append(all, d.running(d.spec("c"+strconv.Itoa(i), 0, code, nil)))
			}
			before := d.shimPID()
			d.killShim(sig)
			for _, p := range all {
				e := d.ended(p)
				if e.Code != 137 || e.Reason != bundle.Killed || !regexp.MustCompile(`^the shared shim node\.[0-9a-f]{12} ended$`).MatchString(e.Message) || e.StartedAt.IsZero() {
					t.Errorf("%+v", e)
				}
			}
			var gone *bundle.SharedShimError
			if err := <-d.warned; !errors.As(err, &gone) || gone.PID != before || gone.Attempts != 10 {
				t.Errorf("warning %v", err)
			}
			again := d.running(d.spec("c0", 1, code, nil))
			if now := d.shimPID(); now == before || again.PID() != now {
				t.Errorf("process %d after %d, attempt in %d", now, before, again.PID())
			}
		})
	}
}

// TestSharedShimDiesAlone: nobody saw it, and whoever comes finds the attempts dead.
func TestSharedShimDiesAlone(t *testing.T) {
	d, code := newDaemon(t), enginetest.C(t, "idle.c")
	spec := d.spec("main", 0, code, nil)
	d.running(spec)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	pid := d.shimPID()
	d.killShim(syscall.SIGKILL)
	eventually(t, "end of the shim", func() bool {
		var ws syscall.WaitStatus
		_, _ = syscall.Wait4(pid, &ws, syscall.WNOHANG, nil)
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
	d.open()
	p, err := d.Adopt(patient(t), spec.ID())
	if err != nil {
		t.Fatal(err)
	}
	if e := d.ended(p); e.Code != 137 || e.Reason != bundle.Killed {
		t.Errorf("%+v", e)
	}
	d.running(d.spec("main", 1, code, nil))
}

// TestSharedRefuses: a start that fails leaves nothing, so that it can be tried again.
func TestSharedRefuses(t *testing.T) {
	d, code := newDaemon(t), enginetest.C(t, "idle.c")
	spec := d.spec("main", 0, code, nil)
	p := d.running(spec)
	if _, err := d.Start(t.Context(), spec, bundle.Limits{}); !errors.Is(err, bundle.ErrBusy) {
		t.Errorf("the same attempt: %v", err)
	}
	bad := d.spec("other", 0, code, func(s *bundle.Spec) { s.Shim = "../x" })
	if _, err := d.Start(t.Context(), bad, bundle.Limits{}); err == nil || !strings.Contains(err.Error(), `shim: want node or ns- and a namespace (got "../x")`) {
		t.Errorf("hostile name: %v", err)
	}
	bad = d.spec("other", 0, code, func(s *bundle.Spec) { s.Log = nil })
	if _, err := d.Start(t.Context(), bad, bundle.Limits{}); err == nil || !strings.Contains(err.Error(), "log: want one with a shared shim") {
		t.Errorf("without a log: %v", err)
	}
	apart := d.running(d.spec("apart", 0, code, func(s *bundle.Spec) { s.Shim = bundle.SharedShim("team") }))
	if apart.PID() == p.PID() {
		t.Error("two shared shims are one process")
	}
	t.Cleanup(func() { _ = syscall.Kill(apart.PID(), syscall.SIGKILL) })
	if err := os.Rename(binary, binary+".away"); err != nil {
		t.Fatal(err)
	}
	nobody := d.spec("nobody", 0, code, func(s *bundle.Spec) { s.Shim = bundle.SharedShim("nobody") })
	_, err := d.Start(t.Context(), nobody, bundle.Limits{})
	if rerr := os.Rename(binary+".away", binary); rerr != nil {
		t.Fatal(rerr)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a shim: %v", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(nobody.Rootfs), bundle.SpecFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("spec.json stayed: %v", err)
	}
}

// TestSharedSpins: guests that compute without end disturb no other, are held to their limit, and end when they are told to.
func TestSharedSpins(t *testing.T) {
	d := newDaemon(t)
	faulty, idle := enginetest.C(t, "faults.c"), enginetest.C(t, "idle.c")
	spin := func(name string) bundle.Spec {
		return d.spec(name, 0, faulty, func(s *bundle.Spec) { s.Args = []string{"faults", "spin"} })
	}
	limited, other := spin("limited"), spin("free")
	spinning := []*bundle.Process{d.start(limited, bundle.Limits{CPUMillicores: 100}), d.start(other, bundle.Limits{})}
	d.entered(spinning[0])
	d.entered(spinning[1])
	d.logs(limited, "up")
	d.logs(other, "up")
	pid := d.shimPID()
	quiet := d.spec("quiet", 0, idle, nil)
	d.running(quiet)
	d.logs(quiet, "up")
	usage := func(s bundle.Spec) time.Duration {
		u, ok := d.Usage(s.ID())
		if !ok {
			t.Fatal("no usage")
		}
		return u.CPU
	}
	eventually(t, "the free one to compute for two seconds", func() bool { return usage(other) > 2*time.Second })
	// It had as much wall time as the other one, or more, of which it may use a tenth.
	if held, free := usage(limited), usage(other); held == 0 || held > free {
		t.Errorf("used %s with a limit, %s without", held, free)
	}
	if err := errors.Join(spinning[0].Signal(false), spinning[1].Signal(true)); err != nil {
		t.Fatal(err)
	}
	for i, code := range []int32{143, 137} {
		if e := d.ended(spinning[i]); e.Code != code || e.Reason != bundle.Killed || e.CPUTimeNanos == 0 {
			t.Errorf("%+v", e)
		}
	}
	if now := d.shimPID(); now != pid {
		t.Errorf("shim %d is now %d", pid, now)
	}
}
