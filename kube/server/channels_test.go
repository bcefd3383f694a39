package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// A pipedWriter is a response whose connection is a pipe.
type pipedWriter struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (w pipedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// v5 is a session over an unbuffered pipe, inside a bubble of its own clock.
type v5 struct {
	client *websocket.Conn
	pipe   net.Conn           // the client's end
	stop   context.CancelFunc // the server stops
	ended  chan error         // the cause that the command's context ended for, if it did, when the session is over
}

func openV5(t *testing.T, h Handlers, run func(context.Context, Streams) error) v5 {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	near, far := net.Pipe()
	s := v5{pipe: far, stop: stop, ended: make(chan error, 1)}
	options := &remotecommand.Options{Stdin: true, Stdout: true}
	go func() {
		defer close(s.ended)
		r, err := http.ReadRequest(bufio.NewReaderSize(near, 4096))
		if err != nil {
			t.Error(err)
			return
		}
		var cause error
		upgraded(pipedWriter{httptest.NewRecorder(), near}, r.WithContext(ctx), func(u *upgradable, r *http.Request) {
			h.serveV5(u, r, executor{options, func(ctx context.Context, s Streams) error {
				err := run(ctx, s)
				cause = context.Cause(ctx)
				return err
			}}, execStatus)
		})
		s.ended <- cause
	}()
	dialer := websocket.Dialer{
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return far, nil }, Subprotocols: []string{protocolV5},
	}
	client, response, err := dialer.DialContext(t.Context(), "ws://node/exec", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	s.client = client
	return s
}

// read reads messages until the connection ends, and returns the output and the status.
func (s v5) read() (stdout []byte, status string, err error) {
	for {
		_, m, err := s.client.ReadMessage()
		switch {
		case err != nil:
			return stdout, status, err
		case m[0] == remotecommand.StreamStdOut:
			stdout = append(stdout, m[1:]...)
		case m[0] == remotecommand.StreamErr:
			status += string(m[1:])
		}
	}
}

func wait(ctx context.Context, _ Streams) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestV5GoneWhileInputIsUnread: nothing is read from the connection, so only a ping can find out.
func TestV5GoneWhileInputIsUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openV5(t, Handlers{}, wait)
		go func() { _, _, _ = s.read() }()
		go func() { _ = s.client.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<20)) }()
		synctest.Wait()
		begun := time.Now()
		_ = s.pipe.Close()
		if err := <-s.ended; !errors.Is(err, ErrClientGone) || time.Since(begun) > pingEvery {
			t.Errorf("ended by %v after %s", err, time.Since(begun))
		}
	})
}

func TestV5ClientCloses(t *testing.T) {
	for name, message := range map[string][]byte{
		"the connection": websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""),
		"channel 9":      {remotecommand.StreamClose, 9},
		"no channel":     {remotecommand.StreamClose},
		"two channels":   {remotecommand.StreamClose, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openV5(t, Handlers{}, wait)
				go func() { _, _, _ = s.read() }()
				synctest.Wait() // the command runs
				kind := websocket.BinaryMessage
				if name == "the connection" {
					kind = websocket.CloseMessage
				}
				if err := s.client.WriteMessage(kind, message); err != nil {
					t.Fatal(err)
				}
				if err := <-s.ended; !errors.Is(err, ErrClientGone) {
					t.Errorf("ended by %v", err)
				}
			})
		})
	}
}

// TestV5Idle: pings are no traffic.
func TestV5Idle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openV5(t, Handlers{StreamIdleTimeout: time.Minute}, wait)
		go func() { _, _, _ = s.read() }()
		begun := time.Now()
		time.AfterFunc(30*time.Second, func() { _ = s.client.WriteMessage(websocket.BinaryMessage, []byte{0, 'x'}) })
		err := <-s.ended
		if took := time.Since(begun); !errors.Is(err, ErrClientGone) || took != 90*time.Second {
			t.Errorf("ended by %v after %s", err, took)
		}
	})
}

// TestV5SlowReader: a client that pings and does not read for a long time misses nothing.
func TestV5SlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := bytes.Repeat([]byte("0123456789"), 100_000)
		s := openV5(t, Handlers{}, func(_ context.Context, s Streams) error {
			_, err := s.Stdout.Write(want)
			return err
		})
		ticks := time.NewTicker(3 * time.Second)
		for range 100 {
			<-ticks.C
			if err := s.client.WriteControl(websocket.PingMessage, []byte("?"), time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		ticks.Stop()
		pongs := 0
		s.client.SetPongHandler(func(string) error { pongs++; return nil })
		stdout, status, err := s.read()
		if !bytes.Equal(stdout, want) || status != `{"metadata":{},"status":"Success"}` || !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("%d bytes of %d, %s, %v", len(stdout), len(want), status, err)
		}
		if pongs == 0 {
			t.Error("no ping was answered")
		}
		if err := <-s.ended; err != nil {
			t.Errorf("ended by %v", err)
		}
	})
}

// TestV5ClientThatStays has its status, and is not waited for much longer.
func TestV5ClientThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openV5(t, Handlers{}, func(context.Context, Streams) error { return errors.New("no shim") })
		s.client.SetCloseHandler(func(int, string) error { return nil }) // does not answer
		begun := time.Now()
		_, status, err := s.read()
		var got struct{ Message string }
		if !websocket.IsCloseError(err, websocket.CloseNormalClosure) || json.Unmarshal([]byte(status), &got) != nil ||
			got.Message != "Internal error occurred: error executing command in container: no shim" {
			t.Errorf("%q, %v", status, err)
		}
		cause := <-s.ended
		if took := time.Since(begun); cause != nil || took != lingering {
			t.Errorf("it took %s, ended by %v", took, cause)
		}
	})
}

// TestV5StoppingServer does not wait for a client that does not read.
func TestV5StoppingServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openV5(t, Handlers{}, func(ctx context.Context, s Streams) error {
			_, err := s.Stdout.Write(make([]byte, 1<<20))
			return errors.Join(err, ctx.Err())
		})
		if _, _, err := s.client.ReadMessage(); err != nil { // the greeting
			t.Fatal(err)
		}
		begun := time.Now()
		s.stop()
		if err := <-s.ended; !errors.Is(err, context.Canceled) || time.Since(begun) != lingering {
			t.Errorf("ended by %v after %s", err, time.Since(begun))
		}
	})
}

// TestV5Sizes: a command that asks for no sizes holds nothing up, and the newest are kept.
func TestV5Sizes(t *testing.T) {
	c := &channels{resize: make(chan TerminalSize, pendingSizes)}
	for i := range 3 * pendingSizes {
		message, err := json.Marshal(TerminalSize{Width: uint16(i), Height: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.take(bytes.NewReader(append([]byte{remotecommand.StreamResize}, message...))); err != nil {
			t.Fatal(err)
		}
	}
	for _, broken := range []string{"", "{", `"x"`, `{"Width":-1}`, `{"Width":"` + string(make([]byte, maxResize)) + `"}`} {
		if err := c.take(bytes.NewReader(append([]byte{remotecommand.StreamResize}, broken...))); err != nil {
			t.Errorf("%q: %v", broken, err)
		}
	}
	close(c.resize)
	var got, want []uint16
	for s := range c.resize {
		got = append(got, s.Width)
	}
	for i := range pendingSizes {
		want = append(want, uint16(2*pendingSizes+i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzV5Message: no message blocks or panics, what is for stdin gets there whole, and only a wrong close is an error.
func FuzzV5Message(f *testing.F) {
	for _, m := range []string{"", "\x00text", "\x01out", "\x04{\"Width\":80,\"Height\":24}", "\xff\x00", "\xff", "\xff\x09", "\xff\x00\x00", "\x09"} {
		f.Add([]byte(m))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		in, w := io.Pipe()
		c := &channels{stdin: w, resize: make(chan TerminalSize, pendingSizes)}
		read := make(chan []byte)
		go func() {
			got, _ := io.ReadAll(in)
			read <- got
		}()
		err := c.take(bytes.NewReader(message))
		c.endInput()
		var want []byte
		if len(message) > 1 && message[0] == remotecommand.StreamStdIn {
			want = message[1:]
		}
		if got := <-read; !bytes.Equal(got, want) {
			t.Errorf("stdin got %q of %q", got, message)
		}
		wrong := len(message) > 0 && message[0] == remotecommand.StreamClose && (len(message) != 2 || message[1] > remotecommand.StreamResize)
		if (err != nil) != wrong {
			t.Errorf("%q: %v", message, err)
		}
	})
}
