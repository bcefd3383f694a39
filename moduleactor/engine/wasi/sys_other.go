//go:build !linux

package wasi

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

func allocate(int, int64, int64) error { return unix.ENOTSUP }

func datasync(fd int) error { return unix.Fsync(fd) }

// readable is how many bytes can be read from a pipe, a terminal or a socket: not known, but some.
func readable(int) (int, error) { return 1, nil }

// foreign needs Linux, as does a node.
func foreign(filetype, netip.AddrPort) bool { return false }

// newSocket makes a socket that is nonblocking and not inherited.
func newSocket(family, kind int) (int, error) {
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return 0, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// noPortYet is Linux's.
func noPortYet(int) {}

const pollHangup = unix.POLLHUP

// accept takes a connection, nonblocking and not inherited.
func accept(fd int) (int, error) {
	n, _, err := unix.Accept(fd)
	if err != nil {
		return 0, err
	}
	unix.CloseOnExec(n)
	if err := unix.SetNonblock(n, true); err != nil {
		return 0, errors.Join(err, unix.Close(n))
	}
	return n, nil
}
