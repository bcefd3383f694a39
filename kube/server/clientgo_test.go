package server_test

// The streams as client-go's clients, which kubectl uses, see them.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	utilexec "k8s.io/utils/exec"

	"github.com/wazlet/wazlet/kube/server"
)

// dialects are the ways a client can ask for streams.
func dialects() map[string]func(c *rest.Config, u string) (remotecommand.Executor, error) {
	return map[string]func(c *rest.Config, u string) (remotecommand.Executor, error){
		"SPDY": func(c *rest.Config, u string) (remotecommand.Executor, error) {
			parsed, err := url.Parse(u)
			if err != nil {
				return nil, err
			}
			return remotecommand.NewSPDYExecutor(c, http.MethodPost, parsed)
		},
		"WebSocket 4": func(c *rest.Config, u string) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutorForProtocols(c, http.MethodGet, u, "v4.channel.k8s.io")
		},
		"WebSocket 5": func(c *rest.Config, u string) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(c, http.MethodGet, u)
		},
	}
}

func TestExec(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{Pods: listing(pod("ns", "p", statuses()...)), Exec: shell})
	for name, dial := range dialects() {
		for _, tc := range []struct {
			query, stdin, stdout, stderr, err string
			code                              int
		}{
			{query: "command=echo&command=a+b&command=c&output=1", stdout: "a b|c"},
			{query: "command=cat&input=1&output=1&error=1", stdin: "hello\n", stdout: "ns/again wasm://again-2 #2: hello\n", stderr: "read"},
			{query: "command=streams&output=1", stdout: "in=false err=false tty=false resize=false"},
			{query: "command=exit&output=1", err: "command terminated with exit code 7", code: 7},
			{query: "command=nothing&output=1", err: "Internal error occurred: error executing command in container: no such command: nothing"},
			{query: "command=panic&output=1", err: "Internal error occurred: error executing command in container: panic: deliberate"},
		} {
			t.Run(name+" "+tc.query, func(t *testing.T) {
				e, err := dial(n.rest(), n.url("/exec/ns/p/again?"+tc.query))
				if err != nil {
					t.Fatal(err)
				}
				var stdout, stderr bytes.Buffer
				o := remotecommand.StreamOptions{Stdout: &stdout}
				if tc.stdin != "" {
					o.Stdin = strings.NewReader(tc.stdin)
				}
				if strings.Contains(tc.query, "error=1") {
					o.Stderr = &stderr
				}
				err = e.StreamWithContext(t.Context(), o)
				if got := message(err); got != tc.err || stdout.String() != tc.stdout || stderr.String() != tc.stderr {
					t.Errorf("%q %q %q, want %q %q %q", got, stdout.String(), stderr.String(), tc.err, tc.stdout, tc.stderr)
				}
				if exit, ok := errors.AsType[utilexec.ExitError](err); tc.code != 0 && (!ok || exit.ExitStatus() != tc.code) {
					t.Errorf("%v is no exit code %d", err, tc.code)
				}
			})
		}
	}
}

// signal tells that something was written.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

type sizes []remotecommand.TerminalSize

func (s *sizes) Next() *remotecommand.TerminalSize {
	if len(*s) == 0 {
		return nil
	}
	next := (*s)[0]
	*s = (*s)[1:]
	return &next
}

func TestTerminal(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{Pods: listing(pod("ns", "p", statuses()...)), Exec: shell})
	for name, dial := range dialects() {
		t.Run(name, func(t *testing.T) {
			e, err := dial(n.rest(), n.url("/exec/ns/p/up?command=size&output=1&error=1&tty=1"))
			if err != nil {
				t.Fatal(err)
			}
			var stdout bytes.Buffer
			err = e.StreamWithContext(t.Context(), remotecommand.StreamOptions{
				Stdout: &stdout, Tty: true, TerminalSizeQueue: &sizes{{Width: 80, Height: 24}, {Width: 132, Height: 50}},
			})
			if want := "80x24;132x50;tty=true stderr=false"; err != nil || stdout.String() != want {
				t.Errorf("%v, %q, want %q", err, stdout.String(), want)
			}
		})
	}
}

// TestFallback is what kubectl does: WebSocket version 5, and SPDY if that is refused.
func TestFallback(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{Pods: listing(pod("ns", "p", statuses()...)), Exec: shell})
	for path, want := range map[string]struct {
		stdout, err string
		fallbacks   int
	}{
		"/exec/ns/p/up?command=echo&command=x&output=1":     {stdout: "x"},
		"/exec/ns/p/nobody?command=echo&command=x&output=1": {err: `container not found ("nobody")`, fallbacks: 1},
	} {
		first, err := dialects()["WebSocket 5"](n.rest(), n.url(path))
		if err != nil {
			t.Fatal(err)
		}
		second, err := dialects()["SPDY"](n.rest(), n.url(path))
		if err != nil {
			t.Fatal(err)
		}
		fallbacks := 0
		e, err := remotecommand.NewFallbackExecutor(first, second, func(error) bool { fallbacks++; return true })
		if err != nil {
			t.Fatal(err)
		}
		var stdout bytes.Buffer
		err = e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &stdout})
		if !strings.Contains(message(err), want.err) || (err == nil) != (want.err == "") || stdout.String() != want.stdout || fallbacks != want.fallbacks {
			t.Errorf("%s: %v, %q, %d fallbacks, want %+v", path, err, stdout.String(), fallbacks, want)
		}
	}
}

// TestHalfClose: the end of the client's input is the end of the command's, and its output still comes.
func TestHalfClose(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{
		Pods: listing(pod("ns", "p", statuses()...)),
		Exec: func(ctx context.Context, r server.ExecRequest) error {
			got, err := io.ReadAll(r.Stdin)
			if err == nil {
				_, err = r.Stdout.Write(got)
			}
			return errors.Join(err, context.Cause(ctx))
		},
	})
	input := bytes.Repeat([]byte("\x00\xff binary\n"), 100_000) // many messages
	for _, name := range []string{"SPDY", "WebSocket 5"} {      // version 4 knows no half-close
		t.Run(name, func(t *testing.T) {
			e, err := dialects()[name](n.rest(), n.url("/exec/ns/p/up?command=cat&input=1&output=1"))
			if err != nil {
				t.Fatal(err)
			}
			var stdout bytes.Buffer
			err = e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: bytes.NewReader(input), Stdout: &stdout})
			if err != nil || !bytes.Equal(stdout.Bytes(), input) {
				t.Errorf("%v, %d bytes of %d", err, stdout.Len(), len(input))
			}
		})
	}
}

// TestUnreadInput: a command that ends while its client is still sending has its exit code all the same.
func TestUnreadInput(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{Pods: listing(pod("ns", "p", statuses()...)), Exec: shell})
	for name, dial := range dialects() {
		t.Run(name, func(t *testing.T) {
			e, err := dial(n.rest(), n.url("/exec/ns/p/up?command=exit&input=1&output=1"))
			if err != nil {
				t.Fatal(err)
			}
			err = e.StreamWithContext(t.Context(), remotecommand.StreamOptions{
				Stdin: bytes.NewReader(make([]byte, 1<<20)), Stdout: io.Discard,
			})
			if exit, ok := errors.AsType[utilexec.ExitError](err); !ok || exit.ExitStatus() != 7 {
				t.Errorf("%v is no exit code 7", err)
			}
		})
	}
}

func TestDisappearingClientEndsExecAndAttach(t *testing.T) {
	for name, dial := range dialects() {
		for _, path := range []string{"/exec/ns/p/up?command=wait&output=1&input=1", "/attach/ns/p/up?output=1&input=1"} {
			t.Run(name+" "+path, func(t *testing.T) {
				begun, ended := make(chan struct{}, 1), make(chan error, 1)
				wait := func(ctx context.Context, stdout io.Writer) error {
					_, _ = io.WriteString(stdout, "begun") // a client that goes before it knows of its streams waits for them
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
				e, err := dial(n.rest(), "https://"+address+path)
				if err != nil {
					t.Fatal(err)
				}
				client := make(chan error, 1)
				stdin, hold := io.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					client <- e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: signal(begun)})
				}()
				await(t, begun, "exec")
				cut()
				if err := await(t, ended, "end of the exec"); !errors.Is(err, server.ErrClientGone) {
					t.Errorf("ended by %v", err)
				}
				cancel()
				_ = hold.Close()
				_ = await(t, client, "end of the client") // how it sees a cut connection is client-go's business
			})
		}
	}
}

func TestStoppingEndsExec(t *testing.T) {
	for name, dial := range dialects() {
		t.Run(name, func(t *testing.T) {
			begun := make(chan struct{}, 1)
			n := serve(t, server.Auth{}, server.Handlers{
				Pods: listing(pod("ns", "p", statuses()...)),
				Exec: func(ctx context.Context, r server.ExecRequest) error {
					_, _ = io.WriteString(r.Stdout, "begun")
					<-ctx.Done()
					return ctx.Err()
				},
			})
			e, err := dial(n.rest(), n.url("/exec/ns/p/up?command=wait&output=1"))
			if err != nil {
				t.Fatal(err)
			}
			client := make(chan error, 1)
			go func() { client <- e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: signal(begun)}) }()
			await(t, begun, "exec")
			n.stop()
			if err := await(t, client, "end of the client"); err == nil || !strings.Contains(err.Error(), "context canceled") {
				t.Errorf("the client got %v", err)
			}
			if err := await(t, n.returned, "end of Serve"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAttach(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{
		Pods: listing(pod("ns", "p", statuses()...)),
		Attach: func(_ context.Context, r server.AttachRequest) error {
			line, err := bufio.NewReader(r.Stdin).ReadString('\n')
			_, _ = fmt.Fprintf(r.Stdout, "%s #%d: %s", r.ContainerID, r.Attempt, line)
			return err
		},
	})
	for name, dial := range dialects() {
		t.Run(name, func(t *testing.T) {
			e, err := dial(n.rest(), n.url("/attach/ns/p/again?input=1&output=1"))
			if err != nil {
				t.Fatal(err)
			}
			var stdout bytes.Buffer
			err = e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("hi\n"), Stdout: &stdout})
			if want := "wasm://again-2 #2: hi\n"; err != nil || stdout.String() != want {
				t.Errorf("%v, %q, want %q", err, stdout.String(), want)
			}
		})
	}
}

// tunnels are the ways a client can ask for a port-forward.
func tunnels() map[string]func(c *rest.Config, u *url.URL) (httpstream.Dialer, error) {
	return map[string]func(c *rest.Config, u *url.URL) (httpstream.Dialer, error){
		"SPDY": func(c *rest.Config, u *url.URL) (httpstream.Dialer, error) {
			transport, upgrader, err := spdy.RoundTripperFor(c)
			if err != nil {
				return nil, err
			}
			return spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, u), nil
		},
		"WebSocket": func(c *rest.Config, u *url.URL) (httpstream.Dialer, error) {
			return portforward.NewSPDYOverWebsocketDialerForStreaming(u, c)
		},
	}
}

// forward runs a port-forward client to port of Pod ns/p at address. It returns where the client listens; end ends it.
func forward(t *testing.T, n *node, way, address string, port int) (local string, end func() error, done <-chan error) {
	t.Helper()
	dialer, err := tunnels()[way](n.rest(), &url.URL{Scheme: "https", Host: address, Path: "/portForward/ns/p"})
	if err != nil {
		t.Fatal(err)
	}
	stop, ready, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	f, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	go func() { result <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-result:
		t.Fatal(err)
	}
	ports, err := f.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0].Local), func() error {
		close(stop)
		return await(t, result, "end of the port-forward client")
	}, result
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPortForward(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{
		Pods: listing(pod("ns", "p", statuses()...)),
		PortForward: func(_ context.Context, r server.PortForwardRequest, stream io.ReadWriteCloser) error {
			// The client counts on its stream for longer than it takes to refuse it.
			line, err := bufio.NewReader(stream).ReadString('\n')
			if r.Port == 81 {
				return errors.New("connection refused")
			}
			_, _ = fmt.Fprintf(stream, "%s/%d: %s", r.Pod.Name, r.Port, line)
			return err
		},
	})
	for way := range tunnels() {
		t.Run(way, func(t *testing.T) { testPortForward(t, n, way) })
	}
}

func testPortForward(t *testing.T, n *node, way string) {
	local, end, _ := forward(t, n, way, n.address, 80)
	for i := range 3 { // each is a pair of streams of one connection
		c := dial(t, local)
		_, _ = fmt.Fprintf(c, "hello %d\n", i)
		got, err := io.ReadAll(c)
		if want := fmt.Sprintf("p/80: hello %d\n", i); err != nil || string(got) != want {
			t.Errorf("%v, %q, want %q", err, got, want)
		}
		_ = c.Close()
	}
	if err := end(); err != nil {
		t.Error(err)
	}

	local, _, done := forward(t, n, way, n.address, 81)
	c := dial(t, local)
	_, _ = io.WriteString(c, "hello\n")
	_, _ = io.ReadAll(c)
	_ = c.Close()
	if err := await(t, done, "end of the port-forward client"); !errors.Is(err, portforward.ErrLostConnectionToPod) {
		t.Errorf("the client of a closed port got %v", err)
	}
}

func TestDisappearingClientEndsPortForward(t *testing.T) {
	for way := range tunnels() {
		t.Run(way, func(t *testing.T) {
			ended := make(chan error, 1)
			n := serve(t, server.Auth{}, server.Handlers{
				Pods: listing(pod("ns", "p", statuses()...)),
				PortForward: func(ctx context.Context, _ server.PortForwardRequest, stream io.ReadWriteCloser) error {
					_, _ = io.WriteString(stream, "begun")
					<-ctx.Done()
					ended <- context.Cause(ctx)
					return ctx.Err()
				},
			})
			address, cut := n.proxy()
			local, end, _ := forward(t, n, way, address, 80)
			c := dial(t, local)
			if _, err := io.ReadFull(c, make([]byte, len("begun"))); err != nil {
				t.Fatal(err)
			}
			cut()
			if err := await(t, ended, "end of the forward"); !errors.Is(err, server.ErrClientGone) {
				t.Errorf("ended by %v", err)
			}
			_ = c.Close()
			_ = end()
		})
	}
}

func TestStoppingEndsPortForward(t *testing.T) {
	for way := range tunnels() {
		t.Run(way, func(t *testing.T) {
			n := serve(t, server.Auth{}, server.Handlers{
				Pods: listing(pod("ns", "p", statuses()...)),
				PortForward: func(_ context.Context, _ server.PortForwardRequest, stream io.ReadWriteCloser) error {
					_, _ = io.WriteString(stream, "begun")
					_, err := io.Copy(io.Discard, stream) // ends with the stream, without a look at the context
					return err
				},
			})
			local, end, _ := forward(t, n, way, n.address, 80)
			c := dial(t, local)
			if _, err := io.ReadFull(c, make([]byte, len("begun"))); err != nil {
				t.Fatal(err)
			}
			n.stop()
			if err := await(t, n.returned, "end of Serve"); err != nil {
				t.Error(err)
			}
			_ = c.Close()
			_ = end()
		})
	}
}
