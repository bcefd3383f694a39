package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/egress"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

func TestUnheardIsBounded(t *testing.T) {
	h := newHerald(func(string) bool { return false })
	var want []string
	for i := range 2 * maxUnheard {
		h.tell(strconv.Itoa(i))
		if i >= maxUnheard {
			want = append(want, strconv.Itoa(i))
		}
	}
	var got []string
	for text, ok := h.next(); ok; text, ok = h.next() {
		got = append(got, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is refused to a guest reaches the daemon that has adopted it: what comes then, and what came while there was none.
func TestRefusalsReachTheNextDaemon(t *testing.T) {
	at := netip.MustParseAddrPort("127.79.4.1:7007")
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		spec := d.spec("c", 0, enginetest.C(t, "sockets.c"), func(s *bundle.Spec) {
			s.Shim, s.Args = shim, []string{"sockets", "knock"}
			s.Listeners = []bundle.Listener{{Name: "knock", Network: bundle.NetworkUDP, Address: at}}
			s.Network = &bundle.Network{Egress: egress.Policy{Own: []netip.Addr{at.Addr()}}}
		})
		d.running(spec)
		knock := func(port int) { answers(t, at, fmt.Sprintf("127.99.0.8 %d", port), "errno 2") } // EACCES
		port := regexp.MustCompile(`^c: .*127\.99\.0\.8:(\d+)\b`)
		heard := func(want ...string) { // in any order
			t.Helper()
			var got []string
			for range want {
				select {
				case text := <-d.refused:
					got = append(got, port.ReplaceAllString(port.FindString(text), "$1"))
				case <-patient(t).Done():
					t.Fatalf("heard of %v, and then nothing; want %v", got, want)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("heard of other ports: %s", diff)
			}
		}
		knock(1001)
		heard("1001")
		for _, first := range []int{2000, 3000} { // two more daemons
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			knock(first)
			knock(first + 1)
			d.open()
			p, err := d.Adopt(patient(t), spec.ID())
			if err != nil {
				t.Fatal(err)
			}
			d.entered(p)
			knock(first + 2)
			heard(strconv.Itoa(first), strconv.Itoa(first+1), strconv.Itoa(first+2))
		}
		p, err := d.Adopt(patient(t), spec.ID())
		if err == nil {
			err = p.Signal(true)
		}
		if err != nil {
			t.Fatal(err)
		}
		if e := d.ended(p); e.Code != codeKilled {
			t.Errorf("%+v", e)
		}
	})
}
