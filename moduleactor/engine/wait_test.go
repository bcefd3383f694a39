package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
)

// compiled is a cache that tests share: with the race detector compilation takes seconds.
var compiled string

func TestMain(m *testing.M) {
	var err error
	if compiled, err = os.MkdirTemp("", "wazlet-engine-test-*"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(compiled)
		os.Exit(code)
	}))
}

// said is a guest's stderr: it tells of each line, and drops what nobody takes.
type said chan string

func (s said) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		select {
		case s <- strings.TrimSpace(line):
		default:
		}
	}
	return len(p), nil
}

// running is a guest in a goroutine of its own.
type running struct {
	said   said
	stdout bytes.Buffer
	end    chan engine.Result
	cancel context.CancelCauseFunc
}

func begin(t *testing.T, g engine.Guest, args ...string) *running {
	t.Helper()
	return beginOf(t, load(t, enginetest.C(t, "wait.c")), g, args...)
}

func beginOf(t *testing.T, p *engine.Program, g engine.Guest, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &running{said: make(said, 100), end: make(chan engine.Result, 1), cancel: cancel}
	g.Args = append([]string{"wait"}, args...)
	if g.Stdout == nil {
		g.Stdout = &r.stdout
	}
	g.Stderr = r.said
	go func() { r.end <- p.Run(ctx, g) }()
	t.Cleanup(func() { cancel(nil) })
	return r
}

// wait returns the guest's end, which must come.
func (r *running) wait(t *testing.T) engine.Result {
	t.Helper()
	select {
	case res := <-r.end:
		return res
	case <-time.After(time.Minute):
		t.Fatal("the guest does not end")
		return engine.Result{}
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// blocking makes a file as a child process inherits it.
func blocking(f *os.File) *os.File {
	f.Fd()
	return f
}

func listen(t *testing.T) (*net.TCPListener, *os.File) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.Close(), f.Close() })
	return l, f
}

// TestStopEndsWhateverWaits stops guests that wait, and some that never do.
func TestStopEndsWhateverWaits(t *testing.T) {
	stop := engine.Result{Code: 137, Reason: "Killed", Message: "by the test"}
	for name, tc := range map[string]struct {
		how   string
		guest func(t *testing.T) engine.Guest
	}{
		"sleep": {"sleep", func(*testing.T) engine.Guest { return engine.Guest{} }},
		"read from a pipe": {"read", func(t *testing.T) engine.Guest {
			r, _ := pipe(t)
			return engine.Guest{Stdin: r}
		}},
		"read from an inherited pipe": {"read", func(t *testing.T) engine.Guest {
			r, _ := pipe(t)
			return engine.Guest{Stdin: blocking(r)}
		}},
		"read from a reader": {"read", func(t *testing.T) engine.Guest {
			r, w := io.Pipe()
			t.Cleanup(func() { _ = w.Close() })
			return engine.Guest{Stdin: r}
		}},
		"poll a pipe": {"poll", func(t *testing.T) engine.Guest {
			r, _ := pipe(t)
			return engine.Guest{Stdin: r}
		}},
		"write to a full pipe": {"write", func(t *testing.T) engine.Guest {
			_, w := pipe(t)
			return engine.Guest{Stdout: blocking(w)}
		}},
		"accept": {"accept", func(t *testing.T) engine.Guest {
			_, f := listen(t)
			return engine.Guest{Preopens: []wasi.Preopen{{Name: "http", File: f}}}
		}},
		"wait for a signal": {"signal", func(*testing.T) engine.Guest { return engine.Guest{Signals: make(chan byte)} }},
		"call without end":  {"call", func(*testing.T) engine.Guest { return engine.Guest{} }},
		"write without end": {"write", func(*testing.T) engine.Guest { return engine.Guest{Stdout: io.Discard} }},
	} {
		t.Run(name, func(t *testing.T) {
			r := begin(t, tc.guest(t), tc.how)
			<-r.said
			r.cancel(&engine.Stop{Result: stop})
			if diff := cmp.Diff(stop, r.wait(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStopWithoutAResult(t *testing.T) {
	r := begin(t, engine.Guest{}, "sleep")
	<-r.said
	r.cancel(errors.New("enough"))
	if diff := cmp.Diff(engine.Result{Code: 143, Reason: engine.Stopped, Message: "enough"}, r.wait(t)); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := load(t, enginetest.C(t, "wait.c")).Run(ctx, engine.Guest{Entered: func() error { t.Error("entered"); return nil }})
	if diff := cmp.Diff(engine.Result{Code: 143, Reason: engine.Stopped, Message: "context canceled"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadAndPoll(t *testing.T) {
	for name, stdin := range map[string]func(t *testing.T) (io.Reader, io.WriteCloser){
		"pipe":           func(t *testing.T) (io.Reader, io.WriteCloser) { r, w := pipe(t); return r, w },
		"inherited pipe": func(t *testing.T) (io.Reader, io.WriteCloser) { r, w := pipe(t); return blocking(r), w },
		"reader":         func(*testing.T) (io.Reader, io.WriteCloser) { return io.Pipe() },
		"socket": func(t *testing.T) (io.Reader, io.WriteCloser) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			a, b := os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
			t.Cleanup(func() { _, _ = a.Close(), b.Close() })
			return a, b
		},
	} {
		t.Run(name+", read", func(t *testing.T) {
			in, out := stdin(t)
			r := begin(t, engine.Guest{Stdin: in}, "read")
			<-r.said
			for _, s := range []string{"one\n", strings.Repeat("x", 100_000) + "\n"} {
				if _, err := io.WriteString(out, s); err != nil {
					t.Fatal(err)
				}
			}
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			res := r.wait(t)
			want := "one\n" + strings.Repeat("x", 100_000) + "\nend 0\n"
			if res.Reason != engine.Completed || r.stdout.String() != want {
				t.Errorf("%+v, %d bytes", res, r.stdout.Len())
			}
		})
		t.Run(name+", poll", func(t *testing.T) {
			in, out := stdin(t)
			r := begin(t, engine.Guest{Stdin: in}, "poll")
			<-r.said // waiting
			<-r.said // polling
			if _, err := io.WriteString(out, "hello"); err != nil {
				t.Fatal(err)
			}
			if res := r.wait(t); res.Reason != engine.Completed {
				t.Errorf("%+v", res)
			}
			if diff := cmp.Diff("timeout 0\nready 1\ngot hello\n", r.stdout.String()); diff != "" {
				t.Error(diff)
			}
			_ = out.Close()
		})
	}
}

// What is handed to a guest is nonblocking for one that asks; any other, as in TestSockets, may just wait.
func TestHandedSocketsAreNonblockingForWhoAsks(t *testing.T) {
	l, f := listen(t)
	r := begin(t, engine.Guest{Preopens: []wasi.Preopen{{Name: "http", File: f}}}, "flags")
	for line := range r.said {
		if line == "blocking" {
			break
		}
	}
	conn, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if res := r.wait(t); res.Reason != engine.Completed {
		t.Errorf("%+v", res)
	}
	if diff := cmp.Diff("nonblocking 1\naccept 1\naccepted 1\n", r.stdout.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSockets(t *testing.T) {
	l, f := listen(t)
	r := begin(t, engine.Guest{Root: open(t, t.TempDir(), false), Preopens: []wasi.Preopen{{Name: "http", File: f}}}, "accept")
	<-r.said
	conn, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range []string{"ab", "cde", "echo"} {
		if _, err := io.WriteString(conn, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != "echo" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if res := r.wait(t); res.Reason != engine.Completed {
		t.Errorf("%+v", res)
	}
	want := "1 http\naccepted 1\npeek ab\nall abcde\nready 1\nshutdown 0 0\nnonblocking 1\n"
	if diff := cmp.Diff(want, r.stdout.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPreopenedConnection(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	r := begin(t, engine.Guest{Preopens: []wasi.Preopen{{Name: "peer", File: theirs}}}, "datagram")
	<-r.said
	if _, err := ours.WriteString("ping"); err != nil {
		t.Fatal(err)
	}
	if res := r.wait(t); res.Reason != engine.Completed || r.stdout.String() != "datagram ping\n" {
		t.Errorf("%+v %s", res, r.stdout.String())
	}
	buf := make([]byte, 10)
	if n, err := ours.Read(buf); string(buf[:n]) != "back" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

func TestPreopenIsRefused(t *testing.T) {
	r, _ := pipe(t)
	_, f := listen(t)
	p := load(t, enginetest.C(t, "wait.c"))
	for name, tc := range map[string]struct {
		preopen wasi.Preopen
		want    string
	}{
		"a pipe":  {wasi.Preopen{Name: "x", File: r}, "preopen x: |0 is no socket"},
		"a colon": {wasi.Preopen{Name: "a:b", File: f}, `preopen "a:b": a name has no colon`},
	} {
		t.Run(name, func(t *testing.T) {
			got := p.Run(t.Context(), engine.Guest{Preopens: []wasi.Preopen{tc.preopen}})
			if diff := cmp.Diff(engine.Result{Code: 128, Reason: engine.StartError, Message: tc.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSignals(t *testing.T) {
	signals := make(chan byte, 1)
	r := begin(t, engine.Guest{Signals: signals}, "signal")
	<-r.said
	signals <- 15
	if res := r.wait(t); res.Reason != engine.Completed || r.stdout.String() != "ready 1\ngot 1 15\n" {
		t.Errorf("%+v %s", res, r.stdout.String())
	}
}

// TestManyWaitWithoutThreads runs guests of one program that wait in every way at once.
func TestManyWaitWithoutThreads(t *testing.T) {
	const each = 40
	var all []*running
	p := load(t, enginetest.C(t, "wait.c"))
	for range each {
		in, _ := pipe(t)
		_, f := listen(t)
		all = append(all, beginOf(t, p, engine.Guest{}, "sleep"), beginOf(t, p, engine.Guest{Stdin: in}, "read"),
			beginOf(t, p, engine.Guest{Preopens: []wasi.Preopen{{File: f}}}, "accept"))
	}
	for _, r := range all {
		<-r.said
	}
	if n := threads(t); n > 30 {
		t.Errorf("%d guests hold %d threads", len(all), n)
	}
	var ended sync.WaitGroup
	for _, r := range all {
		r.cancel(nil)
		ended.Go(func() { r.wait(t) })
	}
	ended.Wait()
}

func threads(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	return len(entries)
}
