package engine

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// threadCPU is the CPU time of the calling thread, and the thread. Go must not move the goroutine between the two questions:
// the difference of the clocks of two threads may be hours, which the guest would be charged with.
func threadCPU() (thread int, used time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, 0
	}
	return unix.Gettid(), time.Duration(t.Nano())
}
