package engine_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
)

// draining is a guest with a listener that can be asked to finish.
type draining struct {
	*running
	drain wasi.Drain
	addr  string
}

func beginDraining(t *testing.T, stdin io.Reader, how string) *draining {
	t.Helper()
	l, f := listen(t)
	d := &draining{addr: l.Addr().String()}
	d.running = beginOf(t, load(t, enginetest.C(t, "drain.c")), engine.Guest{
		Stdin: stdin, Root: open(t, t.TempDir(), false), Preopens: []wasi.Preopen{{Name: "echo", File: f}}, Drain: &d.drain,
	}, how)
	return d
}

func (d *draining) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-d.said:
		if got != want {
			t.Fatalf("the guest says %q, want %q", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("the guest does not say %q", want)
	}
}

func (d *draining) connect(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	conn, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatal("no TCP")
	}
	return conn
}

// finish is Finish in a goroutine of its own.
func (d *draining) finish(t *testing.T) <-chan struct{} {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.drain.Finish(t.Context())
	}()
	return done
}

func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("no " + what)
	}
}

// A client that is there is served; no other is. The guest ends by itself.
func TestDrainServesWhoIsThere(t *testing.T) {
	for how, want := range map[string]string{"loop": "accept 28\n", "poll": "poll 1, accept 28\n", "read": "read 0\npoll 1, 1\n"} { // 28 is EINVAL
		t.Run(how, func(t *testing.T) {
			in, _ := pipe(t)
			d := beginDraining(t, in, how)
			conn := d.connect(t)
			d.hears(t, "accepted")
			done := d.finish(t)
			if _, err := io.WriteString(conn, "bye"); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 3)
			if _, err := io.ReadFull(conn, got); string(got) != "bye" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.addr); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a new client: %v, want connection refused", err)
			}
			select {
			case <-done:
				t.Error("finished with a client")
			default:
			}
			_ = conn.Close()
			d.hears(t, "closed")
			res := d.wait(t)
			if how != "read" && (res.Code != 5 || res.Reason != engine.Error) || how == "read" && res.Reason != engine.Completed {
				t.Errorf("%+v", res)
			}
			if diff := cmp.Diff(want, d.stdout.String()); diff != "" {
				t.Error(diff)
			}
			within(t, "end of Finish", done)
		})
	}
}

// A guest that does not end by itself may be ended when its last client is gone.
func TestDrainOfAGuestThatGoesOn(t *testing.T) {
	d := beginDraining(t, nil, "deaf")
	conn := d.connect(t)
	d.hears(t, "accepted")
	done := d.finish(t)
	_ = conn.Close()
	d.hears(t, "closed")
	within(t, "end of Finish", done)
	d.cancel(&engine.Stop{Result: engine.Result{Code: 143, Reason: "Killed"}})
	if res := d.wait(t); res.Code != 143 {
		t.Errorf("%+v", res)
	}
}

// Without clients there is nothing to wait for, before the guest runs as after it has ended. A client that stays is waited
// for until the context ends.
func TestDrainWaitsForClientsOnly(t *testing.T) {
	var none wasi.Drain
	none.Finish(t.Context())

	idle := beginDraining(t, nil, "idle")
	idle.hears(t, "idle")
	idle.drain.Finish(t.Context())
	idle.cancel(nil)
	idle.wait(t)

	stays := beginDraining(t, nil, "deaf")
	stays.connect(t)
	stays.hears(t, "accepted")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		stays.drain.Finish(ctx)
	}()
	cancel()
	within(t, "end of Finish", done)
	stays.cancel(nil)
	stays.wait(t)
}

// What a guest opens itself is drained, too, also if it does so afterwards.
func TestDrainOfOwnListeners(t *testing.T) {
	p := load(t, enginetest.C(t, "sockets.c"))
	for _, early := range []bool{true, false} {
		var d wasi.Drain
		if early {
			d.Finish(t.Context())
		}
		out := newLines(t)
		end := make(chan engine.Result, 1)
		go func() {
			end <- p.Run(t.Context(), engine.Guest{
				Args: []string{"sockets", "server"}, Stdout: out, Drain: &d, Network: &wasi.Network{Addresses: []netip.Addr{pod}},
			})
			_ = out.Close()
		}()
		if line, _ := out.next(); !strings.HasPrefix(line, "listening ") {
			t.Fatal(line)
		}
		if !early {
			d.Finish(t.Context())
		}
		select {
		case res := <-end:
			if res.Code != 1 {
				t.Errorf("%+v: want the end of a server that cannot accept", res)
			}
		case <-time.After(time.Minute):
			t.Fatal("the guest waits for clients")
		}
	}
}
