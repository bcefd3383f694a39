package wire

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a connection, from a directory whose path is longer than a socket's name may be.
func pair(t *testing.T) (daemon, shim *Conn) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only a node has shared shims")
	}
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd())) // as a child has it
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewListener(uintptr(fd))
	if err != nil {
		t.Fatal(err)
	}
	if daemon, err = Dial(dir); err != nil {
		t.Fatal(err)
	}
	if shim, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = daemon.Close(), shim.Close() })
	return daemon, shim
}

func TestMessagesAndDescriptors(t *testing.T) {
	daemon, shim := pair(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	sent := []Message{
		{Seq: 1, Op: Run, Bundle: "/a"},
		{Seq: 2, Op: Signal, Bundle: "/a", Kill: true},
		{Op: Started, Bundle: "/a", StartedAt: at},
		{Op: Refused, Bundle: "/a", Text: "no"},
		{Seq: 3, Op: Stats, Bundle: "/a", Usage: &Usage{1, 2, 3}},
		{Seq: 4, Op: Ping, Instances: 7},
	}
	for i, m := range sent {
		var with []*os.File
		if i == 0 {
			with = []*os.File{file, file}
		}
		if err := daemon.Send(m, with...); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range sent {
		got, with, err := shim.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if len(with) != map[bool]int{true: 2}[i == 0] {
			t.Errorf("%d came with %v", i, with)
		}
		if len(with) == 0 {
			continue
		}
		if _, err := with[1].WriteString("through the other"); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(file.Name()); string(text) != "through the other" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		CloseAll(with)
	}
	if err := daemon.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := shim.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if err := shim.Send(sent[0]); !errors.Is(err, unix.EPIPE) {
		t.Errorf("after the end: %v", err)
	}
}

// A sender waits while the other side does not read, and stops waiting when it is closed.
func TestFullSocket(t *testing.T) {
	daemon, shim := pair(t)
	done := make(chan error)
	go func() {
		for {
			if err := shim.Send(Message{Op: Ended, Bundle: "/" + strings.Repeat("x", 4000)}); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 1000 {
		if _, _, err := daemon.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	if err := shim.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("send: %v", err)
	}
}

// What another process sends may be anything.
func TestReceiveRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`: "unexpected EOF", `{"seq":1,"op":"dance","bundle":"/a"}`: `op: want run, watch, attach, signal, stats, ping, started, refused or ended (got "dance")`,
		`{"seq":1,"op":"run"}`: "bundle: want one", `{"op":"run","bundle":"/a"}`: "seq: want one for requests",
		`{"seq":1,"op":"ended","bundle":"/a"}`: "seq: want one for requests", `{"seq":1,"op":"ping","x":1}`: `unknown field "x"`,
		`{"seq":1,"op":"ping"}{}`: "more than one JSON value", strings.Repeat(" ", maxPacket+1): "want at most 65536 bytes",
	} {
		daemon, shim := pair(t)
		if err := daemon.send([]byte(text), nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := shim.Receive(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

func TestSendRefuses(t *testing.T) {
	daemon, shim := pair(t)
	if err := daemon.Send(Message{Seq: 1, Op: Run, Bundle: strings.Repeat("x", maxText+1)}); err == nil {
		t.Error("a long path was sent")
	}
	if err := daemon.Send(Message{Seq: 1, Op: Run, Bundle: "/a"}, make([]*os.File, maxFiles+1)...); err == nil || !strings.Contains(err.Error(), "want at most 250 files (got 251)") {
		t.Errorf("too many files: %v", err)
	}
	if err := daemon.Send(Message{Seq: 1, Op: Run, Bundle: "/a", Error: strings.Repeat("\x01", 4*maxText)}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := shim.Receive(); err != nil || len(m.Error) != maxText {
		t.Errorf("error of %d bytes, %v", len(m.Error), err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"seq":1,"op":"run","bundle":"/a"}`))
	f.Add([]byte(`{"op":"started","bundle":"/a","startedAt":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data)
		if err != nil || len(m.Bundle) > maxText || len(m.Error) > maxText {
			return
		}
		b, err := encode(m)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		again, err := decode(b)
		if diff := cmp.Diff(m, again); diff != "" || err != nil {
			t.Errorf("%v (-first +again):\n%s", err, diff)
		}
	})
}
