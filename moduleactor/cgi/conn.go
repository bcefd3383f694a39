package cgi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// bounded is a listener that accepts no more connections than there is room for.
type bounded struct {
	net.Listener
	free chan struct{}
	// fresh counts the connections that have had no request yet.
	fresh  *sync.WaitGroup
	closed chan struct{}
	close  func() error
}

func newBounded(l net.Listener, free chan struct{}, fresh *sync.WaitGroup) *bounded {
	b := &bounded{Listener: l, free: free, fresh: fresh, closed: make(chan struct{})}
	b.close = sync.OnceValue(func() error {
		close(b.closed)
		return l.Close()
	})
	return b
}

// Accept waits for room, then for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.free <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.free
		return nil, err
	}
	b.fresh.Add(1)
	return &conn{Conn: c, leave: sync.OnceFunc(func() { <-b.free }), asked: sync.OnceFunc(b.fresh.Done)}, nil
}

// Close closes the listener, once.
func (b *bounded) Close() error { return b.close() }

// conn makes room when it is closed.
type conn struct {
	net.Conn
	leave func()
	// asked is called when its first request is served, or it is closed.
	asked func()
	// dead is set when a body was not read to its end. What follows is the rest of it and must not pass for a request.
	dead atomic.Bool
}

// Read reads, unless the connection is dead.
func (c *conn) Read(p []byte) (int, error) {
	if c.dead.Load() {
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}

// Close closes the connection.
func (c *conn) Close() error {
	defer c.leave()
	defer c.asked()
	return c.Conn.Close()
}

// CloseWrite lets net/http end a connection so that the client gets what was written before it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

// withConn is an http.Server's ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// body is that of a request. It is read by one goroutine, which may outlive the instance.
type body struct {
	io.Reader
	left  atomic.Int64
	ended atomic.Bool
}

func newBody(r *http.Request) *body {
	b := &body{Reader: r.Body}
	b.left.Store(r.ContentLength)
	return b
}

// Read notes what is left, and the end.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.left.Add(-int64(n))
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// drain reads what the guest did not, so that the connection can be used again. net/http would do that only after the
// response, when it has begun to look for the next request, and trip over itself (Go 1.26). A large rest it gives up.
func (b *body) drain(ctx context.Context) {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok || b.ended.Load() || b.left.Load() > maxDrain {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(drainTimeout)) // it fails on a connection that is closed
	if _, err := io.Copy(io.Discard, b); err != nil {
		c.dead.Store(true)
	}
	_ = c.SetReadDeadline(time.Time{})
}
