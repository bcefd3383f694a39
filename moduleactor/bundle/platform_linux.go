package bundle

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// platform says why shims cannot be run here; nil: they can.
func platform() error { return nil }

func pidfdOpen(pid int) (int, error) { return unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK) }

func pidfdSignal(pidfd int, sig unix.Signal) error { return unix.PidfdSendSignal(pidfd, sig, nil, 0) }

// shimAttr makes a shim the leader of its own session, and gets its pidfd.
func shimAttr(pidfd *int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, PidFD: pidfd}
}
