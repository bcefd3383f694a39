package wasi

import (
	"encoding/binary"
	"net/netip"
)

// The socket extension of WasmEdge passes an address as a pointer to {pointer, length} of a buffer, and the port apart. In
// version 1 the buffer holds the 4 or 16 bytes of the address; in version 2 it has 128 bytes, the family in the first two.
const (
	addressV2Size = 128

	familyUnspec = 0
	familyINET   = 1
	familyINET6  = 2
)

// addressBuffer is the buffer that an address pointer leads to.
func (m memory) addressBuffer(ptr uint64) ([]byte, Errno) {
	ref, errno := m.bytes(ptr, 8)
	if errno != esuccess {
		return nil, errno
	}
	n := binary.LittleEndian.Uint32(ref[4:])
	if n > addressV2Size {
		return nil, einval
	}
	return m.bytes(uint64(binary.LittleEndian.Uint32(ref)), uint64(n))
}

// address reads the address that a guest passes, with the port beside it.
func (m memory) address(ptr, port uint64) (netip.AddrPort, Errno) {
	b, errno := m.addressBuffer(ptr)
	if errno != esuccess {
		return netip.AddrPort{}, errno
	}
	if uint32(port) > 65535 {
		return netip.AddrPort{}, einval
	}
	if len(b) == addressV2Size {
		switch binary.LittleEndian.Uint16(b) {
		case familyINET:
			b = b[2:6]
		case familyINET6:
			b = b[2:18]
		default:
			return netip.AddrPort{}, eafnosupport
		}
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, einval
	}
	return netip.AddrPortFrom(a, uint16(port)), esuccess
}

// putAddress writes an address into the buffer that ptr leads to; kind is 4 or 6, what version 1 calls its type.
func (m memory) putAddress(ptr uint64, a netip.Addr) (kind uint32, errno Errno) {
	b, errno := m.addressBuffer(ptr)
	if errno != esuccess {
		return 0, errno
	}
	a, kind = a.Unmap(), 4
	family := uint16(familyINET)
	if a.Is6() {
		kind, family = 6, familyINET6
	}
	raw := a.AsSlice()
	if len(b) == addressV2Size {
		clear(b)
		binary.LittleEndian.PutUint16(b, family)
		b = b[2:]
	}
	if len(b) < len(raw) {
		return 0, einval
	}
	copy(b, raw)
	return kind, esuccess
}
