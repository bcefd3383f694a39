package bundle

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// backlog is how many connections wait for a guest to accept them, as far as net.core.somaxconn lets them.
const backlog = 4096

// bind makes one socket with as few system calls as it takes: each container start pays for its own. Connections of the one
// before that linger do not stand in its way.
func bind(l Listener) (*os.File, error) {
	family, addr := sockaddr(l.Address)
	kind := unix.SOCK_STREAM
	if l.Network == NetworkUDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if l.Network == NetworkTCP {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, addr)
	}
	if err == nil && l.Network == NetworkTCP {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), l.Network+" "+l.Address.String()), nil
}

func sockaddr(a netip.AddrPort) (family int, _ unix.Sockaddr) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
