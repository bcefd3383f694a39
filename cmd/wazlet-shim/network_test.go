package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/egress"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// welcoming listens and greets whoever connects.
func welcoming(t *testing.T, address string) (host, port string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("welcome"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	host, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

// A guest behind Landlock reaches what its policy allows, and nothing else.
func TestGuestConnects(t *testing.T) {
	host, port := welcoming(t, "127.99.0.5:0")
	for name, tc := range map[string]struct {
		ask  string
		want []string
	}{
		"allowed":     {"127.99.0.0/16:" + port, []string{"peer 127.99.0.5 " + port, "got welcome"}},
		"not allowed": {"127.99.0.6", []string{"connect: errno 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			ask, err := egress.ParseList(tc.ask)
			if err != nil {
				t.Fatal(err)
			}
			dir := newBundle(t, enginetest.C(t, "sockets.c"), func(s *bundle.Spec) {
				s.Args, s.Landlock = []string{"sockets", "client", host, port}, true
				s.Network = &bundle.Network{Egress: egress.Policy{
					Own: []netip.Addr{netip.MustParseAddr("127.88.0.9")}, Ask: ask, Allow: []egress.Rule{egress.Everything()},
				}}
			})
			wait(t, start(t, dir), dir)
			for _, line := range tc.want {
				logged(t, dir, " stdout F "+line+"\n")
			}
		})
	}
}

// What listens on all addresses of the node listens on a Pod's, too, and is not the Pod's.
func TestGuestDoesNotReachTheNodeAtItsOwnAddress(t *testing.T) {
	_, port := welcoming(t, "0.0.0.0:0")
	for ask, want := range map[string]string{"": "connect: errno 2", "127.88.0.9:" + port: "got welcome"} {
		for _, to := range []string{"127.0.0.1", "0.0.0.0", "127.88.0.9"} {
			t.Run(to+" asking for "+ask, func(t *testing.T) {
				rules, err := egress.ParseList(ask)
				if err != nil {
					t.Fatal(err)
				}
				dir := newBundle(t, enginetest.C(t, "sockets.c"), func(s *bundle.Spec) {
					s.Args, s.Landlock = []string{"sockets", "client", to, port}, true
					s.Network = &bundle.Network{Egress: egress.Policy{
						Own: []netip.Addr{netip.MustParseAddr("127.88.0.9")}, Ask: rules, Allow: []egress.Rule{egress.Everything()},
					}}
				})
				wait(t, start(t, dir), dir)
				logged(t, dir, " stdout F "+want+"\n")
			})
		}
	}
}

// Each refusal is told once, by its container's shim; a guest that is allowed to connect has none.
func TestRefusalsAreTold(t *testing.T) {
	host, port := welcoming(t, "127.99.0.7:0")
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		for _, tc := range []struct{ name, ask, log string }{
			{"allowed", "127.99.0.0/16:" + port, " stdout F got welcome\n"},
			{"denied", "127.99.0.6", " stdout F connect: errno 2\n"},
		} {
			ask, err := egress.ParseList(tc.ask)
			if err != nil {
				t.Fatal(err)
			}
			spec := d.spec(tc.name, 0, enginetest.C(t, "sockets.c"), func(s *bundle.Spec) {
				s.Shim, s.Args = shim, []string{"sockets", "client", host, port}
				s.Network = &bundle.Network{Egress: egress.Policy{
					Own: []netip.Addr{netip.MustParseAddr("127.88.0.9")}, Ask: ask, Allow: []egress.Rule{egress.Everything()},
				}}
			})
			d.ended(d.start(spec, bundle.Limits{}))
			d.logs(spec, tc.log)
		}
		if len(d.refused) != 1 {
			t.Fatalf("%d refusals were told, want one", len(d.refused))
		}
		if got, address := <-d.refused, net.JoinHostPort(host, port); !strings.HasPrefix(got, "denied: ") || !strings.Contains(got, address) {
			t.Errorf("told: %q, want the container's name and %s", got, address)
		}
	})
}
