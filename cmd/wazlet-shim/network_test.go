package main

import (
	"net"
	"net/netip"
	"testing"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/egress"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// A guest behind Landlock reaches what its policy allows, and nothing else.
func TestGuestConnects(t *testing.T) {
	l, err := net.Listen("tcp", "127.99.0.5:0")
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
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
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
	l, err := net.Listen("tcp4", "0.0.0.0:0")
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
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
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
