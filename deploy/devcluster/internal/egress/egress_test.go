package egress

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

var cluster = Proxy{Virtual: []netip.Prefix{netip.MustParsePrefix("10.99.0.0/24"), netip.MustParsePrefix("10.244.0.0/16")}}

func TestTranslate(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"a node", "10.99.0.7", "127.99.0.7"},
		{"a Pod", "10.244.3.9", "127.244.3.9"},
		{"beside the nodes", "10.99.1.7", "10.99.1.7"},
		{"elsewhere", "192.0.2.1", "192.0.2.1"},
		{"IPv6", "fd00::1", "fd00::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := cluster.translate(netip.MustParseAddr(tt.in)).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestIsLocal(t *testing.T) {
	if !isLocal(t.Context(), "127.3.2.1") {
		t.Error("127.3.2.1 is not local")
	}
	if isLocal(t.Context(), "192.0.2.1") {
		t.Error("192.0.2.1, which is documentation's, is local")
	}
}

// connect asks the proxy for a connection and returns it with the status that the proxy answered.
func connect(t *testing.T, method, to string) (*net.UnixConn, string, *bufio.Reader) {
	t.Helper()
	s := httptest.NewUnstartedServer(cluster)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, method+" "+to+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	answer, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return c.(*net.UnixConn), answer.Status, r
}

func TestConnectReachesVirtualAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.244.3.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // a server that echoes and ends when the client has ended
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, status, r := connect(t, http.MethodConnect, "10.244.3.9:"+port)
	if !strings.HasPrefix(status, "200 ") {
		t.Fatal(status)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestConnectSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name, method, to, want string
	}{
		{"nobody listens", http.MethodConnect, "127.0.0.1:1", "502 Bad Gateway"},
		{"no CONNECT", http.MethodGet, "/", "405 Method Not Allowed"},
		{"no port", http.MethodConnect, "127.0.0.1", "502 Bad Gateway"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got, _ := connect(t, tt.method, tt.to); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
