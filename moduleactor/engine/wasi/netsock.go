package wasi

import (
	"cmp"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// extension are the functions of WasmEdge's socket extension, in both of its versions where they differ: the types of a
// module's imports tell which it means.
func extension() map[string][]function {
	return map[string][]function{
		"sock_accept":       {{"ii", func(c call) Errno { return c.acceptConnection(0, c.a[1]) }}},
		"sock_open":         {{"iii", call.sockOpen}},
		"sock_bind":         {{"iii", call.sockBind}},
		"sock_listen":       {{"ii", call.sockListen}},
		"sock_connect":      {{"iii", call.sockConnect}},
		"sock_send_to":      {{"iiiiiii", call.sockSendTo}},
		"sock_recv_from":    {{"iiiiiiii", call.sockRecvFrom}, {"iiiiiii", call.sockRecvFromV1}},
		"sock_getsockopt":   {{"iiiii", call.sockGetsockopt}},
		"sock_setsockopt":   {{"iiiii", call.sockSetsockopt}},
		"sock_getlocaladdr": {{"iii", func(c call) Errno { return c.sockName(false, false) }}, {"iiii", func(c call) Errno { return c.sockName(false, true) }}},
		"sock_getpeeraddr":  {{"iii", func(c call) Errno { return c.sockName(true, false) }}, {"iiii", func(c call) Errno { return c.sockName(true, true) }}},
		"sock_getaddrinfo":  {{"iiiiiiii", call.sockGetaddrinfo}},
	}
}

// opened is a socket that the guest has opened itself, or one for datagrams that it was given.
type opened struct {
	*stream
	six   bool
	bound bool
	peers peers
}

const (
	typeDgram  = 1
	typeStream = 2
)

func (c call) sockOpen() Errno {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	switch uint32(c.a[0]) {
	case familyUnspec, familyINET:
	case familyINET6:
		family = unix.AF_INET6
	default:
		return eafnosupport
	}
	switch uint32(c.a[1]) {
	case typeStream:
	case typeDgram:
		kind = unix.SOCK_DGRAM
	default:
		return einval
	}
	switch {
	case !c.net.there:
		return eacces
	case c.table.full():
		return emfile
	}
	o, err := openSocket(family, kind)
	if err != nil {
		return toErrno(err)
	}
	fd := c.table.insert(&descriptor{object: o, base: o.rights()})
	if errno := c.mem.putU32(c.a[2], fd); errno != esuccess {
		_ = c.table.release(fd)
		return errno
	}
	return esuccess
}

func openSocket(family, kind int) (*opened, error) {
	fd, err := newSocket(family, kind)
	if err != nil {
		return nil, err
	}
	if family == unix.AF_INET6 { // one socket for both, as guests expect of most systems
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return nil, errors.Join(err, unix.Close(fd))
		}
	}
	f := os.NewFile(uintptr(fd), "socket")
	filetype := socketStream
	if kind == unix.SOCK_DGRAM {
		filetype = socketDgram
	}
	s, err := newStream(f, filetype, socketRights|listenerRights, true)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &opened{stream: s, six: family == unix.AF_INET6}, nil
}

// ownSocket returns a socket that the guest has opened and that does not listen.
func (c call) ownSocket() (*descriptor, *opened, Errno) {
	d, errno := c.table.get(c.a[0], 0)
	if errno != esuccess {
		return nil, nil, errno
	}
	o, ok := d.object.(*opened)
	switch {
	case ok:
		return d, o, esuccess
	case d.filetype() == socketStream || d.filetype() == socketDgram:
		return nil, nil, einval
	default:
		return nil, nil, enotsock
	}
}

func (c call) sockBind() Errno {
	_, o, errno := c.ownSocket()
	if errno != esuccess {
		return errno
	}
	want, errno := c.mem.address(c.a[1], c.a[2])
	if errno != esuccess {
		return errno
	}
	local, errno := c.net.local(want.Addr())
	if errno != esuccess {
		return errno
	}
	return o.bind(netip.AddrPortFrom(local, want.Port()))
}

func (o *opened) bind(to netip.AddrPort) Errno {
	sa, errno := sockaddr(to, o.six)
	if errno != esuccess {
		return errno
	}
	errno = toErrno(unix.Bind(o.fd, sa))
	o.bound = o.bound || errno == esuccess
	return errno
}

func (c call) sockListen() Errno {
	d, o, errno := c.ownSocket()
	switch {
	case errno != esuccess:
		return errno
	case o.kind != socketStream:
		return enotsup
	case !o.bound: // it would listen on every address of the host
		local, errno := c.net.local(netip.IPv4Unspecified())
		if errno != esuccess {
			return errno
		}
		if errno := o.bind(netip.AddrPortFrom(local, 0)); errno != esuccess {
			return errno
		}
	}
	if err := unix.Listen(o.fd, min(max(int(int32(c.a[1])), 1), unix.SOMAXCONN)); err != nil {
		return toErrno(err)
	}
	c.drain.listening(o.stream)
	d.object, d.base = listener{o.stream}, listenerRights
	return esuccess
}

// leave binds a socket that is not bound to the Pod's address before it connects or sends.
func (c call) leave(o *opened, to netip.AddrPort) Errno {
	from, ok := c.net.source(to.Addr())
	if o.bound || !ok {
		return esuccess
	}
	if o.kind == socketStream {
		noPortYet(o.fd)
	}
	return o.bind(netip.AddrPortFrom(from, 0))
}

func (c call) sockConnect() Errno {
	d, o, errno := c.ownSocket()
	if errno != esuccess {
		return errno
	}
	to, sa, errno := c.destination(o, c.a[1], c.a[2])
	if errno != esuccess {
		return errno
	}
	if errno := c.leave(o, to); errno != esuccess {
		return errno
	}
	err := connect(o.fd, sa)
	if !errors.Is(err, unix.EINPROGRESS) || !d.waits() {
		return toErrno(err)
	}
	for {
		c.waitFor(o, true)
		code, err := unix.GetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || code != 0 {
			return toErrno(cmp.Or(err, error(unix.Errno(code))))
		}
		if _, err := unix.Getpeername(o.fd); !errors.Is(err, unix.ENOTCONN) {
			return toErrno(err)
		}
	}
}

// connect connects. A connect that a signal has interrupted goes on by itself.
func connect(fd int, sa unix.Sockaddr) error {
	err := unix.Connect(fd, sa)
	if errors.Is(err, unix.EINTR) {
		return unix.EINPROGRESS
	}
	return err
}

// destination reads and judges the address that a guest wants to reach.
func (c call) destination(o *opened, ptr, port uint64) (netip.AddrPort, unix.Sockaddr, Errno) {
	want, errno := c.mem.address(ptr, port)
	if errno != esuccess {
		return want, nil, errno
	}
	to, errno := c.net.remote(o.kind, want, o.peers)
	if errno != esuccess {
		return to, nil, errno
	}
	sa, errno := sockaddr(to, o.six)
	return to, sa, errno
}

func (c call) sockSendTo() Errno {
	d, o, errno := c.ownSocket()
	switch {
	case errno != esuccess:
		return errno
	case !d.can(rightWrite):
		return enotcapable
	case uint32(c.a[5]) != 0:
		return einval
	}
	v, errno := c.mem.vectors(c.a[1], c.a[2])
	if errno != esuccess {
		return errno
	}
	to, sa, errno := c.destination(o, c.a[3], c.a[4])
	if errno != esuccess {
		return errno
	}
	if errno := c.leave(o, to); errno != esuccess {
		return errno
	}
	n, errno := c.sendTo(d, o.stream, &v, sa)
	if errno != esuccess {
		return errno
	}
	return c.mem.putU32(c.a[6], n)
}

func (c call) sockRecvFrom() Errno {
	return c.recvFrom(c.a[3], c.a[4], &c.a[5], c.a[6], c.a[7])
}

func (c call) sockRecvFromV1() Errno { return c.recvFrom(c.a[3], c.a[4], nil, c.a[5], c.a[6]) }

// recvFrom receives and says from whom; port is where its port goes, nil in version 1.
func (c call) recvFrom(addr, flags uint64, port *uint64, size, roflags uint64) Errno {
	d, s, errno := c.socket(rightRead)
	switch {
	case errno != esuccess:
		return errno
	case uint32(flags)&^(recvPeek|recvWaitAll) != 0:
		return einval
	}
	v, errno := c.mem.vectors(c.a[1], c.a[2])
	if errno != esuccess {
		return errno
	}
	n, out, from, errno := c.receive(d, s, &v, uint32(flags))
	if errno != esuccess {
		return errno
	}
	if peer, ok := addrPort(from); ok {
		if o, ok := d.object.(*opened); ok {
			o.peers.add(peer)
		}
		if _, errno := c.mem.putAddress(addr, peer.Addr()); errno != esuccess {
			return errno
		}
		if port != nil {
			if errno := c.mem.putU32(*port, uint32(peer.Port())); errno != esuccess {
				return errno
			}
		}
	}
	if errno := c.mem.putU32(roflags, uint32(out)); errno != esuccess {
		return errno
	}
	return c.mem.putU32(size, n)
}

// sockName tells a socket's own address, or its peer's.
func (c call) sockName(peer, v1 bool) Errno {
	d, errno := c.table.get(c.a[0], 0)
	if errno != esuccess {
		return errno
	}
	s, ok := asStream(d.object)
	if !ok {
		return enotsock
	}
	name := unix.Getsockname
	if peer {
		name = unix.Getpeername
	}
	sa, err := name(s.fd)
	if err != nil {
		return toErrno(err)
	}
	at, ok := addrPort(sa)
	if !ok {
		return eafnosupport
	}
	kind, errno := c.mem.putAddress(c.a[1], at.Addr())
	if errno != esuccess {
		return errno
	}
	if !v1 {
		return c.mem.putU32(c.a[2], uint32(at.Port()))
	}
	if errno := c.mem.putU32(c.a[2], kind); errno != esuccess {
		return errno
	}
	return c.mem.putU32(c.a[3], uint32(at.Port()))
}

// asStream is the socket behind an object of any kind of socket.
func asStream(o object) (*stream, bool) {
	switch o := o.(type) {
	case *opened:
		return o.stream, true
	case listener:
		return o.stream, true
	case *stream:
		return o, o.kind == socketStream || o.kind == socketDgram
	default:
		return nil, false
	}
}
