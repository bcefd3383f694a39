package wasi

import "encoding/binary"

// stringsGet writes the pointers to the first argument and the strings to the second.
func (c call) stringsGet(list [][]byte) Errno {
	pointers, errno := c.mem.bytes(c.a[0], uint64(len(list))*4)
	if errno != esuccess {
		return errno
	}
	at := uint32(c.a[1])
	buf, errno := c.mem.bytes(uint64(at), total(list))
	if errno != esuccess {
		return errno
	}
	for i, s := range list {
		binary.LittleEndian.PutUint32(pointers[i*4:], at)
		n := copy(buf, s)
		buf, at = buf[n:], at+uint32(n)
	}
	return esuccess
}

func (c call) sizesGet(list [][]byte) Errno {
	if errno := c.mem.putU32(c.a[0], uint32(len(list))); errno != esuccess {
		return errno
	}
	return c.mem.putU32(c.a[1], uint32(total(list)))
}

func total(list [][]byte) (n uint64) {
	for _, s := range list {
		n += uint64(len(s))
	}
	return n
}
