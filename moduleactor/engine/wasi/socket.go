package wasi

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// listener is a listening socket.
type listener struct{ *stream }

// read and write tell that there is nothing to read and write in a listener.
func (listener) read([]byte) (int, Errno)  { return 0, enotconn }
func (listener) write([]byte) (int, Errno) { return 0, enotconn }

// preopen takes copies of the sockets that are handed in, and returns the environment that tells of them.
func (in *Instance) preopen(list []Preopen) ([]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	names := make([]string, len(list))
	start := len(in.table.list)
	for i, p := range list {
		names[i] = p.Name
		if strings.ContainsAny(p.Name, ":\x00") {
			return nil, fmt.Errorf("preopen %q: a name has no colon", p.Name)
		}
		o, err := in.socketObject(p.File)
		if err != nil {
			return nil, fmt.Errorf("preopen %s: %w", p.Name, err)
		}
		in.table.hand(o)
	}
	return []string{
		"LISTEN_FDS=" + strconv.Itoa(len(list)), "LISTEN_FDNAMES=" + strings.Join(names, ":"),
		"WAZLET_LISTEN_FDS_START=" + strconv.Itoa(start),
	}, nil
}

var errNoSocket = errors.New("is no socket")

func (in *Instance) socketObject(f *os.File) (object, error) {
	fd, mode, err := descriptorOf(f)
	switch {
	case err != nil:
		return nil, err
	case mode&unix.S_IFMT != unix.S_IFSOCK:
		return nil, fmt.Errorf("%s %w", f.Name(), errNoSocket)
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, err
	}
	if listens == 0 {
		s, err := adopt(f, false, socketRights)
		switch {
		case err != nil:
			return nil, err
		case s.kind == socketDgram:
			return &opened{stream: s, six: isIPv6(s.fd), bound: true}, nil
		default:
			in.drain.serving(s)
			return s, nil
		}
	}
	s, err := adopt(f, false, listenerRights)
	if err != nil {
		return nil, err
	}
	in.drain.listening(s)
	return listener{s}, nil
}

func isIPv6(fd int) bool {
	sa, err := unix.Getsockname(fd)
	_, six := sa.(*unix.SockaddrInet6)
	return err == nil && six
}

// socket returns the stream behind a descriptor of a connection. A directory is bad, as it is to fd_read.
func (c call) socket(need Rights) (*descriptor, *stream, Errno) {
	d, errno := c.table.get(c.a[0], 0)
	if errno != esuccess {
		return nil, nil, errno
	}
	s, ok := asStream(d.object)
	_, listens := d.object.(listener)
	switch {
	case d.filetype() == directory:
		return nil, nil, ebadf
	case !ok || listens:
		return nil, nil, enotsock
	case !d.can(need):
		return nil, nil, enotcapable
	}
	return d, s, esuccess
}

func (c call) sockAccept() Errno { return c.acceptConnection(c.a[1], c.a[2]) }

// acceptConnection writes the descriptor to out.
func (c call) acceptConnection(flags, out uint64) Errno {
	d, errno := c.table.get(c.a[0], 0)
	if errno != esuccess {
		return errno
	}
	l, ok := d.object.(listener)
	switch {
	case !ok && (d.filetype() == socketStream || d.filetype() == socketDgram):
		return einval
	case !ok:
		return enotsock
	case !d.can(rightSockAccept):
		return enotcapable
	case uint32(flags)&^uint32(flagNonblock) != 0:
		return einval
	case c.table.full():
		return emfile
	}
	s, errno := c.accept(d, l)
	if errno != esuccess {
		return errno
	}
	fd := c.table.insert(&descriptor{object: s, base: socketRights, flags: fdflags(flags)})
	if errno := c.mem.putU32(out, fd); errno != esuccess {
		_ = c.table.release(fd)
		return errno
	}
	return esuccess
}

// accept waits for a connection, unless the descriptor is nonblocking.
func (in *Instance) accept(d *descriptor, l listener) (*stream, Errno) {
	for {
		fd, err := accept(l.fd)
		switch {
		case err == nil:
			f := os.NewFile(uintptr(fd), "connection")
			s, err := newStream(f, l.kind, socketRights, true)
			if err != nil {
				_ = f.Close()
				return nil, toErrno(err)
			}
			in.drain.serving(s)
			return s, esuccess
		case errors.Is(err, unix.EAGAIN) && d.waits():
			in.waitFor(l, false)
		case errors.Is(err, unix.EINTR):
		default:
			return nil, toErrno(err)
		}
	}
}

const (
	recvPeek    = 1
	recvWaitAll = 2

	recvTruncated = 1
)

func (c call) sockRecv() Errno {
	d, s, errno := c.socket(rightRead)
	if errno != esuccess {
		return errno
	}
	flags := uint32(c.a[3])
	if flags&^(recvPeek|recvWaitAll) != 0 {
		return einval
	}
	v, errno := c.mem.vectors(c.a[1], c.a[2])
	if errno != esuccess {
		return errno
	}
	n, roflags, _, errno := c.receive(d, s, &v, flags)
	if errno != esuccess {
		return errno
	}
	if out, ok := c.mem.bytes(c.a[5], 2); ok == esuccess {
		out[0], out[1] = roflags, 0
		return c.mem.putU32(c.a[4], n)
	}
	return efault
}

// receive receives a datagram, and tells from whom, or what there is of a stream.
func (in *Instance) receive(d *descriptor, s *stream, v *vectors, flags uint32) (n uint32, roflags byte, from unix.Sockaddr, errno Errno) {
	if s.kind == socketStream && flags == 0 {
		n, errno = in.transfer(d, v, false)
		return n, 0, nil, errno
	}
	bufs, errno := v.all()
	if errno != esuccess {
		return 0, 0, nil, errno
	}
	host := unix.MSG_DONTWAIT
	if flags&recvPeek != 0 {
		host |= unix.MSG_PEEK
	}
	for {
		got, _, out, peer, err := unix.RecvmsgBuffers(s.fd, bufs, nil, host)
		n += uint32(max(got, 0))
		wait := errors.Is(err, unix.EAGAIN) && d.waits()
		switch {
		case err == nil && got > 0 && flags == recvWaitAll && s.kind == socketStream && len(skip(&bufs, got)) > 0:
		case err == nil:
			if out&unix.MSG_TRUNC != 0 {
				roflags = recvTruncated
			}
			return n, roflags, peer, esuccess
		case wait:
			in.waitFor(s, false)
		case errors.Is(err, unix.EINTR):
		case n > 0:
			return n, 0, nil, esuccess
		default:
			return 0, 0, nil, toErrno(err)
		}
	}
}

// skip leaves out the first n bytes.
func skip(bufs *[][]byte, n int) [][]byte {
	for n > 0 && len(*bufs) > 0 {
		if n < len((*bufs)[0]) {
			(*bufs)[0] = (*bufs)[0][n:]
			break
		}
		n -= len((*bufs)[0])
		*bufs = (*bufs)[1:]
	}
	return *bufs
}

// all are the buffers that are left.
func (v *vectors) all() (out [][]byte, errno Errno) {
	for p, errno := v.next(); p != nil || errno != esuccess; p, errno = v.next() {
		if errno != esuccess {
			return nil, errno
		}
		out = append(out, p)
	}
	return out, esuccess
}

func (c call) sockSend() Errno {
	d, s, errno := c.socket(rightWrite)
	switch {
	case errno != esuccess:
		return errno
	case uint32(c.a[3]) != 0:
		return einval
	}
	v, errno := c.mem.vectors(c.a[1], c.a[2])
	if errno != esuccess {
		return errno
	}
	n, errno := c.sendTo(d, s, &v, nil)
	if errno != esuccess {
		return errno
	}
	return c.mem.putU32(c.a[4], n)
}

// sendTo sends a datagram, to the peer if to is nil, or what can be sent of a stream, whose peer is given.
func (in *Instance) sendTo(d *descriptor, s *stream, v *vectors, to unix.Sockaddr) (uint32, Errno) {
	if s.kind == socketStream {
		return in.transfer(d, v, true)
	}
	bufs, errno := v.all()
	if errno != esuccess {
		return 0, errno
	}
	for {
		n, err := unix.SendmsgBuffers(s.fd, bufs, nil, to, unix.MSG_DONTWAIT)
		switch {
		case err == nil:
			return uint32(n), esuccess
		case errors.Is(err, unix.EAGAIN) && d.waits():
			in.waitFor(s, true)
		case !errors.Is(err, unix.EINTR):
			return 0, toErrno(err)
		}
	}
}

func (c call) sockShutdown() Errno {
	_, s, errno := c.socket(rightSockShutdown)
	if errno != esuccess {
		return errno
	}
	how, ok := map[uint32]int{1: unix.SHUT_RD, 2: unix.SHUT_WR, 3: unix.SHUT_RDWR}[uint32(c.a[1])]
	if !ok {
		return einval
	}
	return toErrno(unix.Shutdown(s.fd, how))
}
