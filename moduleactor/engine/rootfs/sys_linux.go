package rootfs

import (
	"io/fs"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fromInfo is what the kernel said, without asking again.
func fromInfo(info fs.FileInfo) unix.Stat_t {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return unix.Stat_t{}
	}
	return *(*unix.Stat_t)(unsafe.Pointer(st)) //nolint:gosec // two names of one structure of the kernel
}

// futimens sets the times of an open file. x/sys has no call for it that keeps nanoseconds and needs no path.
func futimens(fd int, atim, mtim int64) error {
	ts := timespecs(atim, mtim)
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0) //nolint:gosec // utimensat(fd, NULL, ts, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// utimensat sets the times of a name, not following it.
func utimensat(dir int, base string, atim, mtim int64) error {
	ts := timespecs(atim, mtim)
	return unix.UtimesNanoAt(dir, base, ts[:], unix.AT_SYMLINK_NOFOLLOW)
}

func timespecs(atim, mtim int64) (ts [2]unix.Timespec) {
	for i, ns := range []int64{atim, mtim} {
		ts[i] = unix.Timespec{Nsec: unix.UTIME_OMIT}
		if ns != Omit {
			ts[i] = unix.NsecToTimespec(ns)
		}
	}
	return ts
}
