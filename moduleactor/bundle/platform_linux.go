package bundle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
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

// startIn starts a process in the cgroups, if the kernel lets it: to move one later, which has threads by then, takes a
// grace period of RCU, ten milliseconds or more. A shim that finds itself elsewhere moves by itself, and says why it cannot.
func startIn(cgroups []string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	if len(cgroups) == 0 {
		return os.StartProcess(argv[0], argv, attr)
	}
	if _, err := os.Stat(filepath.Join(cgroups[0], tasksFile)); errors.Is(err, fs.ErrNotExist) {
		return startUnified(cgroups[0], argv, attr)
	}
	type result struct {
		process *os.Process
		err     error
	}
	started := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		_ = enter(cgroups)
		p, err := os.StartProcess(argv[0], argv, attr)
		above := make([]string, len(cgroups))
		for i, dir := range cgroups {
			above[i] = filepath.Dir(filepath.Dir(dir)) // as cgroupName has it; or they could not be removed
		}
		_ = enter(above)
		started <- result{p, err}
	}()
	r := <-started
	return r.process, r.err
}

// startUnified is startIn for a cgroup of version 2.
func startUnified(cgroup string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	dir, err := os.Open(cgroup)
	if err != nil {
		return os.StartProcess(argv[0], argv, attr)
	}
	defer dir.Close()
	attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
	p, err := os.StartProcess(argv[0], argv, attr)
	if err != nil {
		attr.Sys.UseCgroupFD = false
		return os.StartProcess(argv[0], argv, attr)
	}
	return p, nil
}

// tasksFile is where threads join a cgroup of version 1.
const tasksFile = "tasks"

// enter moves the calling thread, alone: that needs no grace period. Its children are born where it is.
func enter(cgroups []string) error {
	for _, dir := range cgroups {
		f, err := os.OpenFile(filepath.Join(dir, tasksFile), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString("0")
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
