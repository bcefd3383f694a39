package bundle

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Attempt is the shim's own side of a bundle. One goroutine uses it.
type Attempt struct {
	dir  string
	spec Spec
	proc procID
	// lock is held until the process exits. ready is nil when no daemon waits.
	lock  *os.File
	ready *os.File
}

// Attach is the first thing a shim does: it makes sure that this process is the one incarnation of the attempt in dir
// (fd 3 is its locked lock file, or, when the shim was started by hand, the lock can be taken), refuses an attempt that
// has an exit.json, reads the spec, writes the pid file, and keeps fds 3 and 4 from leaking further. ErrBusy and
// ErrExists can be matched. After an error the shim should exit with a message on stderr; a daemon that waits makes a
// StartError of it.
func Attach(dir string) (*Attempt, error) {
	a := &Attempt{dir: dir}
	if err := a.attach(); err != nil {
		if a.lock != nil {
			_ = a.lock.Close()
		}
		return nil, fmt.Errorf("attach to %s: %w", dir, err)
	}
	return a, nil
}

func (a *Attempt) attach() error {
	if err := a.takeLock(); err != nil {
		return err
	}
	ended, err := exists(a.dir, ExitFile)
	if err != nil {
		return err
	}
	if ended {
		return fmt.Errorf("it has ended: %w", ErrExists)
	}
	if a.spec, err = ReadSpec(a.dir); err != nil {
		return err
	}
	ticks, err := StartTicks(os.Getpid())
	if err != nil {
		return err
	}
	a.proc = procID{pid: os.Getpid(), startTicks: ticks}
	return writePID(a.dir, a.proc)
}

// takeLock uses the inherited lock if fd 3 is that, and then fd 4 is the pipe. Otherwise the numbers may be anything of
// this process's own.
func (a *Attempt) takeLock() error {
	var fd3, path unix.Stat_t
	if unix.Fstat(LockFD, &fd3) == nil && unix.Stat(filepath.Join(a.dir, LockFile), &path) == nil &&
		fd3.Dev == path.Dev && fd3.Ino == path.Ino {
		unix.CloseOnExec(LockFD)
		unix.CloseOnExec(ReadyFD)
		a.lock = os.NewFile(LockFD, LockFile)
		a.ready = os.NewFile(ReadyFD, "ready")
		if err := flock(a.lock); err != nil {
			return fmt.Errorf("inherited lock: %w: %w", ErrBusy, err)
		}
		return nil
	}
	lock, err := takeLock(a.dir)
	a.lock = lock
	return err
}

// Spec is the attempt's spec.
func (a *Attempt) Spec() Spec { return a.spec }

// JoinCgroups moves this process into the cgroups of the spec.
func (a *Attempt) JoinCgroups() error { return joinCgroups(a.spec.Cgroups, a.proc.pid) }

// JoinCgroups moves the calling process into the cgroups of the spec; for who runs a command beside the attempt's guest.
func (s *Spec) JoinCgroups() error { return joinCgroups(s.Cgroups, os.Getpid()) }

// Started writes state.json and then tells the daemon that _start is about to be entered. The state becomes durable beside
// the guest, which would wait longer for the disk than for everything else: after a power cut it only tells when the
// guest had started.
func (a *Attempt) Started(at time.Time) error {
	if err := WriteState(a.dir, State{PID: a.proc.pid, StartTicks: a.proc.startTicks, StartedAt: at}); err != nil {
		return err
	}
	go func() { _ = syncFile(a.dir, StateFile) }() // exit.json, which matters, reports a disk that fails
	if a.ready == nil {
		return nil
	}
	_, _ = a.ready.Write([]byte{1}) // the daemon may be gone, which is none of the guest's business
	return a.ready.Close()
}

// End writes exit.json, with the process's CPU time when that is 0 and the message cut to what is allowed. The lock stays
// held until the process exits, so the exit must follow.
func (a *Attempt) End(e Exit) error {
	if e.CPUTimeNanos == 0 {
		var ru unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err == nil {
			e.CPUTimeNanos = ru.Utime.Nano() + ru.Stime.Nano()
		}
	}
	e.Message = clip(e.Message)
	return WriteExit(a.dir, e)
}
