package wasi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// sockopts are the host's options by those of WasmEdge, at its only level, 0. All are an int.
var sockopts = map[uint32]struct{ host, set int }{ //nolint:gochecknoglobals // a constant
	0:  {unix.SO_REUSEADDR, 1},
	1:  {unix.SO_TYPE, 0},
	2:  {unix.SO_ERROR, 0},
	4:  {unix.SO_BROADCAST, 1},
	5:  {unix.SO_SNDBUF, 1},
	6:  {unix.SO_RCVBUF, 1},
	7:  {unix.SO_KEEPALIVE, 1},
	8:  {unix.SO_OOBINLINE, 1},
	13: {unix.SO_ACCEPTCONN, 0},
}

const (
	levelSocket = 0
	optionSize  = 4
	// maxSocketBuffer bounds what a guest can make the kernel keep for one socket.
	maxSocketBuffer = 1 << 20
)

// option finds the socket and the option of a call.
func (c call) option() (s *stream, host int, settable bool, errno Errno) {
	d, errno := c.table.get(c.a[0], 0)
	if errno != esuccess {
		return nil, 0, false, errno
	}
	s, ok := asStream(d.object)
	if !ok {
		return nil, 0, false, enotsock
	}
	o, ok := sockopts[uint32(c.a[2])]
	if uint32(c.a[1]) != levelSocket || !ok {
		return nil, 0, false, enoprotoopt
	}
	return s, o.host, o.set == 1, esuccess
}

// sockGetsockopt takes the size as a value, and as a pointer to it, which version 2 of the extension has: no variable is at
// the address 4.
func (c call) sockGetsockopt() Errno {
	s, host, _, errno := c.option()
	if errno != esuccess {
		return errno
	}
	size := uint32(c.a[4])
	if size != optionSize {
		b, errno := c.mem.bytes(c.a[4], 4)
		if errno != esuccess {
			return errno
		}
		if binary.LittleEndian.Uint32(b) < optionSize {
			return einval
		}
		binary.LittleEndian.PutUint32(b, optionSize)
	}
	v, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, host)
	switch {
	case err != nil:
		return toErrno(err)
	case host == unix.SO_ERROR && v != 0:
		v = int(toErrno(unix.Errno(v)))
	case host == unix.SO_TYPE && v == unix.SOCK_DGRAM:
		v = typeDgram
	case host == unix.SO_TYPE:
		v = typeStream
	}
	return c.mem.putU32(c.a[3], uint32(v))
}

func (c call) sockSetsockopt() Errno {
	s, host, settable, errno := c.option()
	switch {
	case errno != esuccess:
		return errno
	case !settable:
		return enoprotoopt
	case uint32(c.a[4]) != optionSize:
		return einval
	}
	b, errno := c.mem.bytes(c.a[3], optionSize)
	if errno != esuccess {
		return errno
	}
	v := int(int32(binary.LittleEndian.Uint32(b)))
	if host == unix.SO_REUSEADDR && s.kind == socketDgram {
		return esuccess // without effect: it would let the guest have the datagrams of a process of the node
	}
	if host == unix.SO_SNDBUF || host == unix.SO_RCVBUF {
		v = min(v, maxSocketBuffer)
	}
	return toErrno(unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, host, v))
}
