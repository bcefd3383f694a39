package cgi

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = time.Minute

// guest is a module made of Go.
type guest func(ctx context.Context, in Input) Result

// prints is a guest that writes out and ends.
func prints(out string) guest {
	return func(_ context.Context, in Input) Result {
		_, _ = io.WriteString(in.Stdout, out)
		return Result{}
	}
}

// instance makes sure that none is used twice.
type instance struct {
	w     *world
	guest guest
	ran   atomic.Bool
	gone  atomic.Bool
}

func (i *instance) Run(ctx context.Context, in Input) Result {
	if i.ran.Swap(true) || i.gone.Load() {
		i.w.t.Error("an instance is used twice")
	}
	return i.guest(ctx, in)
}

func (i *instance) Close() {
	if i.gone.Swap(true) {
		i.w.t.Error("an instance is closed twice")
	}
	i.w.open.Add(-1)
}

// world is a server with its client.
type world struct {
	t      *testing.T
	addr   string
	client http.Client
	stdout syncBuffer
	stderr syncBuffer
	open   atomic.Int64 // instances that are not closed
	made   atomic.Int64
	refuse atomic.Bool        // make no instances
	stop   func()             // drains
	kill   context.CancelFunc // cuts
	done   chan error
}

// serve serves a guest until the test ends.
func serve(t *testing.T, g guest, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, done: make(chan error, 1)}
	cfg := Config{
		Limits: Limits{Timeout: patience, MaxConcurrency: 4, MaxBodyBytes: 1 << 20},
		Instantiate: func(context.Context) (Instance, error) {
			if w.refuse.Load() {
				return nil, io.ErrShortBuffer
			}
			w.open.Add(1)
			w.made.Add(1)
			return &instance{w: w, guest: g}, nil
		},
		Env: []string{"A=b"}, Software: "wazlet/test", Ready: 2, Stdout: &w.stdout, Stderr: &w.stderr,
		Now: func() time.Time { return time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC) },
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	transport := &http.Transport{DisableCompression: true}
	w.client = http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	drain := make(chan struct{})
	w.stop = sync.OnceFunc(func() { close(drain) })
	var ctx context.Context
	ctx, w.kill = context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { w.done <- s.Serve(ctx, drain, l) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		w.end()
		w.kill()
	})
	return w
}

// end ends the server and looks for what it left.
func (w *world) end() {
	w.t.Helper()
	w.stop()
	select {
	case err := <-w.done:
		if err != nil {
			w.t.Errorf("serve: %v", err)
		}
		w.done <- nil
	case <-time.After(patience):
		w.t.Fatal("it does not end")
	}
	if n := w.open.Load(); n != 0 {
		w.t.Errorf("%d instances are not closed", n)
	}
}

// seen is what a client sees of a response.
type seen struct {
	Status int
	Type   string
	Body   string
}

// get is a request by the client.
func (w *world) get(path string) (seen, error) {
	w.t.Helper()
	return w.do(http.MethodGet, path, nil)
}

func (w *world) do(method, path string, body io.Reader) (seen, error) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.addr+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := w.client.Do(r)
	if err != nil {
		return seen{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return seen{res.StatusCode, res.Header.Get("Content-Type"), string(b)}, err
}

// raw sends text as it is and returns what comes back until the server closes the connection.
func (w *world) raw(text string) string {
	w.t.Helper()
	c := w.dial()
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// logged waits for a line in a log; it is written after the response.
func (w *world) logged(b *syncBuffer, text string) {
	w.t.Helper()
	b.await(w.t, func(s string) bool { return strings.Contains(s, text) }, text)
}

// syncBuffer is a log.
type syncBuffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return s.b.Write(p)
}

func (s *syncBuffer) await(t *testing.T, ok func(string) bool, what string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		text := s.b.String()
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if ok(text) {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("the log does not have %s, but\n%s", what, text)
		}
	}
}

// lines reads its log line by line.
func (s *syncBuffer) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for sc := bufio.NewScanner(bytes.NewReader(s.b.Bytes())); sc.Scan(); {
		out = append(out, sc.Text())
	}
	return out
}
