package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/wazlet/wazlet/moduleactor/bundle/wire"
)

// peer is the connection of a daemon. What is to be sent is queued, so that no guest waits for a daemon that does not
// read; an attempt has two events, so the queue is bounded by the number of guests.
type peer struct {
	conn *wire.Conn
	// lost is told of what could not be sent.
	lost func(wire.Message)

	mu     sync.Mutex
	queue  []wire.Message
	more   chan struct{} // has room for one
	closed bool
}

// attend serves one connection until its end. The guests it started go on.
func (s *server) attend(conn *wire.Conn) {
	c := &peer{conn: conn, lost: s.lost, more: make(chan struct{}, 1)}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		c.write()
	}()
	for {
		m, with, err := conn.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				fmt.Fprintln(s.stderr, "wazlet-shim serve: receive:", err)
			}
			break
		}
		s.handle(c, m, with)
	}
	c.close()
	<-sent
	_ = conn.Close()
}

// handle answers a request. It does not block: the answer to run comes when it is known.
func (s *server) handle(c *peer, m wire.Message, with []*os.File) {
	if m.Op == wire.Run && len(with) > 0 && m.Error == "" {
		go s.begin(c, m, with)
		return
	}
	answer := wire.Message{Seq: m.Seq, Op: m.Op, Bundle: m.Bundle}
	if err := s.answer(c, m, with, &answer); err != nil {
		answer.Error = err.Error()
	}
	c.send(answer)
}

// answer closes the files.
func (s *server) answer(c *peer, m wire.Message, with []*os.File, answer *wire.Message) error {
	if m.Op == wire.Attach {
		return s.attach(m, with)
	}
	wire.CloseAll(with)
	switch m.Op {
	case wire.Ping:
		answer.Instances = s.count()
		return nil
	case wire.Run:
		if m.Error != "" {
			return errors.New(m.Error)
		}
		return errors.New("run: want the attempt's lock with it")
	case wire.Signal:
		if i, err := s.find(m.Bundle); err == nil {
			i.stop(m.Kill)
		}
		return nil
	case wire.Watch, wire.Stats:
		i, err := s.find(m.Bundle)
		if err != nil {
			return err
		}
		if m.Op == wire.Stats {
			answer.Usage = i.usage()
			return nil
		}
		answer.StartedAt, err = i.watch(c)
		return err
	case wire.Attach, wire.Started, wire.Refused, wire.Ended:
	}
	return fmt.Errorf("%s is no request", m.Op)
}

func (s *server) attach(m wire.Message, with []*os.File) error {
	i, err := s.find(m.Bundle)
	switch {
	case m.Error != "":
		err = errors.New(m.Error)
	case len(with) != 1:
		err = fmt.Errorf("attach: want one connection with it (got %d)", len(with))
	case err == nil:
		return i.attach(with[0])
	}
	wire.CloseAll(with)
	return err
}

// lost is told of what a daemon that is gone did not get. How attempts begin and end the next one finds in their files.
func (s *server) lost(m wire.Message) {
	if m.Op != wire.Refused {
		return
	}
	if i, err := s.find(m.Bundle); err == nil {
		i.refused(m.Text)
	}
}

// send queues a message; false: the daemon is gone.
func (c *peer) send(m wire.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.queue = append(c.queue, m)
	c.wake()
	return true
}

func (c *peer) wake() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// close ends it. Nobody who holds a lock of an instance may call it.
func (c *peer) close() {
	c.mu.Lock()
	left := c.queue
	c.closed, c.queue = true, nil
	c.wake()
	c.mu.Unlock()
	for _, m := range left {
		c.lost(m)
	}
}

// write sends what is queued. After an error, which only a connection that has ended gives, nothing is kept any more.
func (c *peer) write() {
	for range c.more {
		c.mu.Lock()
		queue, closed := c.queue, c.closed
		c.queue = nil
		c.mu.Unlock()
		if closed {
			return
		}
		for n, m := range queue {
			if err := c.conn.Send(m); err != nil {
				c.close()
				for _, m := range queue[n:] {
					c.lost(m)
				}
				break
			}
		}
	}
}
