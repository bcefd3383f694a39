package wasi

import "golang.org/x/sys/unix"

func allocate(fd int, offset, size int64) error { return unix.Fallocate(fd, 0, offset, size) }

func datasync(fd int) error { return unix.Fdatasync(fd) }

// readable is how many bytes can be read from a pipe, a terminal or a socket.
func readable(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TIOCINQ) }

// newSocket makes a socket that is nonblocking and not inherited.
func newSocket(family, kind int) (int, error) {
	return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// noPortYet lets bind choose the address alone, so that many connections may share a port. Without it there are fewer.
func noPortYet(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) }

const pollHangup = unix.POLLHUP | unix.POLLRDHUP

// accept takes a connection, nonblocking and not inherited.
func accept(fd int) (int, error) {
	n, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return n, err
}
