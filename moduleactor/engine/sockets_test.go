package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
)

// pod is the address of the guest's Pod, other that of somebody else on this machine.
var (
	pod   = netip.AddrFrom4([4]byte{127, 88, 0, 7})
	other = netip.AddrFrom4([4]byte{127, 99, 0, 9})
)

// lines is a guest's stdout by line.
type lines struct {
	*io.PipeWriter
	next func() (string, bool)
}

func newLines(t *testing.T) lines {
	r, w := io.Pipe()
	t.Cleanup(func() { _ = r.Close() })
	all := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(all)
		var rest string
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			rest += string(buf[:n])
			for {
				line, more, ok := strings.Cut(rest, "\n")
				if !ok {
					break
				}
				all <- line
				rest = more
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = w.Close(); <-done })
	return lines{w, func() (string, bool) { l, ok := <-all; return l, ok }}
}

// online is a guest with a network in which addresses and names of example are allowed.
type online struct {
	lines
	end chan engine.Result
}

func dialing(t *testing.T, v1 bool, env []string, args ...string) *online {
	t.Helper()
	var flags []string
	if v1 {
		flags = []string{"-DV1"}
	}
	p := load(t, enginetest.C(t, "sockets.c", flags...))
	o := &online{newLines(t), make(chan engine.Result, 1)}
	network := &wasi.Network{
		Addresses: []netip.Addr{pod},
		Check: func(to netip.AddrPort, names []string) error {
			if to.Addr() == other || slices.Contains(names, "good.example") || slices.Contains(names, "searched.example") {
				return nil
			}
			return errors.New("refused")
		},
		Lookup: func(_ context.Context, name string) ([]netip.Addr, string, error) {
			switch name {
			case "good.example", "bad.example":
				return []netip.Addr{netip.AddrFrom4([4]byte{127, 77, 0, byte(len(name))}), netip.MustParseAddr("2001:db8::7")}, name, nil
			case "searched.example":
				return []netip.Addr{netip.AddrFrom4([4]byte{127, 77, 0, byte(len(name))})}, "searched.example.attacker", nil
			default:
				return nil, "", errors.New("no such host")
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		o.end <- p.Run(ctx, engine.Guest{Args: append([]string{"sockets"}, args...), Env: env, Stdout: o.lines, Network: network})
		_ = o.Close()
	}()
	return o
}

// rest returns what the guest prints until its end.
func (o *online) rest(t *testing.T) string {
	t.Helper()
	var out []string
	for l, ok := o.next(); ok; l, ok = o.next() {
		out = append(out, l)
	}
	if res := <-o.end; res.Reason != engine.Completed && res.Code != 1 {
		t.Errorf("%+v", res)
	}
	return strings.Join(out, "\n")
}

// versions runs a test with each version of the extension.
func versions(t *testing.T, test func(t *testing.T, v1 bool)) {
	for _, v1 := range []bool{false, true} {
		t.Run(fmt.Sprintf("version 1: %v", v1), func(t *testing.T) { test(t, v1) })
	}
}

func TestGuestListens(t *testing.T) {
	for _, family := range []string{"", "SIX=1"} {
		t.Run(family, func(t *testing.T) {
			versions(t, func(t *testing.T, v1 bool) {
				o := dialing(t, v1, []string{family}, "server")
				line, _ := o.next()
				var at string
				var port uint16
				if _, err := fmt.Sscanf(line, "listening %s %d", &at, &port); err != nil || at != pod.String() {
					t.Fatalf("%q, %v: it must listen on its Pod's address alone", line, err)
				}
				conn, err := net.Dial("tcp", netip.AddrPortFrom(pod, port).String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, "echo"); err != nil {
					t.Fatal(err)
				}
				_ = conn.(*net.TCPConn).CloseWrite()
				if got, err := io.ReadAll(conn); string(got) != "echo" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
				if out := o.rest(t); out != "" {
					t.Error(out)
				}
			})
		})
	}
}

// greeter accepts connections on an address and says what it hears, twice.
func greeter(t *testing.T, at netip.Addr) (port string, peers <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(at.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	from, done := make(chan string, 10), make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			from <- host
			buf := make([]byte, 100)
			n, _ := conn.Read(buf)
			_, _ = conn.Write(append(buf[:n], buf[:n]...))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, from
}

func TestGuestConnects(t *testing.T) {
	for name, tc := range map[string]struct {
		listen netip.Addr
		to     string
		six    bool
	}{
		"to what is allowed":             {other, other.String(), false},
		"to its own Pod":                 {pod, pod.String(), false},
		"to localhost, which is its Pod": {pod, "127.0.0.1", false},
		"to 0.0.0.0, which is its Pod":   {pod, "0.0.0.0", false},
		"to ::1, which is its Pod":       {pod, "::1", true},
		"over IPv6":                      {other, "::ffff:" + other.String(), true},
	} {
		t.Run(name, func(t *testing.T) {
			versions(t, func(t *testing.T, v1 bool) {
				port, peers := greeter(t, tc.listen)
				var env []string
				if tc.six {
					env = []string{"SIX=1"}
				}
				o := dialing(t, v1, env, "client", tc.to, port)
				want := fmt.Sprintf("peer %s %s\ngot hellohello", tc.listen, port)
				if diff := cmp.Diff(want, o.rest(t)); diff != "" {
					t.Fatal(diff)
				}
				if from := <-peers; from != pod.String() {
					t.Errorf("the connection comes from %s", from)
				}
			})
		})
	}
}

func TestGuestIsRefused(t *testing.T) {
	port, _ := greeter(t, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"a connection":              {[]string{"client", "127.77.1.1", port}, "connect: errno 2"},
		"the host's loopback":       {[]string{"client", "127.0.0.1", port}, "connect: errno 14"}, // nobody listens there in the Pod
		"a datagram":                {[]string{"datagram", "127.77.1.1", port}, "send_to: errno 2"},
		"a connection, nonblocking": {[]string{"later", "127.77.1.1", port}, "connect: errno 2"},
		"every address of the host": {[]string{"client", "0.0.0.0", port}, "connect: errno 14"},
		"metadata of a cloud":       {[]string{"client", "169.254.169.254", "80"}, "connect: errno 2"},
		"a port above 65535":        {[]string{"client", other.String(), "65536"}, "connect: errno 28"},
		"a name that is not known":  {[]string{"resolve", "nothing.example", "80"}, "getaddrinfo: errno 44"},
		"a service":                 {[]string{"resolve", "good.example", "gopher"}, "getaddrinfo: errno 44"},
	} {
		t.Run(name, func(t *testing.T) {
			versions(t, func(t *testing.T, v1 bool) {
				if diff := cmp.Diff(tc.want, dialing(t, v1, nil, tc.args...).rest(t)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// The same destinations have more names in IPv6.
func TestGuestIsRefusedOverIPv6(t *testing.T) {
	port, _ := greeter(t, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	for to, want := range map[string]string{
		"::1": "connect: errno 14", "::": "connect: errno 14", "::ffff:127.0.0.1": "connect: errno 14", "::ffff:0.0.0.0": "connect: errno 14",
		"::ffff:127.77.1.1": "connect: errno 2", "::ffff:169.254.169.254": "connect: errno 2", "64:ff9b::7f00:1": "connect: errno 2",
		"::127.0.0.1": "connect: errno 2", "2002:7f00:1::": "connect: errno 2", "fe80::1": "connect: errno 2", "fd00:ec2::254": "connect: errno 2",
	} {
		t.Run(to, func(t *testing.T) {
			versions(t, func(t *testing.T, v1 bool) {
				if diff := cmp.Diff(want, dialing(t, v1, []string{"SIX=1"}, "client", to, port).rest(t)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestGuestWithoutNetwork(t *testing.T) {
	var out strings.Builder
	p := load(t, enginetest.C(t, "sockets.c"))
	res := p.Run(t.Context(), engine.Guest{Args: []string{"sockets", "server"}, Stdout: &out})
	if res.Code != 1 || out.String() != "open: errno 2\n" {
		t.Errorf("%+v %s", res, out.String())
	}
}

func TestGuestConnectsLater(t *testing.T) {
	port, _ := greeter(t, other)
	if got := dialing(t, false, nil, "later", other.String(), port).rest(t); got != "poll 1\nerror 0" {
		t.Error(got)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(other.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	if got := dialing(t, true, nil, "later", other.String(), port).rest(t); got != "poll 1\nerror 14" {
		t.Error(got)
	}
}

func TestGuestDatagrams(t *testing.T) {
	for _, family := range []string{"", "SIX=1"} {
		versions(t, func(t *testing.T, v1 bool) {
			o := dialing(t, v1, []string{family}, "udp")
			line, _ := o.next()
			var at string
			var port uint16
			if _, err := fmt.Sscanf(line, "bound %s %d", &at, &port); err != nil || at != pod.String() {
				t.Fatalf("%q, %v", line, err)
			}
			conn, err := net.DialUDP("udp", &net.UDPAddr{IP: pod.AsSlice()}, &net.UDPAddr{IP: pod.AsSlice(), Port: int(port)})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "ping"); err != nil {
				t.Fatal(err)
			}
			if got := o.rest(t); got != "from "+pod.String()+" flags 0: ping" {
				t.Fatal(got)
			}
			if v1 {
				return // which does not tell the port
			}
			buf := make([]byte, 10)
			if n, err := conn.Read(buf); string(buf[:n]) != "ping" || err != nil {
				t.Errorf("%q, %v", buf[:n], err)
			}
		})
	}
}

// Whoever sends a datagram is answered, allowed or not; nobody else.
func TestGuestAnswers(t *testing.T) {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: pod.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	f, err := server.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	client, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 77, 1, 2)}, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.WriteString(client, "ping"); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	p := load(t, enginetest.C(t, "sockets.c"))
	res := p.Run(t.Context(), engine.Guest{
		Args: []string{"sockets", "given"}, Stdout: &out, Preopens: []wasi.Preopen{{Name: "echo", File: f}},
	})
	want := fmt.Sprintf("bound %s %d\nfrom 127.77.1.2 flags 0: ping\n", pod, server.LocalAddr().(*net.UDPAddr).Port)
	if res.Reason != engine.Completed || out.String() != want {
		t.Fatalf("%+v\n%s", res, out.String())
	}
	buf := make([]byte, 10)
	if n, err := client.Read(buf); string(buf[:n]) != "ping" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

func TestGuestResolves(t *testing.T) {
	for name, tc := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"both families": {nil, []string{"good.example", "8080"}, "127.77.0.12 8080\n2001:db8::7 8080"},
		"IPv6 alone":    {[]string{"SIX=1"}, []string{"good.example", "http"}, "2001:db8::7 80"},
		"an address":    {nil, []string{"192.0.2.1", "https"}, "192.0.2.1 443"},
	} {
		t.Run(name, func(t *testing.T) {
			versions(t, func(t *testing.T, v1 bool) {
				if diff := cmp.Diff(tc.want, dialing(t, v1, tc.env, append([]string{"resolve"}, tc.args...)...).rest(t)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestSocketOptions(t *testing.T) {
	want := "set 0\nget 0 1\nby pointer 0 2\ndevice 50\nlevel 50\ntype 50\nstdout 57\nunix 5\nelsewhere 4\nbind elsewhere 4"
	if diff := cmp.Diff(want, dialing(t, false, nil, "options").rest(t)); diff != "" {
		t.Error(diff)
	}
}

// Only the full name that has an address speaks for it: with a search domain anybody's name answers to an allowed one.
func TestGuestConnectsByName(t *testing.T) {
	for name, tc := range map[string]struct{ name, at, want string }{
		"an allowed name":             {"good.example", "127.77.0.12", "got hellohello"},
		"another's in its place":      {"searched.example", "127.77.0.16", "connect: errno 2"},
		"a name that is not allowed":  {"bad.example", "127.77.0.11", "connect: errno 2"},
		"an address without its name": {"good.example", "127.77.0.13", "connect: errno 2"},
	} {
		t.Run(name, func(t *testing.T) {
			port, _ := greeter(t, netip.MustParseAddr(tc.at))
			versions(t, func(t *testing.T, v1 bool) {
				out := dialing(t, v1, nil, "named", tc.name, tc.at, port).rest(t)
				if !strings.HasSuffix(out, "\n"+tc.want) {
					t.Errorf("%s, want %s", out, tc.want)
				}
			})
		})
	}
}

// Two sockets of datagrams may share a port if both say so, and the later gets what is sent: a guest must not take over what a
// process of the node has that way.
func TestGuestTakesNobodysDatagrams(t *testing.T) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
		return errors.Join(err, cerr)
	}}
	conn, err := lc.ListenPacket(t.Context(), "udp", net.JoinHostPort(pod.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	if got := dialing(t, false, nil, "take", port).rest(t); got != "bind: errno 3" {
		t.Error(got)
	}
}
