//go:build !linux

package bundle

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// platform says why shims cannot be run here. Without pidfds nobody could tell a shim from a process that got its pid
// later, so there is no Runtime, and what follows is never reached.
func platform() error { return fmt.Errorf("a node needs Linux (this is %s)", runtime.GOOS) }

func pidfdOpen(int) (int, error) { return -1, unix.ENOSYS }

func pidfdSignal(int, unix.Signal) error { return unix.ENOSYS }

func shimAttr(*int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func startIn(_ []string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	return os.StartProcess(argv[0], argv, attr)
}
