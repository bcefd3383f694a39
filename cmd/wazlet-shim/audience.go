package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/ctl"
	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
)

const (
	// maxPending bounds the output that waits for one client: neither the guest nor its log ever does.
	maxPending = 1 << 20
	// lastWords bounds the wait for clients once the guest has ended.
	lastWords = time.Second
	// lookEvery is how often somebody who waits for the guest to read looks whether the client is still there.
	lookEvery = time.Second
	// interruptKey is ^C.
	interruptKey = 3
)

// audience are the clients that are attached to a guest.
type audience struct {
	// stdin is where clients' input goes, a pipe or the terminal; nil: the guest takes none. once closes the pipe after the
	// first client that had input.
	stdin *os.File
	once  bool
	// terminal is the master of the guest's, if it has one. interrupt, if set, is what ^C does there; otherwise the kernel
	// makes it a signal.
	terminal  *os.File
	interrupt func()

	count   atomic.Int32 // of clients, so that a guest without any pays nothing
	mu      sync.Mutex
	clients map[*client]struct{}
	ended   bool
	leaving sync.WaitGroup
}

// client is one of them. All but conn and wake is the audience's, under its lock.
type client struct {
	conn    *ctl.Conn
	stdin   bool
	wake    chan struct{}
	pending []byte
	// over says that no more output will come, and why, if not because the guest ended.
	over bool
	why  string
}

// tee writes to the log and to the audience.
type tee struct {
	io.Writer
	to   *audience
	kind ctl.Kind
}

func (t tee) Write(p []byte) (int, error) {
	n, err := t.Writer.Write(p)
	t.to.show(t.kind, p[:n])
	return n, err
}

// show queues output for each client. One that reads too slowly is let go.
func (a *audience) show(kind ctl.Kind, p []byte) {
	if a.count.Load() == 0 || len(p) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.clients {
		switch {
		case c.over:
		case len(c.pending)+len(p) > maxPending:
			c.finish(fmt.Sprintf("more than %d bytes of output waited for this client, which reads too slowly; they are in the log", maxPending))
		default:
			c.pending = ctl.AppendFrame(c.pending, kind, p)
			c.signal()
		}
	}
}

func (c *client) finish(why string) {
	if !c.over {
		c.over, c.why = true, why
		c.signal()
	}
}

func (c *client) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// attach is the verb. It returns when the client or the guest is gone.
func (a *audience) attach(line []byte, conn *ctl.Conn) error {
	var request ctl.AttachRequest
	if err := json.Unmarshal(line, &request); err != nil {
		return err
	}
	c := &client{conn: conn, stdin: request.Stdin && a.stdin != nil, wake: make(chan struct{}, 1)}
	if !a.enter(c) {
		return bundle.ErrNotRunning
	}
	defer a.leave(c)
	if err := conn.Accept(nil); err != nil {
		return err
	}
	go func() {
		defer func() { _ = recover() }()
		a.listen(c)
		a.mu.Lock()
		defer a.mu.Unlock()
		c.finish("")
	}()
	return a.speak(c)
}

func (a *audience) enter(c *client) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return false
	}
	if a.clients == nil {
		a.clients = map[*client]struct{}{}
	}
	a.clients[c] = struct{}{}
	a.count.Add(1)
	a.leaving.Add(1)
	return true
}

func (a *audience) leave(c *client) {
	a.mu.Lock()
	delete(a.clients, c)
	a.mu.Unlock()
	a.count.Add(-1)
	a.leaving.Done()
	if c.stdin && a.once && a.terminal == nil {
		_ = a.stdin.Close()
	}
}

// speak sends what is queued until nothing more will come.
func (a *audience) speak(c *client) error {
	for range c.wake {
		a.mu.Lock()
		out, over, why := c.pending, c.over, c.why
		c.pending = nil
		a.mu.Unlock()
		if over {
			out = ctl.AppendFrame(out, ctl.End, []byte(why))
		}
		if _, err := c.conn.Write(out); err != nil || over {
			return err
		}
	}
	return nil
}

// listen takes what the client sends, until it is gone.
func (a *audience) listen(c *client) {
	for {
		kind, payload, err := c.conn.ReadFrame()
		if err != nil {
			return
		}
		switch {
		case kind == ctl.Stdin && c.stdin:
			if !a.input(c, payload) {
				return
			}
		case kind == ctl.StdinEnd && c.stdin:
			if !a.once || a.terminal != nil {
				return // as containerd: input that nobody will continue ends the session, not the guest's input
			}
			_ = a.stdin.Close()
		case kind == ctl.Resize && a.terminal != nil:
			if size, ok := ctl.DecodeSize(payload); ok {
				_ = pty.Resize(a.terminal, size)
			}
		}
	}
}

// input gives the guest some bytes. It waits until the guest reads them; false if the client is gone before.
func (a *audience) input(c *client, p []byte) bool {
	if a.interrupt != nil && bytes.IndexByte(p, interruptKey) >= 0 {
		defer a.interrupt() // when it is echoed
	}
	for len(p) > 0 {
		if err := a.stdin.SetWriteDeadline(time.Now().Add(lookEvery)); err != nil {
			return true // closed: nobody reads it any more
		}
		n, err := a.stdin.Write(p)
		p = p[n:]
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return true
		case c.conn.Gone():
			return false
		}
	}
	return true
}

// end tells every client that the guest has ended, and waits for those that listen.
func (a *audience) end() {
	a.mu.Lock()
	a.ended = true
	for c := range a.clients {
		c.finish("")
		_ = c.conn.SetWriteDeadline(time.Now().Add(lastWords))
	}
	a.mu.Unlock()
	a.leaving.Wait()
}
