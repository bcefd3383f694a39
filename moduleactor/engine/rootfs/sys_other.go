//go:build !linux

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

// futimens sets the times of an open file, to microseconds.
func futimens(fd int, atim, mtim int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	tv := []unix.Timeval{unix.NsecToTimeval(unix.TimespecToNsec(st.Atim)), unix.NsecToTimeval(unix.TimespecToNsec(st.Mtim))}
	for i, ns := range []int64{atim, mtim} {
		if ns != Omit {
			tv[i] = unix.NsecToTimeval(ns)
		}
	}
	return unix.Futimes(fd, tv)
}

// utimensat sets the times of a name, not following it.
func utimensat(dir int, base string, atim, mtim int64) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	ts := []unix.Timespec{st.Atim, st.Mtim}
	for i, ns := range []int64{atim, mtim} {
		if ns != Omit {
			ts[i] = unix.NsecToTimespec(ns)
		}
	}
	return unix.UtimesNanoAt(dir, base, ts, unix.AT_SYMLINK_NOFOLLOW)
}
