package resolver

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want Config
	}{
		"a cluster's": {
			"search a.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5 timeout:1\n",
			Config{[]netip.Addr{netip.MustParseAddr("10.96.0.10")}, []string{"a.svc.cluster.local", "svc.cluster.local", "cluster.local"}, 5, []string{"timeout:1"}},
		},
		"what is not understood": {"# comment\n; comment\nfoo bar\nnameserver\nnameserver nowhere\noptions ndots:x", Config{}},
		"the last search counts": {"domain a\nsearch b c # d", Config{Search: []string{"b", "c"}}},
		"three servers": {
			"nameserver 1.1.1.1\nnameserver ::1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\noptions ndots:99",
			Config{Nameservers: []netip.Addr{netip.MustParseAddr("1.1.1.1"), netip.IPv6Loopback(), netip.MustParseAddr("2.2.2.2")}, Ndots: 15},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(tc.text))
			if d := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" || err != nil {
				t.Error(d, err)
			}
		})
	}
}

// zone is a name server with the addresses of some names.
type zone struct {
	addresses map[string]string
	mu        sync.Mutex
	asked     []string
}

func serve(t *testing.T, addresses map[string]string) (*zone, netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z, done := &zone{addresses: addresses}, make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := z.answer(buf[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return z, netip.MustParseAddrPort(conn.LocalAddr().String())
}

func (z *zone) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	answer := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
	if q.Type == dnsmessage.TypeA {
		z.mu.Lock()
		z.asked = append(z.asked, q.Name.String())
		z.mu.Unlock()
	}
	a, ok := z.addresses[q.Name.String()]
	switch {
	case !ok:
		answer.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		answer.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
		}}
	}
	out, err := answer.Pack()
	if err != nil {
		return nil
	}
	return out
}

func (z *zone) names() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked
}

const hosts = "# 10.0.0.7 db\n10.0.0.8\tweb-0.sub\tWEB-0 # me\n::8 web-0\n10.0.0.8 web-0\n10.0.0.9 other.example db.\nnowhere db\n\n10.0.0.10\n"

func TestLookup(t *testing.T) {
	for name, tc := range map[string]struct {
		name  string
		ndots int
		want  string
		full  string
		asked []string
	}{
		"a service":              {"kv", 5, "10.0.0.1", "kv.ns.svc.local", []string{"kv.ns.svc.local."}},
		"of another domain":      {"other", 5, "10.0.0.2", "other.svc.local", []string{"other.ns.svc.local.", "other.svc.local."}},
		"outside, after all":     {"www.example", 5, "10.0.0.3", "www.example", []string{"www.example.ns.svc.local.", "www.example.svc.local.", "www.example."}},
		"outside, at first":      {"www.example", 1, "10.0.0.3", "www.example", []string{"www.example."}},
		"a full name":            {"www.example.", 5, "10.0.0.3", "www.example", []string{"www.example."}},
		"somebody else's":        {"good.example", 5, "10.0.0.6", "good.example.svc.local", []string{"good.example.ns.svc.local.", "good.example.svc.local."}},
		"an address":             {"192.0.2.1", 5, "192.0.2.1", "192.0.2.1", nil},
		"localhost":              {"LocalHost.", 5, "127.0.0.1 ::1", "localhost", nil},
		"in hosts":               {"Web-0.", 5, "10.0.0.8 ::8", "web-0", nil},
		"an alias in hosts":      {"db", 1, "10.0.0.9", "db", nil},
		"a name that is nowhere": {"x", 1, "", "", []string{"x.ns.svc.local.", "x.svc.local.", "x."}},
	} {
		t.Run(name, func(t *testing.T) {
			z, at := serve(t, map[string]string{"kv.ns.svc.local.": "10.0.0.1", "other.svc.local.": "10.0.0.2", "www.example.": "10.0.0.3", "good.example.svc.local.": "10.0.0.6"})
			r := New(Config{Search: []string{"ns.svc.local", "svc.local."}, Ndots: tc.ndots}, hosts)
			r.servers = []netip.AddrPort{at}
			list, full, err := r.Lookup(t.Context(), tc.name)
			var got []string
			for _, a := range list {
				got = append(got, a.Unmap().String())
			}
			if text := strings.Join(got, " "); text != tc.want || full != tc.full || (err == nil) != (tc.want != "") {
				t.Errorf("%q of %q, %v, want %q of %q", text, full, err, tc.want, tc.full)
			}
			if d := cmp.Diff(tc.asked, z.names()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLookupWithoutServer(t *testing.T) {
	if list, _, err := New(Config{}, "").Lookup(t.Context(), "a.b"); err != ErrNoServer { //nolint:errorlint // it itself
		t.Error(list, err)
	}
}

func TestLookupEndsWithItsContext(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0") // answers nothing
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := New(Config{}, "")
	r.servers = []netip.AddrPort{netip.MustParseAddrPort(conn.LocalAddr().String())}
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() {
		_, _, err := r.Lookup(ctx, "a.b")
		end <- err
	}()
	if _, _, err := conn.ReadFrom(make([]byte, 1500)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-end; err == nil {
		t.Error("no error")
	}
}

func TestString(t *testing.T) {
	var c Config
	c.AddSearch("a.example.", ".", "b.example", "a.example")
	for _, o := range []string{"timeout:1", "edns0", "ndots:5", "timeout:2", "ndots:x", "ndots"} {
		c.SetOption(o)
	}
	for _, a := range []string{"10.96.0.10", "fd00::a", "10.96.0.11", "10.96.0.12"} {
		c.Nameservers = append(c.Nameservers, netip.MustParseAddr(a))
	}
	c.Limit()
	const want = "search a.example b.example\nnameserver 10.96.0.10\nnameserver fd00::a\nnameserver 10.96.0.11\noptions ndots:5 timeout:2 edns0\n"
	if d := cmp.Diff(want, c.String()); d != "" {
		t.Error(d)
	}
	back, err := Parse(strings.NewReader(want))
	if d := cmp.Diff(want, back.String()); d != "" || err != nil {
		t.Error(d, err)
	}
	if got := (Config{}).String(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

func TestLimit(t *testing.T) {
	long := strings.Repeat("a.", 126) + "a" // 253
	var c Config
	c.AddSearch(long+"a", "b")
	for i := range 10 {
		c.AddSearch(long[i:])
	}
	c.Limit()
	if n, line := len(c.Search), strings.Join(c.Search, " "); n != 9 || len(line) > maxSearchLine || c.Search[0] != "b" {
		t.Errorf("%d domains in %d characters are left: %s", n, len(line), line)
	}
	c = Config{}
	for i := range 40 {
		c.AddSearch(strings.Repeat("c", i+1))
	}
	if c.Limit(); len(c.Search) != maxSearch || c.Search[31] != strings.Repeat("c", 32) {
		t.Errorf("left: %q", c.Search)
	}
}
