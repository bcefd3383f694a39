package wasi

import (
	"context"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Network is what the sockets that a guest opens itself may do.
//
// A guest has no network namespace of its own. Where it binds to the unspecified or a loopback address, it gets its Pod's
// address, and where it connects to such a one, it reaches its Pod: the host's loopback is never the guest's.
type Network struct {
	// Addresses are the Pod's own: what sockets may be bound to, and where connections come from.
	Addresses []netip.Addr
	// Check tells whether the guest may connect to an address, or send there; names are the full ones that it has resolved to it.
	// An error is EACCES for the guest. Of the Pod's own addresses it is asked for ports at which a process of
	// the node listens. It must not block.
	Check func(to netip.AddrPort, names []string) error
	// Lookup resolves a name, and says which full name has the addresses: that is what Check is told. ctx ends with the guest.
	Lookup func(ctx context.Context, name string) (list []netip.Addr, full string, err error)
}

// maxResolved bounds the addresses whose names an instance remembers; the oldest is forgotten.
const maxResolved = 1024

// network is what an instance knows of the network.
type network struct {
	Network
	// there is whether the guest may open sockets.
	there bool
	// names are what addresses were resolved from, known in the order in which they came.
	names map[netip.Addr][]string
	known []netip.Addr
}

// learn remembers that name stands for addr.
func (n *network) learn(addr netip.Addr, name string) {
	if n.names == nil {
		n.names = map[netip.Addr][]string{}
	}
	list, ok := n.names[addr]
	if !ok {
		if len(n.known) == maxResolved {
			delete(n.names, n.known[0])
			n.known = n.known[1:]
		}
		n.known = append(n.known, addr)
	}
	if !slices.Contains(list, name) && len(list) < maxNames {
		n.names[addr] = append(list, name)
	}
}

// maxNames bounds the names of one address.
const maxNames = 16

// inside tells whether an address stands for the guest's own Pod. Where Pods themselves have loopback addresses, as on a
// node without a cluster, only one of these is the guest's.
func (n *network) inside(a netip.Addr) bool {
	if a.IsUnspecified() || a == netip.IPv6Loopback() || a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
		return true
	}
	return a.IsLoopback() && !slices.ContainsFunc(n.Addresses, netip.Addr.IsLoopback)
}

// own is the Pod's address of the family that a stands for. A Pod without IPv6 is reached over IPv6 by its IPv4 address.
func (n *network) own(a netip.Addr) (netip.Addr, bool) {
	for _, six := range []bool{a.Is6() && !a.Is4In6(), false} {
		if i := slices.IndexFunc(n.Addresses, func(o netip.Addr) bool { return o.Is6() == six }); i >= 0 {
			return n.Addresses[i], true
		}
	}
	return netip.Addr{}, false
}

// local is the address that a guest's socket is bound to in place of a.
func (n *network) local(a netip.Addr) (netip.Addr, Errno) {
	a = a.Unmap()
	if slices.Contains(n.Addresses, a) {
		return a, esuccess
	}
	if o, ok := n.own(a); ok && n.inside(a) {
		return o, esuccess
	}
	return netip.Addr{}, eaddrnotavail
}

// remote is the address that a guest reaches in place of to. It may always answer its peers, and reach its Pod; what of the node
// listens on the Pod's address, because it does on all, is not of the Pod.
func (n *network) remote(kind filetype, to netip.AddrPort, peers peers) (netip.AddrPort, Errno) {
	a := to.Addr().Unmap()
	if to = netip.AddrPortFrom(a, to.Port()); slices.Contains(peers, to) {
		return to, esuccess
	}
	if n.inside(a) && !slices.Contains(n.Addresses, a) {
		o, ok := n.own(a)
		if !ok {
			return netip.AddrPort{}, eaddrnotavail
		}
		a = o
	}
	to = netip.AddrPortFrom(a, to.Port())
	if slices.Contains(n.Addresses, a) && !foreign(kind, to) {
		return to, esuccess
	}
	if n.Check == nil || n.Check(to, n.names[a]) != nil {
		return netip.AddrPort{}, eacces
	}
	return to, esuccess
}

// peers are those that have sent datagrams to a socket lately, the last one at the end.
type peers []netip.AddrPort

// maxPeers is how many a socket remembers.
const maxPeers = 256

func (p *peers) add(peer netip.AddrPort) {
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	if n := len(*p); n > 0 && (*p)[n-1] == peer {
		return
	}
	*p = slices.DeleteFunc(*p, func(o netip.AddrPort) bool { return o == peer })
	if len(*p) >= maxPeers {
		*p = slices.Delete(*p, 0, 1)
	}
	*p = append(*p, peer)
}

// source is the Pod's address that connections to an address come from; not ok: the host's choice, as a loopback address of
// a Pod is nowhere known outside.
func (n *network) source(to netip.Addr) (netip.Addr, bool) {
	o, ok := n.own(to)
	if !ok || (o.IsLoopback() && !to.IsLoopback()) {
		return netip.Addr{}, false
	}
	return o, true
}

// sockaddr makes a host's address for a socket of a family: IPv4 goes into IPv6.
func sockaddr(a netip.AddrPort, six bool) (unix.Sockaddr, Errno) {
	switch {
	case six:
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}, esuccess
	case a.Addr().Is4() || a.Addr().Is4In6():
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}, esuccess
	default:
		return nil, eafnosupport
	}
}

// addrPort is the reverse.
func addrPort(sa unix.Sockaddr) (netip.AddrPort, bool) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), true
	default:
		return netip.AddrPort{}, false
	}
}
