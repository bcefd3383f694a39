package wasi

import (
	"runtime"
	"time"
)

// The clocks. Those of the CPU time are not provided.
const (
	clockRealtime  = 0
	clockMonotonic = 1
	clockProcess   = 2
	clockThread    = 3
)

// clock reads a clock, in nanoseconds.
func (in *Instance) clock(id uint32) (uint64, Errno) {
	switch id {
	case clockRealtime:
		return uint64(max(time.Now().UnixNano(), 0)), esuccess
	case clockMonotonic:
		return uint64(time.Since(in.start)), esuccess
	case clockProcess, clockThread:
		return 0, enotsup
	default:
		return 0, einval
	}
}

func (c call) clockResGet() Errno {
	if _, errno := c.clock(uint32(c.a[0])); errno != esuccess {
		return errno
	}
	return c.mem.putU64(c.a[1], 1)
}

func (c call) clockTimeGet() Errno {
	t, errno := c.clock(uint32(c.a[0]))
	if errno != esuccess {
		return errno
	}
	return c.mem.putU64(c.a[2], t)
}

func (c call) schedYield() Errno {
	runtime.Gosched()
	return esuccess
}

// procRaise could only end the guest, which has no signals of its own.
func (c call) procRaise() Errno { return enosys }
