package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// client is the other side of a stream; closing the stream closes only what is sent to it.
type client struct {
	io.Reader
	io.WriteCloser
}

func newClient() (near, far client) {
	up, down := pipe(), pipe()
	return client{down.Reader, up.WriteCloser}, client{up.Reader, down.WriteCloser}
}

func pipe() client {
	r, w := io.Pipe()
	return client{r, w}
}

// serve answers one connection with what f says.
func serve(t *testing.T, f func(net.Conn)) (port int32) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.88.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			f(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return int32(l.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
}

// A client that has said everything still hears the answer.
func TestForward(t *testing.T) {
	port := serve(t, func(c net.Conn) {
		asked, err := io.ReadAll(c)
		fmt.Fprintf(c, "%s, %v", strings.ToUpper(string(asked)), err)
	})
	near, far := newClient()
	result := make(chan error)
	go func() { result <- forward(t.Context(), "127.88.0.9", port, far) }()
	if _, err := io.WriteString(near, "hello"); err != nil {
		t.Fatal(err)
	}
	_ = near.Close()
	answer, err := io.ReadAll(near)
	if string(answer) != "HELLO, <nil>" || err != nil {
		t.Errorf("answer %q, %v", answer, err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// A client that vanishes ends the connection to the guest.
func TestForwardEndsWithItsClient(t *testing.T) {
	ended := make(chan struct{})
	port := serve(t, func(c net.Conn) {
		defer close(ended)
		_, _ = io.Copy(io.Discard, c)
	})
	ctx, cancel := context.WithCancel(t.Context())
	near, far := newClient()
	result := make(chan error)
	go func() { result <- forward(ctx, "127.88.0.9", port, far) }()
	if _, err := io.WriteString(near, "x"); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
	_ = near.Close()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestForwardSaysWhyNot(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.88.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	port := int32(l.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
	_ = l.Close()
	for _, c := range []struct{ ip, want string }{
		{"127.88.0.9", fmt.Sprintf("failed to connect to 127.88.0.9:%d: dial tcp 127.88.0.9:%d: connect: connection refused", port, port)},
	} {
		_, far := newClient()
		if err := forward(t.Context(), c.ip, port, far); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("to %q: %v, want %q", c.ip, err, c.want)
		}
	}
}

// The address of a Pod that has ended may be another one's already.
func TestAddressOf(t *testing.T) {
	with := func(phase corev1.PodPhase, ip string) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{Phase: phase, PodIP: ip}}
	}
	for _, tc := range []struct {
		pod      *corev1.Pod
		ip, want string
	}{
		{with(corev1.PodRunning, "10.0.0.2"), "10.0.0.2", ""},
		{with(corev1.PodPending, ""), "", "the Pod has no address yet"},
		{with(corev1.PodSucceeded, "10.0.0.2"), "", "the Pod has ended"},
		{with(corev1.PodFailed, "10.0.0.2"), "", "the Pod has ended"},
		{nil, "", "the Pod has ended"},
	} {
		ip, err := addressOf(tc.pod)
		if ip != tc.ip || err == nil && tc.want != "" || err != nil && err.Error() != tc.want {
			t.Errorf("%+v: %q, %v", tc.pod, ip, err)
		}
	}
}
