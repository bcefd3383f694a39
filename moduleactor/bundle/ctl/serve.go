package ctl

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConns bounds the connections of a shim.
	maxConns = 32
	// requestIn bounds the wait for a request.
	requestIn = 10 * time.Second
	// retryIn is the wait after a connection that could not be accepted.
	retryIn = 50 * time.Millisecond
)

// Verb answers a request, given as the line that came, and then has the connection, which is closed when it returns. It
// must call Accept first, or return an error, which is the answer then.
type Verb func(line []byte, c *Conn) error

// Server serves one attempt's socket.
type Server struct {
	listener net.Listener
	verbs    map[string]Verb

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// New makes a server without a socket: connections come by Take alone.
func New(verbs map[string]Verb) *Server { return &Server{verbs: verbs, conns: map[net.Conn]struct{}{}} }

// Listen makes the socket in dir, which is only the daemon's and the shim's.
func Listen(dir string, verbs map[string]Verb) (*Server, error) {
	path := filepath.Join(dir, Socket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// By descriptor: the path may be longer than an address can be.
	fd, err := unix.Open(dir, oPath|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(descriptor(fd), Socket), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // its name is that of a descriptor
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := New(verbs)
	s.listener = l
	return s, nil
}

// Serve accepts connections until Close. Each has a goroutine.
func (s *Server) Serve() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			<-time.After(retryIn) // out of descriptors, which the guest may give back
			continue
		}
		s.Take(c)
	}
}

// Take serves a connection, by a goroutine.
func (s *Server) Take(c net.Conn) {
	if !s.add(c) {
		_ = newConn(c).writeLine(answer{Version: Version, Error: fmt.Sprintf("%d connections are open; allowed: %d", maxConns, maxConns)})
		_ = c.Close()
		return
	}
	go s.serve(newConn(c))
}

// Close stops accepting. Connections stay with their verbs.
func (s *Server) Close() error { return s.listener.Close() }

func (s *Server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= maxConns {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// serve has one connection. A panic, which would end the guest too, ends that alone.
func (s *Server) serve(c *Conn) {
	defer s.remove(c.Conn)
	defer func() { _ = recover() }()
	if err := s.request(c); err != nil && !c.accepted {
		_ = c.writeLine(answer{Version: Version, Error: err.Error()})
	}
}

func (s *Server) request(c *Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(requestIn)); err != nil {
		return err
	}
	var r Request
	line, err := c.readLine(&r)
	if err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	verb := s.verbs[r.Verb]
	switch {
	case r.Version != Version:
		return fmt.Errorf("version: want %d (got %d)", Version, r.Version)
	case verb == nil:
		return fmt.Errorf("verb: %.80q is not known to this shim", r.Verb)
	}
	return verb(line, c)
}

// Accept answers the request. reply is nil, or has the field "version" and more.
func (c *Conn) Accept(reply any) error {
	c.accepted = true
	if reply == nil {
		reply = answer{Version: Version}
	}
	return c.writeLine(reply)
}
