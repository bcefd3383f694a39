package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// ErrClientGone is the cause of a streaming request's context that ended because its client went away.
var ErrClientGone = errors.New("the client went away") //nolint:gochecknoglobals // a sentinel

// upgraded lets serve take the connection over. net/http stops watching a connection once it is hijacked, and
// cri-streaming passes on the request's context as it is, so that an exec would outlive its client. Here the context
// ends when the connection cannot be read or written any more, and the connection is closed when serve returns,
// whatever the streaming library forgot.
func upgraded(w http.ResponseWriter, r *http.Request, serve func(*upgradable, *http.Request)) {
	if !strings.Contains(strings.ToLower(strings.Join(r.Header.Values("Connection"), ",")), "upgrade") {
		http.Error(w, "Upgrade request required", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	u := &upgradable{ResponseWriter: w, lost: cancel}
	defer u.close()
	serve(u, r.WithContext(ctx))
}

// An upgradable is a ResponseWriter whose hijacked connection is watched. It has no Unwrap: the WebSocket library
// would take the connection from the writer inside.
type upgradable struct {
	http.ResponseWriter
	lost context.CancelCauseFunc

	mu   sync.Mutex
	conn *watchedConn
}

// Hijack returns the connection together with readers and writers that go through the watch too, because the streaming
// libraries read from the buffer, not from the connection.
func (u *upgradable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, err := buffered.Peek(buffered.Reader.Buffered())
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	watched := &watchedConn{Conn: conn, from: io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn), lost: u.lost}
	u.mu.Lock()
	u.conn = watched
	u.mu.Unlock()
	return watched, bufio.NewReadWriter(bufio.NewReader(watched), bufio.NewWriter(watched)), nil
}

func (u *upgradable) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conn != nil {
		_ = u.conn.Close() // reports nothing
	}
}

// A watchedConn tells lost of the first error of reading or writing.
type watchedConn struct {
	net.Conn
	from   io.Reader
	lost   context.CancelCauseFunc
	closed sync.Once
}

// Read ends with io.EOF whatever the reason, which is in the context's cause: the streaming libraries log any other
// error as something that a person must look at, their own closing of the connection among them.
func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	if err != nil {
		c.lost(fmt.Errorf("%w: %w", ErrClientGone, err))
		err = io.EOF
	}
	return n, err
}

func (c *watchedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.lost(fmt.Errorf("%w: %w", ErrClientGone, err))
	}
	return n, err
}

// Close closes once and reports no error: the streaming libraries close several times, some of them wait a second when
// that fails, and whatever fails here is the client's loss only.
func (c *watchedConn) Close() error {
	c.closed.Do(func() { _ = c.Conn.Close() })
	return nil
}
