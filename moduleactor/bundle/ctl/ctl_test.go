package ctl

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type greeting struct {
	Request

	Name string `json:"name"`
}

type greeted struct {
	Version int    `json:"version"`
	Text    string `json:"text"`
}

// serve serves two verbs in a directory whose name is longer than a socket's address may be.
func serve(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(dir, map[string]Verb{
		"greet": func(_ []byte, c *Conn) error { return c.Accept(greeted{Version, "hello"}) },
		"echo": func(_ []byte, c *Conn) error {
			if err := c.Accept(nil); err != nil {
				return err
			}
			for {
				kind, payload, err := c.ReadFrame()
				if err != nil {
					return err
				}
				if err := c.WriteFrame(kind, payload); err != nil {
					return err
				}
			}
		},
		"refuse": func([]byte, *Conn) error { return errors.New("not today") },
		"panic":  func([]byte, *Conn) error { panic("oops") },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve()
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return dir
}

func TestVerbs(t *testing.T) {
	dir := serve(t)
	if info, err := os.Lstat(filepath.Join(dir, Socket)); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("socket %v, %v", info.Mode(), err)
	}
	for _, tt := range []struct {
		request Request
		err     string
	}{
		{Request{Version, "greet"}, ""},
		{Request{Version, "refuse"}, "the shim refused: not today"},
		{Request{Version, "stats"}, `the shim refused: verb: "stats" is not known to this shim`},
		{Request{2, "greet"}, "the shim refused: version: want 1 (got 2)"},
		{Request{Version, "panic"}, "read the shim's answer: unexpected EOF"},
		{Request{Version, strings.Repeat("x", 1<<17)}, "the shim refused: a line of more than 65536 bytes"},
	} {
		var reply greeted
		c, err := Dial(t.Context(), dir, greeting{tt.request, "me"}, &reply)
		if tt.err != "" {
			// Of a request that is not read to its end the answer may be lost.
			if err == nil || err.Error() != tt.err && len(tt.request.Verb) < maxLine {
				t.Errorf("%.20s: %v, want %s", tt.request.Verb, err, tt.err)
			}
			continue
		}
		if err != nil || reply.Text != "hello" {
			t.Fatalf("%+v, %v", reply, err)
		}
		_ = c.Close()
	}
}

func TestFrames(t *testing.T) {
	dir := serve(t)
	c, err := Dial(t.Context(), dir, Request{Version, "echo"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, size := range []int{0, 1, MaxPayload} {
		want := bytes.Repeat([]byte{'x'}, size)
		if err := c.WriteFrame(Stdout, want); err != nil {
			t.Fatal(err)
		}
		kind, got, err := c.ReadFrame()
		if kind != Stdout || !bytes.Equal(got, want) || err != nil {
			t.Errorf("%d bytes: %d %d %v", size, kind, len(got), err)
		}
	}
	if c.Gone() {
		t.Error("gone")
	}
	// A frame that is too long ends the connection.
	if _, err := c.Write([]byte{byte(Stdin), 0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadFrame(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if !c.Gone() {
		t.Error("not gone")
	}
}

func TestTooManyConnections(t *testing.T) {
	dir := serve(t)
	var open []*Conn
	for range maxConns {
		c, err := Dial(t.Context(), dir, Request{Version, "echo"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	_, err := Dial(t.Context(), dir, Request{Version, "echo"}, nil)
	if err == nil {
		t.Error("one more was accepted")
	}
	for _, c := range open {
		_ = c.Close()
	}
}

func TestDialRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Dial(t.Context(), dir, Request{}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
	if err := os.Symlink(filepath.Join(serve(t), Socket), filepath.Join(dir, Socket)); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), dir, Request{Version, "greet"}, nil); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a symbolic link: %v", err)
	}
}

func TestSize(t *testing.T) {
	want := pty.Size{Columns: 80, Rows: 25}
	if got, ok := DecodeSize(EncodeSize(want)); got != want || !ok {
		t.Errorf("%v, %t", got, ok)
	}
	if _, ok := DecodeSize([]byte{1, 2, 3}); ok {
		t.Error("three bytes are no size")
	}
}

func TestAppendFrame(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), MaxPayload/4)
	c := newConn(fixed{Reader: bytes.NewReader(AppendFrame(nil, Stderr, data))})
	var got []byte
	for {
		kind, payload, err := c.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || kind != Stderr {
			t.Fatal(kind, err)
		}
		got = append(got, payload...)
	}
	if diff := cmp.Diff(data, got); diff != "" {
		t.Error("the data changed")
	}
}

// fixed is a connection that sends what it has.
type fixed struct {
	net.Conn
	io.Reader
}

func (f fixed) Read(p []byte) (int, error) { return f.Reader.Read(p) }

func FuzzReadFrame(f *testing.F) {
	f.Add(AppendFrame(nil, Stdin, []byte("text")))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte("{\"version\":1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := newConn(fixed{Reader: bytes.NewReader(data)})
		total := 0
		for {
			kind, payload, err := c.ReadFrame()
			if err != nil {
				break
			}
			again := AppendFrame(nil, kind, payload)
			if !bytes.Equal(again, data[total:][:len(again)]) {
				t.Fatalf("frame %d of %d bytes reads differently", kind, len(payload))
			}
			total += len(again)
		}
		var a answer
		_, _ = newConn(fixed{Reader: bytes.NewReader(data)}).readLine(&a)
	})
}
