package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/utils/exec"

	"github.com/wazlet/wazlet/kube/server"
)

// A session is the client's side of an exec or attach with standard output.
type session struct {
	stdout, status io.Reader
	close          func()
}

// overSPDY opens a session as kube-apiserver does.
func overSPDY(t *testing.T, n *node, address, path string) session {
	t.Helper()
	conn, err := dialSPDY(n, address, path, "v4.channel.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	open := func(kind string) io.Reader {
		headers := http.Header{}
		headers.Set(corev1.StreamType, kind)
		s, err := conn.CreateStream(headers)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return session{status: open(corev1.StreamTypeError), stdout: open(corev1.StreamTypeStdout), close: func() { _ = conn.Close() }}
}

// spdyConn is what these tests use of a SPDY connection.
type spdyConn interface {
	CreateStream(headers http.Header) (spdyStream, error)
	Close() error
}

type spdyStream interface {
	io.ReadWriteCloser
	Reset() error
}

type streams struct {
	create func(http.Header) (spdyStream, error)
	io.Closer
}

func (s streams) CreateStream(h http.Header) (spdyStream, error) { return s.create(h) }

func dialSPDY(n *node, address, path, protocol string) (spdyConn, error) {
	transport, upgrader, err := spdy.RoundTripperFor(n.rest())
	if err != nil {
		return nil, err
	}
	target, err := url.Parse("https://" + address + path)
	if err != nil {
		return nil, err
	}
	conn, _, err := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, target).Dial(protocol)
	if err != nil {
		return nil, err
	}
	return streams{func(h http.Header) (spdyStream, error) { return conn.CreateStream(h) }, conn}, nil
}

// overWebSocket opens a session as a browser would. Each message begins with the number of its stream.
func overWebSocket(t *testing.T, n *node, protocol, address, path string) session {
	t.Helper()
	config, err := websocket.NewConfig("wss://"+address+path, "https://"+address)
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = []string{protocol}
	if config.TlsConfig, err = rest.TLSConfigFor(n.rest()); err != nil {
		t.Fatal(err)
	}
	conn, err := config.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stdout, out := io.Pipe()
	status, failure := io.Pipe()
	go func() {
		defer out.Close()
		defer failure.Close()
		for {
			var data []byte
			if websocket.Message.Receive(conn, &data) != nil {
				return
			}
			if len(data) > 1 && data[0] == 1 {
				_, _ = out.Write(data[1:])
			} else if len(data) > 1 && data[0] == 3 {
				_, _ = failure.Write(data[1:])
			}
		}
	}()
	return session{stdout, status, func() { _, _, _ = stdout.Close(), status.Close(), conn.Close() }}
}

func sessions() map[string]func(t *testing.T, n *node, address, path string) session {
	socket := func(protocol string) func(t *testing.T, n *node, address, path string) session {
		return func(t *testing.T, n *node, address, path string) session {
			t.Helper()
			return overWebSocket(t, n, protocol, address, path)
		}
	}
	return map[string]func(t *testing.T, n *node, address, path string) session{
		"SPDY": overSPDY, "WebSocket 4": socket("v4.channel.k8s.io"), "WebSocket 5": socket("v5.channel.k8s.io"),
	}
}

func TestExecAnswersWithAStatus(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{
		Pods: listing(pod("ns", "p", statuses()...)),
		Exec: func(_ context.Context, r server.ExecRequest) error {
			_, _ = fmt.Fprintf(r.Stdout, "%s;", r.Command)
			if r.Command[0] == "exit" {
				return fmt.Errorf("run: %w", utilexec.CodeExitError{Err: errors.New("exit code 7"), Code: 7})
			}
			return nil
		},
	})
	for name, open := range sessions() {
		for command, want := range map[string]metav1.Status{
			"ok": {Status: metav1.StatusSuccess},
			"exit": {
				Status: metav1.StatusFailure, Reason: "NonZeroExitCode", Message: "command terminated with non-zero exit code: exit code 7",
				Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ExitCode", Message: "7"}}},
			},
		} {
			t.Run(name+" "+command, func(t *testing.T) {
				s := open(t, n, n.address, "/exec/ns/p/up?output=1&command="+command)
				defer s.close()
				stdout := make([]byte, len(command)+3)
				if _, err := io.ReadFull(s.stdout, stdout); err != nil || string(stdout) != "["+command+"];" {
					t.Errorf("%q, %v", stdout, err)
				}
				var got metav1.Status
				if err := json.NewDecoder(s.status).Decode(&got); err != nil || got.String() != want.String() {
					t.Errorf("%v\n got %s\nwant %s", err, got.String(), want.String())
				}
			})
		}
	}
}

// TestGoneClient is the trap of hijacked connections: their request's context does not end by itself.
func TestGoneClient(t *testing.T) {
	for name, open := range sessions() {
		for _, path := range []string{"/exec/ns/p/up?command=wait&output=1", "/attach/ns/p/up?output=1"} {
			t.Run(name+" "+path, func(t *testing.T) {
				ended := make(chan error, 1)
				wait := func(ctx context.Context, w io.Writer) error {
					_, _ = io.WriteString(w, "begun")
					<-ctx.Done()
					ended <- context.Cause(ctx)
					return ctx.Err()
				}
				n := serve(t, server.Auth{}, server.Handlers{
					Pods:   listing(pod("ns", "p", statuses()...)),
					Exec:   func(ctx context.Context, r server.ExecRequest) error { return wait(ctx, r.Stdout) },
					Attach: func(ctx context.Context, r server.AttachRequest) error { return wait(ctx, r.Stdout) },
				})
				address, cut := n.proxy()
				s := open(t, n, address, path)
				defer s.close()
				if _, err := io.ReadFull(s.stdout, make([]byte, len("begun"))); err != nil {
					t.Fatal(err)
				}
				cut()
				if err := await(t, ended, "end of the exec"); !errors.Is(err, server.ErrClientGone) {
					t.Errorf("ended by %v", err)
				}
			})
		}
	}
}

func TestGoneClientOfAPortForward(t *testing.T) {
	for _, who := range []string{"client", "server"} {
		t.Run("ended by the "+who, func(t *testing.T) {
			ended := make(chan error, 1)
			n := serve(t, server.Auth{}, server.Handlers{
				Pods: listing(pod("ns", "p", statuses()...)),
				PortForward: func(ctx context.Context, r server.PortForwardRequest, stream io.ReadWriteCloser) error {
					_, _ = fmt.Fprintf(stream, "port %d", r.Port)
					<-ctx.Done()
					ended <- context.Cause(ctx)
					return ctx.Err()
				},
			})
			address, cut := n.proxy()
			conn, err := dialSPDY(n, address, "/portForward/ns/p", "portforward.k8s.io")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			headers := http.Header{}
			headers.Set(corev1.StreamType, corev1.StreamTypeError)
			headers.Set(corev1.PortHeader, "80")
			headers.Set(corev1.PortForwardRequestIDHeader, "1")
			if _, err := conn.CreateStream(headers); err != nil {
				t.Fatal(err)
			}
			headers.Set(corev1.StreamType, corev1.StreamTypeData)
			data, err := conn.CreateStream(headers)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len("port 80"))
			if _, err := io.ReadFull(data, got); err != nil || string(got) != "port 80" {
				t.Fatalf("%q, %v", got, err)
			}
			if who == "client" {
				cut()
			} else {
				n.stop()
			}
			if err := await(t, ended, "end of the forward"); errors.Is(err, server.ErrClientGone) != (who == "client") {
				t.Errorf("ended by %v", err)
			}
		})
	}
}

// TestProtocolsThatAreNotSpoken must not reach cri-streaming's handlers: it panics for version 5 over SPDY.
func TestProtocolsThatAreNotSpoken(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{Pods: listing(pod("ns", "p", statuses()...)), Exec: shell})
	const path = "/exec/ns/p/up?command=echo&output=1"
	if _, err := dialSPDY(n, n.address, path, "v5.channel.k8s.io"); err == nil || !strings.Contains(err.Error(), "v4.channel.k8s.io") {
		t.Errorf("version 5 over SPDY: %v", err)
	}
	r := request(t, "GET", n.url(path))
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Protocol": "v6.channel.k8s.io", "Origin": n.url(""),
	} {
		r.Header.Set(name, value)
	}
	client := n.admin()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	if code, body := fetch(t, client, r); code/100 != 4 {
		t.Errorf("version 6 over WebSocket: %d %q", code, body)
	}
}
