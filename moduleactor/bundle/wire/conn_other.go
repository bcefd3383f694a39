//go:build !linux

package wire

import (
	"errors"
	"os"
)

// Socket is the name of the socket in the directory of a shim.
const Socket = "ctl.sock"

// Listen fails: only a node, which needs Linux, has shared shims.
func Listen(string) (*os.File, error) { return nil, errors.ErrUnsupported }

// Dial fails.
func Dial(string) (*Conn, error) { return nil, errors.ErrUnsupported }

// Listener is never made.
type Listener struct{}

// NewListener fails.
func NewListener(uintptr) (*Listener, error) { return nil, errors.ErrUnsupported }

// Accept fails.
func (*Listener) Accept() (*Conn, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Listener) Close() error { return nil }

// Conn is never made.
type Conn struct{}

// Close does nothing.
func (*Conn) Close() error { return nil }

// Send fails.
func (*Conn) Send(Message, ...*os.File) error { return errors.ErrUnsupported }

// Receive fails.
func (*Conn) Receive() (Message, []*os.File, error) { return Message{}, nil, errors.ErrUnsupported }

// CloseAll closes files.
func CloseAll([]*os.File) {}
