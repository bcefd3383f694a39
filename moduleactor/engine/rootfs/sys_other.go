//go:build !linux

package rootfs

import (
	wasys "github.com/tetratelabs/wazero/experimental/sys"
	"golang.org/x/sys/unix"
)

func fdatasync(fd int) error { return unix.Fsync(fd) }

// futimens sets the times of an open file, to microseconds.
func futimens(fd int, atim, mtim int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	tv := []unix.Timeval{unix.NsecToTimeval(unix.TimespecToNsec(st.Atim)), unix.NsecToTimeval(unix.TimespecToNsec(st.Mtim))}
	for i, ns := range []int64{atim, mtim} {
		if ns != wasys.UTIME_OMIT {
			tv[i] = unix.NsecToTimeval(ns)
		}
	}
	return unix.Futimes(fd, tv)
}
