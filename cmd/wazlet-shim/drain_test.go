package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// serving is a guest with a listener.
type serving struct {
	*daemon
	*bundle.Process
	spec bundle.Spec
}

// servingAddr is for these tests alone.
const servingAddr = "127.79.1.1:8080"

func isolations(t *testing.T, test func(t *testing.T, d *daemon, shim string)) {
	for name, shim := range map[string]string{"process": "", "shared": bundle.SharedShim("")} {
		t.Run(name, func(t *testing.T) { test(t, newDaemon(t), shim) })
	}
}

func (d *daemon) serve(name, shim, how string) *serving {
	d.t.Helper()
	spec := d.spec(name, 0, enginetest.C(d.t, "drain.c"), func(s *bundle.Spec) {
		s.Shim, s.Args = shim, []string{"drain", how}
		s.Listeners = []bundle.Listener{{Name: "echo", Network: bundle.NetworkTCP, Address: netip.MustParseAddrPort(servingAddr)}}
	})
	return &serving{daemon: d, Process: d.running(spec), spec: spec}
}

func (s *serving) connect(t *testing.T) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", servingAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s *serving) terminate(t *testing.T) {
	t.Helper()
	if err := s.Signal(false); err != nil {
		t.Fatal(err)
	}
}

// refuses waits until no new client can come.
func (s *serving) refuses(t *testing.T) {
	t.Helper()
	eventually(t, "refusal of new clients", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", servingAddr)
		if err == nil {
			_ = conn.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED)
	})
}

var terminated = bundle.Exit{Code: 143, Reason: bundle.Killed, Message: "terminated by SIGTERM"}

// After SIGTERM a client is served to the end, a new one is refused, and the guest ends with a code of its own.
func TestTerminateServesClients(t *testing.T) {
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		s := d.serve("c", shim, "loop")
		conn := s.connect(t)
		s.logs(s.spec, "accepted")
		s.terminate(t)
		s.refuses(t)
		s.terminate(t) // again: a daemon that was restarted
		if _, err := io.WriteString(conn, "bye"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 3)
		if _, err := io.ReadFull(conn, got); string(got) != "bye" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_ = conn.Close()
		if diff := sameExit(bundle.Exit{Code: 5, Reason: bundle.Error}, s.ended(s.Process)); diff != "" {
			t.Error(diff)
		}
	})
}

// One that goes on without clients is ended, as is one that never had any.
func TestTerminateWithoutClients(t *testing.T) {
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		idle := d.serve("idle", shim, "idle")
		idle.logs(idle.spec, "idle")
		idle.terminate(t)
		if diff := sameExit(terminated, d.ended(idle.Process)); diff != "" {
			t.Error(diff)
		}

		deaf := d.serve("deaf", shim, "deaf")
		conn := deaf.connect(t)
		deaf.logs(deaf.spec, "accepted")
		deaf.terminate(t)
		deaf.refuses(t)
		_ = conn.Close()
		deaf.logs(deaf.spec, "closed")
		if diff := sameExit(terminated, d.ended(deaf.Process)); diff != "" {
			t.Error(diff)
		}
	})
}

// A client that stays does not keep SIGKILL away.
func TestKillWithClients(t *testing.T) {
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		s := d.serve("c", shim, "deaf")
		s.connect(t)
		s.logs(s.spec, "accepted")
		s.terminate(t)
		s.refuses(t)
		if err := s.Signal(true); err != nil {
			t.Fatal(err)
		}
		if e := s.ended(s.Process); e.Code != 137 || e.Reason != bundle.Killed {
			t.Errorf("%+v", e)
		}
	})
}

// SIGTERM is passed on once.
func TestSignalsArePassedOn(t *testing.T) {
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		spec := d.spec("c", 0, enginetest.C(t, "drain.c"), func(s *bundle.Spec) {
			s.Shim, s.Signals, s.Args = shim, true, []string{"drain", "signals"}
		})
		p := d.running(spec)
		for range 2 {
			if err := p.Signal(false); err != nil {
				t.Fatal(err)
			}
			d.logs(spec, "signal 15")
		}
		if shim != "" { // there is no way to send it SIGHUP
			if err := p.Signal(true); err != nil {
				t.Fatal(err)
			}
			if e := d.ended(p); e.Code != 137 {
				t.Errorf("%+v", e)
			}
		} else {
			if err := syscall.Kill(p.PID(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			if diff := sameExit(bundle.Exit{Code: 7, Reason: bundle.Error}, d.ended(p)); diff != "" {
				t.Error(diff)
			}
		}
		if log := d.log(spec); strings.Count(log, "signal 15") != 1 {
			t.Error(log)
		}
	})
}
