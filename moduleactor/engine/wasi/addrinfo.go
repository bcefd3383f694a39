package wasi

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// An addrinfo of the extension: flags 0..2, family 2, socket type 3, protocol 4, and at 8 the address's length, the
// pointer to the address at 12, to the canonical name at 16, its length at 20, and the next addrinfo at 24. An address:
// family 0, length at 4, pointer to the data at 8, which is the port, high byte first, and the bytes of the address.
const (
	addrinfoSize    = 28
	sockaddrSize    = 12
	sockaddrLength  = 16 // what the extension calls its length
	maxAddrinfo     = 256
	flagPassive     = 1 << 0
	flagNumericHost = 1 << 2
)

// hints are what a guest wants to know.
type hints struct {
	flags        uint16
	family, kind byte
}

func (c call) sockGetaddrinfo() Errno {
	if !c.net.there {
		return eacces
	}
	name, errno := c.mem.text(c.a[0], c.a[1])
	if errno != esuccess {
		return errno
	}
	service, errno := c.mem.text(c.a[2], c.a[3])
	if errno != esuccess {
		return errno
	}
	b, errno := c.mem.bytes(c.a[4], addrinfoSize)
	if errno != esuccess {
		return errno
	}
	h := hints{flags: binary.LittleEndian.Uint16(b), family: b[2], kind: b[3]}
	port, errno := servicePort(service)
	switch {
	case errno != esuccess:
		return errno
	case name == "" && service == "":
		return einval
	}
	list, errno := c.resolve(name, h)
	if errno != esuccess {
		return errno
	}
	n, errno := c.putAddrinfo(list, port, h)
	if errno != esuccess {
		return errno
	}
	return c.mem.putU32(c.a[7], n)
}

// text is a string that may end with a NUL, as WasmEdge's libraries have it.
func (m memory) text(ptr, n uint64) (string, Errno) {
	if uint32(n) == 0 {
		return "", esuccess
	}
	s, errno := m.path(ptr, n)
	return strings.TrimSuffix(s, "\x00"), errno
}

// servicePort takes numbers, and the names that a guest may well ask for.
func servicePort(service string) (uint16, Errno) {
	switch service {
	case "":
		return 0, esuccess
	case "http":
		return 80, esuccess
	case "https":
		return 443, esuccess
	case "domain":
		return 53, esuccess
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return 0, enoent
	}
	return uint16(n), esuccess
}

// resolve finds the addresses of a name; none is an error.
func (c call) resolve(name string, h hints) ([]netip.Addr, Errno) {
	var list []netip.Addr
	if a, err := netip.ParseAddr(name); err == nil {
		list = []netip.Addr{a.Unmap().WithZone("")}
	} else if name == "" {
		list = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
		if h.flags&flagPassive != 0 {
			list = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
		}
	} else if h.flags&flagNumericHost != 0 {
		return nil, enoent
	} else if list, err = c.lookup(name); err != nil {
		return nil, enoent
	}
	list = slices.DeleteFunc(list, func(a netip.Addr) bool {
		return (h.family == familyINET && !a.Is4()) || (h.family == familyINET6 && a.Is4())
	})
	if len(list) == 0 {
		return nil, enoent
	}
	return list, esuccess
}

// lookup asks the resolver, for as long as the guest may go on.
func (c call) lookup(name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	list, full, err := c.net.Lookup(ctx, name)
	c.check()
	if err != nil {
		return nil, err
	}
	for i, a := range list {
		list[i] = a.Unmap()
		c.net.learn(list[i], full)
	}
	return list, nil
}

// putAddrinfo fills in the list that the guest has prepared, whose length is that of the answer at most.
func (c call) putAddrinfo(list []netip.Addr, port uint16, h hints) (n uint32, errno Errno) {
	first, errno := c.mem.bytes(c.a[5], 4)
	if errno != esuccess {
		return 0, errno
	}
	at, most := binary.LittleEndian.Uint32(first), min(uint32(c.a[6]), maxAddrinfo)
	for _, a := range list {
		if at == 0 || n == most {
			break
		}
		info, errno := c.mem.bytes(uint64(at), addrinfoSize)
		if errno != esuccess {
			return 0, errno
		}
		if errno := c.mem.putSockaddr(info, a, port); errno != esuccess {
			return 0, errno
		}
		if info[3] = h.kind; h.kind == 0 {
			info[3] = typeStream
		}
		info[2] = byte(familyINET)
		if a.Is6() {
			info[2] = familyINET6
		}
		binary.LittleEndian.PutUint32(info[8:], sockaddrLength)
		binary.LittleEndian.PutUint32(info[20:], 0) // no canonical name
		at = binary.LittleEndian.Uint32(info[24:])
		n++
	}
	return n, esuccess
}

// claimed is the length that WasmEdge's library gives for buffers of 26 bytes.
const claimed, really = 14, 26

func (m memory) putSockaddr(info []byte, a netip.Addr, port uint16) Errno {
	sa, errno := m.bytes(uint64(binary.LittleEndian.Uint32(info[12:])), sockaddrSize)
	if errno != esuccess {
		return errno
	}
	size := binary.LittleEndian.Uint32(sa[4:])
	if size == claimed {
		size = really
	}
	raw := a.AsSlice()
	if size < uint32(2+len(raw)) {
		return einval
	}
	data, errno := m.bytes(uint64(binary.LittleEndian.Uint32(sa[8:])), uint64(2+len(raw)))
	if errno != esuccess {
		return errno
	}
	binary.BigEndian.PutUint16(data, port)
	copy(data[2:], raw)
	if sa[0] = familyINET; a.Is6() {
		sa[0] = familyINET6
	}
	return esuccess
}
