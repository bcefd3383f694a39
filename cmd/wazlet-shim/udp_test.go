package main

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/egress"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// asks sends a datagram to the address and checks that it comes back from there.
func asks(t *testing.T, to netip.AddrPort, text string) {
	t.Helper()
	answers(t, to, text, text)
}

// answers sends a datagram to the address and checks what comes back from there.
func answers(t *testing.T, to netip.AddrPort, text, want string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want)+1)
	if n, err := conn.Read(got); string(got[:n]) != want || err != nil {
		t.Fatalf("%s answers %q, %v", to, got[:n], err)
	}
}

// Guests that wait for datagrams at the ports that their containers declare answer them, and take neither time nor a thread
// while there are none.
func TestUDPEcho(t *testing.T) {
	source, err := filepath.Abs("../../deploy/examples/udp-echo/main.c")
	if err != nil {
		t.Fatal(err)
	}
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		const (
			guests  = 200
			threads = 150 // of one process, however many guests it has
		)
		all := make([]*bundle.Process, map[bool]int{true: guests, false: 2}[shim != ""])
		addresses := make([]netip.AddrPort, len(all))
		for i := range all {
			addresses[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 79, 2, byte(i + 1)}), 7007)
			all[i] = d.running(d.spec("c"+strconv.Itoa(i), 0, enginetest.C(t, source), func(s *bundle.Spec) {
				s.Shim = shim
				s.Listeners = []bundle.Listener{{Name: "echo", Network: bundle.NetworkUDP, Address: addresses[i]}}
			}))
		}
		for i, to := range addresses {
			asks(t, to, "hello "+strconv.Itoa(i))
		}
		if n := len(entriesOf(t, fmt.Sprintf("/proc/%d/task", all[0].PID()))); n > threads {
			t.Errorf("%d guests that wait for datagrams hold %d threads", len(all), n)
		}
		used := func() (sum time.Duration) {
			for _, p := range all[1:] {
				u, ok := d.Usage(p.Spec().ID())
				if !ok {
					t.Fatal("no usage")
				}
				sum += u.CPU
			}
			return sum
		}
		eventually(t, "CPU time for others alone", func() bool {
			before := used()
			for i := range 100 {
				asks(t, addresses[0], strconv.Itoa(i))
			}
			return used() == before
		})
		for _, p := range all {
			if err := p.Signal(true); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range all {
			if e := d.ended(p); e.Code != codeKilled {
				t.Errorf("%+v", e)
			}
		}
	})
}

// A guest binds a port of its Pod's address itself, and answers at it.
func TestUDPOfTheGuest(t *testing.T) {
	own := netip.MustParseAddr("127.79.3.1")
	bound := regexp.MustCompile(` stdout F bound (\S+) (\d+)\n`)
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		spec := d.spec("c", 0, enginetest.C(t, "sockets.c"), func(s *bundle.Spec) {
			s.Shim, s.Args = shim, []string{"sockets", "udp"}
			s.Network = &bundle.Network{Egress: egress.Policy{Own: []netip.Addr{own}}}
		})
		p := d.running(spec)
		var at netip.AddrPort
		eventually(t, "socket", func() bool {
			m := bound.FindStringSubmatch(d.log(spec))
			if m == nil {
				return false
			}
			var err error
			if at, err = netip.ParseAddrPort(net.JoinHostPort(m[1], m[2])); err != nil {
				t.Fatal(err)
			}
			return true
		})
		if at.Addr() != own {
			t.Errorf("it is bound to %s; the Pod's address is %s", at, own)
		}
		asks(t, at, "ping")
		if e := d.ended(p); e.Reason != bundle.Completed {
			t.Errorf("%+v\n%s", e, d.log(spec))
		}
	})
}
