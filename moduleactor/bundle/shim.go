package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Attempt is the shim's own side of a bundle. One goroutine uses it.
type Attempt struct {
	dir  string
	spec Spec
	proc procID
	// lock is held until the process exits; in a shared shim until Release. ready is nil when no daemon waits.
	lock  *os.File
	ready *os.File
	// listeners are inherited, and not taken yet. terminal are both ends of one that was received with them.
	listeners, terminal []*os.File
}

// Host is a process that runs attempts of many: a shared shim.
type Host struct {
	name string
	proc procID
	lock *os.File
}

// Serve is the first thing a shared shim does, in its directory: it makes sure that this process is the one incarnation
// (fd 3 is the locked lock file of dir) and writes the pid file.
func Serve(dir string) (*Host, error) {
	a := &Attempt{dir: dir}
	if _, err := a.takeLock(); err != nil {
		return nil, fmt.Errorf("serve %s: %w", dir, err)
	}
	ticks, err := StartTicks(os.Getpid())
	h := &Host{name: filepath.Base(dir), proc: procID{pid: os.Getpid(), startTicks: ticks}, lock: a.lock}
	if err == nil {
		err = writePID(dir, h.proc)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve %s: %w", dir, err), a.lock.Close())
	}
	return h, nil
}

// Attach is Attach for an attempt whose files were received: its locked lock file, both ends of its terminal, if it has one,
// and the sockets of its listeners. They are the Attempt's if there is no error.
func (h *Host) Attach(dir string, files []*os.File) (*Attempt, error) {
	a := &Attempt{dir: dir, proc: h.proc, lock: files[0], listeners: files[1:]}
	if err := h.check(a); err != nil {
		return nil, fmt.Errorf("attach to %s: %w", dir, err)
	}
	return a, nil
}

func (h *Host) check(a *Attempt) error {
	if !isAt(a.lock, filepath.Join(a.dir, LockFile)) {
		return fmt.Errorf("the lock is not that of the attempt: %w", ErrBusy)
	}
	if err := flock(a.lock); err != nil {
		return fmt.Errorf("received lock: %w: %w", ErrBusy, err)
	}
	if err := a.load(); err != nil {
		return err
	}
	if a.spec.Shim != h.name {
		return fmt.Errorf("shim: want %s (got %.80q)", h.name, a.spec.Shim)
	}
	if a.spec.TTY {
		n := min(len(a.listeners), 2)
		a.terminal, a.listeners = a.listeners[:n], a.listeners[n:]
	}
	return nil
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
	inherited, err := a.takeLock()
	if err != nil {
		return err
	}
	if inherited {
		unix.CloseOnExec(ReadyFD)
		a.ready = os.NewFile(ReadyFD, "ready")
	}
	if err := a.load(); err != nil {
		return err
	}
	if a.ready != nil {
		a.inheritListeners()
	}
	ticks, err := StartTicks(os.Getpid())
	if err != nil {
		return err
	}
	a.proc = procID{pid: os.Getpid(), startTicks: ticks}
	return writePID(a.dir, a.proc)
}

// load reads the spec of an attempt that has not ended.
func (a *Attempt) load() error {
	ended, err := exists(a.dir, ExitFile)
	if err != nil {
		return err
	}
	if ended {
		return fmt.Errorf("it has ended: %w", ErrExists)
	}
	a.spec, err = ReadSpec(a.dir)
	return err
}

// takeLock uses the inherited lock if fd 3 is that, and then fd 4 is inherited too. Otherwise the numbers may be anything
// of this process's own.
func (a *Attempt) takeLock() (inherited bool, err error) {
	var fd3, path unix.Stat_t
	if unix.Fstat(LockFD, &fd3) == nil && unix.Stat(filepath.Join(a.dir, LockFile), &path) == nil &&
		fd3.Dev == path.Dev && fd3.Ino == path.Ino {
		unix.CloseOnExec(LockFD)
		a.lock = os.NewFile(LockFD, LockFile)
		if err := flock(a.lock); err != nil {
			return true, fmt.Errorf("inherited lock: %w: %w", ErrBusy, err)
		}
		return true, nil
	}
	a.lock, err = takeLock(a.dir)
	return false, err
}

// inheritListeners takes the sockets that the daemon has bound.
func (a *Attempt) inheritListeners() {
	for i, l := range a.spec.Listeners {
		unix.CloseOnExec(ListenersFD + i)
		a.listeners = append(a.listeners, os.NewFile(uintptr(ListenersFD+i), l.Name))
	}
}

// TakeListeners returns the sockets of the spec's Listeners, which are the caller's to close. It is an error if the daemon
// has not handed them over.
func (a *Attempt) TakeListeners() ([]*os.File, error) {
	if len(a.listeners) != len(a.spec.Listeners) {
		return nil, fmt.Errorf("listeners: want %d sockets from the daemon (got %d)", len(a.spec.Listeners), len(a.listeners))
	}
	files := a.listeners
	a.listeners = nil
	return files, nil
}

// TakeTerminal returns both ends of the received terminal, which are the caller's to close; nil for a spec without one.
func (a *Attempt) TakeTerminal() (master, slave *os.File, err error) {
	if !a.spec.TTY {
		return nil, nil, nil
	}
	if len(a.terminal) != 2 {
		return nil, nil, fmt.Errorf("terminal: want its two ends from the daemon (got %d)", len(a.terminal))
	}
	master, slave = a.terminal[0], a.terminal[1]
	a.terminal = nil
	return master, slave, nil
}

// Spec is the attempt's spec.
func (a *Attempt) Spec() Spec { return a.spec }

// JoinCgroups moves this process into the cgroups of the spec, unless it was born there.
func (a *Attempt) JoinCgroups() error {
	if data, err := ReadSmall("/proc/self/cgroup", make([]byte, 4096)); err == nil && isIn(string(data), a.spec.Cgroups) {
		return nil
	}
	return joinCgroups(a.spec.Cgroups, a.proc.pid)
}

// JoinCgroups moves the calling process into the cgroups of the spec; for who runs a command beside the attempt's guest.
func (s *Spec) JoinCgroups() error { return joinCgroups(s.Cgroups, os.Getpid()) }

// Started writes state.json and then tells the daemon that _start is about to be entered. Spec and state become durable
// beside the guest, which would wait longer for the disk than for everything else.
func (a *Attempt) Started(at time.Time) error {
	if err := WriteState(a.dir, State{PID: a.proc.pid, StartTicks: a.proc.startTicks, StartedAt: at, Shim: a.spec.Shim}); err != nil {
		return err
	}
	if a.spec.Shim != "" {
		return nil // thousands of them would take a thread each
	}
	go func() { _ = syncFiles(a.dir, SpecFile, StateFile) }() // exit.json, which matters, reports a disk that fails
	if a.ready == nil {
		return nil
	}
	_, _ = a.ready.Write([]byte{1}) // the daemon may be gone, which is none of the guest's business
	return unix.SetNonblock(ReadyFD, true)
}

// maxRefusal bounds a text for Refused, in bytes.
const maxRefusal = 512

// Refused tells the daemon that started this shim what was refused to the guest; false: it is gone. It never waits, and may be
// called from any goroutine after Started.
func (a *Attempt) Refused(text string) bool {
	if a.ready == nil {
		return false
	}
	_, err := unix.Write(ReadyFD, []byte(oneLine(text)+"\n"))
	return !errors.Is(err, unix.EPIPE)
}

// oneLine is a text for Refused, or of it, as it may be.
func oneLine(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\n", " "), "?")
	return strings.ToValidUTF8(text[:min(len(text), maxRefusal-1)], "")
}

// End writes exit.json, with the process's CPU time when that is 0 and the message cut to what is allowed. The lock stays
// held until the process exits, so the exit must follow; in a shared shim Release must.
func (a *Attempt) End(e Exit) error {
	if e.CPUTimeNanos == 0 && a.spec.Shim == "" {
		var ru unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err == nil {
			e.CPUTimeNanos = ru.Utime.Nano() + ru.Stime.Nano()
		}
	}
	e.Message = clip(e.Message)
	if a.spec.Shim == "" {
		_ = syncFiles(a.dir, SpecFile) // no ending without what has ended
	}
	return WriteExit(a.dir, e)
}

// Release gives up the lock of an attempt in a shared shim: the attempt is over for everyone.
func (a *Attempt) Release() error {
	closeAll(a.terminal)
	closeAll(a.listeners) // of a guest that was stopped before it had them
	return a.lock.Close()
}
