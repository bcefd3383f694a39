package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/wazlet/wazlet/kube/server"
)

// A stranger is told so and let go, though he has announced more than he sends: his connection is not kept for hours.
func TestRefusedBodyIsNotAwaited(t *testing.T) {
	n := serve(t, server.Auth{}, everything())
	conn, err := tls.Dial("tcp", n.address, &tls.Config{RootCAs: n.ca.Pool(), NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(conn, "POST /exec/a/b/c HTTP/1.1\r\nHost: n\r\nContent-Length: 100000\r\n\r\nbegin"); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(conn)
	w, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if body, err := io.ReadAll(w.Body); err != nil || w.StatusCode != http.StatusUnauthorized || string(body) != "Unauthorized" {
		t.Errorf("%s %q, %v", w.Status, body, err)
	}
	if rest, err := io.ReadAll(from); err != nil || len(rest) > 0 {
		t.Errorf("after the answer: %q, %v; want the end of the connection", rest, err)
	}
}

// Headers are bounded, and bodies: what nobody reads is not kept, on disk least of all.
func TestHugeRequests(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	h := everything()
	h.Stats = func(context.Context, bool) (*stats.Summary, error) { return &stats.Summary{}, nil }
	h.SetVerbosity = func(int) { t.Error("somebody has set the verbosity") }
	n := serve(t, server.Auth{}, h)
	client := n.admin()

	r := request(t, http.MethodGet, n.url("/pods"))
	r.Header.Set("X-Huge", strings.Repeat("x", 2<<20))
	if w, err := client.Do(r); err == nil { // HTTP/2 ends the stream instead
		_ = w.Body.Close()
		if w.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a header of 2 MiB: %s", w.Status)
		}
	}

	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	file, err := m.CreateFormFile("file", "name")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		method, path, kind string
		body               []byte
		code               int
	}{
		{http.MethodPost, "/stats/summary", m.FormDataContentType(), form.Bytes(), 200},
		{http.MethodPost, "/stats/summary", "application/x-www-form-urlencoded", []byte("a=" + strings.Repeat("x", 1<<20)), 400},
		{http.MethodPut, "/debug/flags/v", "text/plain", bytes.Repeat([]byte("1"), 1<<20), 400},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.method, n.url(tc.path), bytes.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", tc.kind)
		if code, body := fetch(t, client, r); code != tc.code {
			t.Errorf("%s %s with %d bytes: %d %.100q, want %d", tc.method, tc.path, len(tc.body), code, body, tc.code)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left on disk: %v, %v", left, err)
	}
}

// The API server is not asked about what cannot be a token.
func TestLongTokens(t *testing.T) {
	tokens := &tokenAPI{}
	n := serve(t, server.Auth{Tokens: tokens}, everything())
	for _, length := range []int{16<<10 + 1, 500 << 10} {
		r := request(t, http.MethodGet, n.url("/pods"))
		r.Header.Set("Authorization", "Bearer "+strings.Repeat("x", length))
		if code, _ := fetch(t, n.http(), r); code != http.StatusUnauthorized || tokens.count() != 0 {
			t.Errorf("a token of %d bytes: %d after %d reviews", length, code, tokens.count())
		}
	}
}

// One client with many connections to a Pod takes them all with it.
func TestManyForwardsOfOneClient(t *testing.T) {
	const many = 100
	for way := range tunnels() {
		t.Run(way, func(t *testing.T) {
			ended := make(chan struct{}, many)
			n := serve(t, server.Auth{}, server.Handlers{
				Pods: listing(pod("ns", "p")),
				PortForward: func(ctx context.Context, _ server.PortForwardRequest, stream io.ReadWriteCloser) error {
					_, _ = io.WriteString(stream, "!")
					<-ctx.Done()
					ended <- struct{}{}
					return ctx.Err()
				},
			})
			address, cut := n.proxy()
			local, end, _ := forward(t, n, way, address, 80)
			conns := make([]net.Conn, many)
			for i := range conns {
				conns[i] = dial(t, local)
			}
			for _, c := range conns {
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			cut()
			for _, c := range conns {
				await(t, ended, "end of a connection to the Pod")
				_ = c.Close()
			}
			_ = end()
		})
	}
}

// There are no more connections than allowed: who comes next waits until one is over, whether it was an exec or an ordinary one.
func TestMaxConnections(t *testing.T) {
	story := make(chan string, 10)
	began, end := make(chan struct{}), make(chan struct{})
	n := serve(t, server.Auth{}, server.Handlers{
		MaxConnections: 1,
		Pods: func(context.Context) ([]*corev1.Pod, error) {
			story <- "pods"
			return []*corev1.Pod{pod("ns", "p", statuses()...)}, nil
		},
		Exec: func(context.Context, server.ExecRequest) error {
			close(began)
			<-end
			story <- "exec has ended"
			return nil
		},
	})
	defer overSPDY(t, n, n.address, "/exec/ns/p/up?command=x&output=1").close()
	await(t, began, "command")
	answered := make(chan error)
	for range 3 {
		client, r := n.admin(), request(t, http.MethodGet, n.url("/pods"))
		client.Transport.(*http.Transport).DisableKeepAlives = true
		go func() {
			w, err := client.Do(r)
			if err == nil {
				err = w.Body.Close()
			}
			answered <- err
		}()
	}
	close(end)
	for range 3 {
		if err := await(t, answered, "answer"); err != nil {
			t.Error(err)
		}
	}
	for i, want := range []string{"pods", "exec has ended", "pods", "pods", "pods"} {
		if got := await(t, story, "event"); got != want {
			t.Errorf("event %d: %s, want %s", i, got, want)
		}
	}
}

// pipes is a listener without a network, so that time can be made to pass.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// Who is slow, or says nothing, is let go, and soon.
func TestSlowStrangers(t *testing.T) {
	const head = "GET /pods HTTP/1.1\r\nHost: n\r\n"
	for _, tc := range []struct {
		name string
		tls  bool
		say  string
		want time.Duration
	}{
		{"no handshake", false, "", 32 * time.Second},
		{"half a handshake", false, "\x16\x03\x01", 32 * time.Second},
		{"no request", true, "", 32 * time.Second},
		{"half a request", true, head, 32 * time.Second},
		{"no second request", true, head + "\r\n", 90 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t, "ca")
				cert := ca.issue(t, x509.Certificate{DNSNames: []string{"n"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() {
					ended <- server.Serve(ctx, l, server.TLSConfig{
						ClientCAs: ca.Pool, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
					}, server.Auth{Mode: server.AuthorizationAlwaysAllow}, everything())
				}()
				near, far := net.Pipe()
				l.conns <- far
				began := time.Now()
				conn := near
				if tc.tls {
					conn = tls.Client(near, &tls.Config{RootCAs: ca.Pool(), ServerName: "n", NextProtos: []string{"http/1.1"}})
				}
				if _, err := io.WriteString(conn, tc.say); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, conn) // ends with the connection, in one way or another
				if took := time.Since(began); took != tc.want {
					t.Errorf("let go after %s, want %s", took, tc.want)
				}
				_ = conn.Close()
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
