package wasi

import "crypto/rand"

// randomChunk is how much is made before it is looked whether the guest is to stop.
const randomChunk = 1 << 20

func (c call) randomGet() Errno {
	buf, errno := c.mem.bytes(c.a[0], c.a[1])
	if errno != esuccess {
		return errno
	}
	for len(buf) > 0 {
		c.check()
		n := min(len(buf), randomChunk)
		random(buf[:n])
		buf = buf[n:]
	}
	return esuccess
}

func random(buf []byte) { _, _ = rand.Read(buf) } // it never fails
