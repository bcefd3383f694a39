package bundle

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// processTime is what all threads of a process have used of processors, those that have ended included. It is the clock
// that clock_getcpuclockid(3) names, in nanoseconds where /proc/PID/stat has hundredths of a second.
func processTime(pid int) (time.Duration, error) {
	const perProcessScheduler = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|perProcessScheduler), &t); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(t.Nano()), nil
}
