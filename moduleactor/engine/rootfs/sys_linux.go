package rootfs

import (
	"unsafe"

	wasys "github.com/tetratelabs/wazero/experimental/sys"
	"golang.org/x/sys/unix"
)

func fdatasync(fd int) error { return unix.Fdatasync(fd) }

// futimens sets the times of an open file. x/sys has no call for it that keeps nanoseconds and needs no path.
func futimens(fd int, atim, mtim int64) error {
	ts := [2]unix.Timespec{toTimespec(atim), toTimespec(mtim)}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0) //nolint:gosec // utimensat(fd, NULL, ts, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func toTimespec(ns int64) unix.Timespec {
	if ns == wasys.UTIME_OMIT {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.NsecToTimespec(ns)
}
