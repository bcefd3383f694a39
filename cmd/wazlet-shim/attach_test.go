package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/ctl"
	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// session is a client that is attached.
type session struct {
	*container

	keyboard       *io.PipeWriter
	stdout, stderr *screen
	leave          context.CancelFunc
	ended          chan error
}

// attach attaches a client with input to c.
func (c *container) attach(r *bundle.Runtime) *session {
	ctx, leave := context.WithCancel(c.deadline())
	in, keyboard := io.Pipe()
	s := &session{
		container: c, keyboard: keyboard, leave: leave, ended: make(chan error, 1),
		stdout: &screen{grown: make(chan struct{}, 1)}, stderr: &screen{grown: make(chan struct{}, 1)},
	}
	go func() {
		s.ended <- r.Attach(ctx, c.id, bundle.AttachOptions{Stdin: in, Stdout: s.stdout, Stderr: s.stderr})
		_ = in.Close()
	}()
	c.t.Cleanup(leave)
	return s
}

func (s *session) typing(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keyboard, text); err != nil {
		s.t.Fatal(err)
	}
}

// lines is a container whose guest answers lines.
func lines(t *testing.T, shim string, change func(*bundle.Spec)) *container {
	t.Helper()
	return newContainer(t, enginetest.C(t, "multi.c"), nil, func(s *bundle.Spec) {
		s.Args, s.Stdin, s.Shim = []string{"guest", "lines"}, true, shim
		change(s)
	})
}

func (c *container) log() string {
	b, err := os.ReadFile(c.spec.Log.Path)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

func TestAttach(t *testing.T) { eitherWay(t, testAttach) }

func testAttach(t *testing.T, shim string) {
	c := lines(t, shim, func(*bundle.Spec) {})
	first, second := c.attach(c.Runtime), c.attach(c.Runtime)
	first.typing("one\n")
	first.stdout.await("got one\n")
	first.stderr.await("heard one\n")
	second.typing("two\n")
	for _, s := range []*session{first, second} {
		s.stdout.await("got two\n")
		s.stderr.await("heard two\n")
	}
	first.leave()
	if err := <-first.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("left: %v", err)
	}
	_ = second.keyboard.Close() // ends the session, not the guest's input
	if err := <-second.ended; err != nil {
		t.Errorf("end of input: %v", err)
	}
	third := c.attach(c.Runtime)
	third.typing("three\n")
	third.stdout.await("got three\n")
	c.kill()
	if err := <-third.ended; err != nil {
		t.Errorf("end of the guest: %v", err)
	}
	if strings.Contains(first.stdout.String(), "three") {
		t.Error("who left still hears")
	}
	if err := c.Attach(t.Context(), c.id, bundle.AttachOptions{}); !errors.Is(err, bundle.ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
	for _, want := range []string{"got one\n", "heard two\n", "got three\n"} {
		if !strings.Contains(c.log(), want) {
			t.Errorf("the log has no %q:\n%s", want, c.log())
		}
	}
}

func TestAttachStdinOnce(t *testing.T) { eitherWay(t, testAttachStdinOnce) }

func testAttachStdinOnce(t *testing.T, shim string) {
	for name, end := range map[string]func(*session){
		"end of input": func(s *session) { _ = s.keyboard.Close() },
		"client gone":  func(s *session) { s.leave() },
	} {
		t.Run(name, func(t *testing.T) {
			c := lines(t, shim, func(s *bundle.Spec) { s.StdinOnce = true })
			s := c.attach(c.Runtime)
			s.typing("only\n")
			s.stdout.await("got only\n")
			end(s)
			err := <-s.ended
			if x, werr := c.Wait(c.deadline()); werr != nil || x.Code != 0 {
				t.Errorf("the guest ended with %+v, %v", x, werr)
			}
			if name == "end of input" && (err != nil || !strings.Contains(s.stdout.String(), "end of input\n")) {
				t.Errorf("%v, stdout %q", err, s.stdout.String())
			}
		})
	}
}

// TestAttachAdopted attaches by way of another daemon than that which started the shim.
func TestAttachAdopted(t *testing.T) { eitherWay(t, testAttachAdopted) }

func testAttachAdopted(t *testing.T, shim string) {
	c := lines(t, shim, func(*bundle.Spec) {})
	_ = c.Close()
	next, err := bundle.New(bundle.Config{Root: strings.TrimSuffix(c.spec.CacheDir, "/cache"), Shim: binary, CacheDir: c.spec.CacheDir})
	if err != nil {
		t.Fatal(err)
	}
	s := c.attach(next)
	s.typing("again\n")
	s.stdout.await("got again\n")
	_ = next.Close()
	if err := <-s.ended; err != nil {
		t.Errorf("end of the daemon: %v", err)
	}
	for pid := range processes(t, c.spec.Rootfs) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestAttachTerminal(t *testing.T) { eitherWay(t, testAttachTerminal) }

func testAttachTerminal(t *testing.T, shim string) {
	c := lines(t, shim, func(s *bundle.Spec) { s.TTY = true })
	eventually(t, "ready", func() bool { return strings.Contains(c.log(), "ready") })
	s := c.attach(c.Runtime)
	s.typing("hellp\x7fo\n")
	s.stdout.await("heard hello\r\n")
	if got := s.stderr.String(); got != "" {
		t.Errorf("stderr of a terminal: %q", got)
	}
	s.typing("\x04")
	if x, err := c.Wait(c.deadline()); err != nil || x.Code != 0 {
		t.Errorf("^D: %+v, %v", x, err)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	want := "hellp\b \bo\r\ngot hello\r\nheard hello\r\nend of input\r\n"
	if diff := cmp.Diff(want, strings.TrimPrefix(s.stdout.String(), "ready\r\n")); diff != "" { // it may be in time for that
		t.Error(diff)
	}
	if !strings.Contains(c.log(), " stdout F end of input\r\n") {
		t.Errorf("log:\n%s", c.log())
	}
}

func TestTerminalInterrupt(t *testing.T) { eitherWay(t, testTerminalInterrupt) }

func testTerminalInterrupt(t *testing.T, shim string) {
	c := newContainer(t, enginetest.C(t, "multi.c"), nil, func(s *bundle.Spec) {
		s.Args, s.Stdin, s.TTY, s.Shim = []string{"guest", "idle"}, true, true, shim
	})
	s := c.attach(c.Runtime)
	s.typing("\x03")
	want := bundle.Exit{Code: 130, Reason: bundle.Error, Message: "interrupted at its terminal"}
	x, err := c.Wait(c.deadline())
	if diff := sameExit(want, x); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// TestAttachAgain is more clients than may be attached at a time.
func TestAttachAgain(t *testing.T) { eitherWay(t, testAttachAgain) }

func testAttachAgain(t *testing.T, shim string) {
	c := lines(t, shim, func(*bundle.Spec) {})
	for n := range 40 {
		s := c.attach(c.Runtime)
		text := strconv.Itoa(n) + "\n"
		s.typing(text)
		s.stdout.await("got " + text)
		s.leave()
		if err := <-s.ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("%d: %v", n, err)
		}
	}
}

func TestTerminalSize(t *testing.T) { eitherWay(t, testTerminalSize) }

func testTerminalSize(t *testing.T, shim string) {
	c := lines(t, shim, func(s *bundle.Spec) { s.TTY = true })
	sizes := make(chan pty.Size) // unbuffered: the second is taken once the first was sent
	ended := make(chan error, 1)
	ctx, leave := context.WithCancel(c.deadline())
	go func() { ended <- c.Attach(ctx, c.id, bundle.AttachOptions{Resize: sizes}) }()
	for range 2 {
		sizes <- pty.Size{Columns: 99, Rows: 11}
	}
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestSlowClient never reads. The guest prints on; the client is let go, and told why.
func TestSlowClient(t *testing.T) {
	c := newContainer(t, enginetest.C(t, "multi.c"), nil, func(s *bundle.Spec) {
		s.Args, s.Log.MaxFiles = []string{"guest", "flood"}, 10 // megabytes, about half of them output
	})
	conn, err := ctl.Dial(c.deadline(), strings.TrimSuffix(c.spec.Rootfs, "/"+bundle.RootfsDir),
		ctl.AttachRequest{Request: ctl.Request{Version: ctl.Version, Verb: ctl.Attach}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The log is rotated several times meanwhile.
	eventually(t, "a log that was rotated", func() bool { return len(list(t, strings.TrimSuffix(c.spec.Log.Path, "/0.log"))) >= c.spec.Log.MaxFiles })
	read := 0
	for {
		kind, payload, err := conn.ReadFrame()
		if err != nil {
			t.Fatalf("after %d bytes: %v", read, err)
		}
		if kind == ctl.End {
			want := "more than 1048576 bytes of output waited for this client, which reads too slowly; they are in the log"
			if diff := cmp.Diff(want, string(payload)); diff != "" {
				t.Error(diff)
			}
			return
		}
		if read += len(payload); read > 8<<20 {
			t.Fatal("the shim keeps more for a slow client than it should")
		}
	}
}

// TestDeafGuest takes no input. A client that goes away must not keep its place.
func TestDeafGuest(t *testing.T) {
	c := newContainer(t, enginetest.C(t, "multi.c"), nil, func(s *bundle.Spec) { s.Stdin = true })
	conn, err := ctl.Dial(c.deadline(), strings.TrimSuffix(c.spec.Rootfs, "/"+bundle.RootfsDir),
		ctl.AttachRequest{Request: ctl.Request{Version: ctl.Version, Verb: ctl.Attach}, Stdin: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Until the guest's pipe and the sockets are full, or nearly so on a slow machine.
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = conn.WriteFrame(ctl.Stdin, make([]byte, ctl.MaxPayload))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	_ = conn.Close()
	eventually(t, "end of the connection", func() bool {
		return len(sockets(t, c.PID())) == 1 // the listener
	})
}

// sockets lists the sockets that a process has open.
func sockets(t *testing.T, pid int) []string {
	t.Helper()
	dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, n := range names {
		if to, err := os.Readlink(dir.Name() + "/" + n); err == nil && strings.HasPrefix(to, "socket:") {
			found = append(found, to)
		}
	}
	return found
}
