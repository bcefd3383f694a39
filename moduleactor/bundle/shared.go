package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
	"github.com/wazlet/wazlet/moduleactor/bundle/wire"
)

// shared is one shared shim, as a name: the process behind it comes and goes.
//
//	        start ──► link ──► the shim died, by itself or because it was frozen: all its attempts are buried
//	nothing                     │
//	        find ───► link ◄────┘ the next attempt starts another
//	                   └────────► retired: it had no attempts for a while, or is of an older generation and has none
//
// A shim is found again by a daemon that comes back, like any other, but by its own directory instead of the attempt's.
type shared struct {
	rt        *Runtime
	name, dir string

	mu   sync.Mutex
	link *link // nil: not connected
}

// SharedShimError says that a shared shim ended, which nothing but a drain asks of it.
type SharedShimError struct {
	Name string
	PID  int
	// Attempts is how many ended with it.
	Attempts int
	// Err is why, as far as that is known; Said is the end of what it wrote to its log.
	Err  error
	Said string
}

func (e *SharedShimError) Error() string {
	return fmt.Sprintf("shared shim %s (process %d, %d containers): %v %s", e.Name, e.PID, e.Attempts, e.Err, e.Said)
}

func (e *SharedShimError) Unwrap() error { return e.Err }

// ListenFD is the socket of a shared shim, which it inherits.
const ListenFD = 4

// errNoShim is the answer of find when the shared shim does not run.
var errNoShim = errors.New("shared shim does not run")

func (s *shared) logPath() string { return filepath.Join(s.dir, ShimLogFile) }

func (r *Runtime) shim(name string) (*shared, error) {
	dir, err := ShimDir(r.cfg.Root, name)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shims[name]
	if s == nil {
		s = &shared{rt: r, name: name, dir: dir}
		r.shims[name] = s
	}
	return s, nil
}

// connect returns a connection to the shim, which it starts unless it runs. It waits for one that is just dying.
func (s *shared) connect(ctx context.Context) (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		l, err := s.find()
		if errors.Is(err, errNoShim) {
			l, err = s.start()
		}
		if err == nil || !errors.Is(err, ErrBusy) {
			return l, err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to shared shim %s: %w: %w", s.name, err, context.Cause(ctx))
		case <-s.rt.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// found returns a connection to the shim if it runs.
func (s *shared) found() (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find()
}

// find connects to a shim that runs already. errNoShim: none does. ErrBusy: it is between life and death.
func (s *shared) find() (*link, error) {
	if s.link != nil {
		if s.link.alive() {
			return s.link, nil
		}
		if !s.link.dead() {
			return nil, fmt.Errorf("%w: shared shim %s is ending", ErrBusy, s.name)
		}
		s.link = nil
	}
	lock, err := takeLock(s.dir)
	if err == nil {
		_ = lock.Close()
		return nil, errNoShim
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoShim
	}
	if !errors.Is(err, ErrBusy) {
		return nil, err
	}
	who, err := readPID(s.dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	pidfd, err := openPidfd(who)
	if err != nil {
		return nil, fmt.Errorf("%w: process %d: %w", ErrBusy, who.pid, err)
	}
	return s.attach(who.pid, pidfd, nil)
}

// attach makes a connection to the process.
func (s *shared) attach(pid int, pidfd *os.File, child *os.Process) (*link, error) {
	l := newLink(s, pid, pidfd, child)
	conn, err := wire.Dial(s.dir)
	if err != nil {
		// It has a socket as long as it lives, so something is wrong with it. Nobody could end what runs in it.
		l.kill(fmt.Errorf("connect: %w", err))
		return nil, errors.Join(ErrBusy, err, l.reap())
	}
	l.conn = conn
	if err := l.run(); err != nil {
		return nil, err
	}
	s.link = l
	return l, nil
}

// start starts the shim: its lock is taken and its socket made before there is a process.
func (s *shared) start() (*link, error) {
	if err := s.rt.ctx.Err(); err != nil {
		return nil, ErrClosed
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := takeLock(s.dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	child, pidfd, err := s.fork(lock)
	if err != nil {
		return nil, fmt.Errorf("start shared shim %s: %w", s.name, err)
	}
	return s.attach(child.Pid, pidfd, child)
}

func (s *shared) fork(lock *os.File) (*os.Process, *os.File, error) {
	listener, err := wire.Listen(s.dir)
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	out, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer out.Close()
	fd := -1
	child, err := os.StartProcess(s.rt.cfg.Shim, append([]string{s.rt.cfg.Shim, "serve", "--dir", s.dir}, s.rt.serveArgs()...), &os.ProcAttr{
		Dir: s.dir, Env: s.rt.env(), Files: []*os.File{null, out, out, lock, listener}, Sys: shimAttr(&fd),
	})
	if err != nil {
		return nil, nil, err
	}
	pidfd, err := adoptChild(s.dir, child, fd)
	if err == nil {
		s.rt.joinShared(s.name, child.Pid)
	}
	return child, pidfd, err
}

// serveArgs are what all shared shims are started with.
func (r *Runtime) serveArgs() []string {
	return append([]string{"--root", r.cfg.Root, "--cache", r.cfg.CacheDir, "--logs", r.cfg.LogsDir, "--"}, r.cfg.SharedHostPaths...)
}

// adoptChild makes a process known that was just forked. One that nobody could find again is ended.
func adoptChild(dir string, child *os.Process, fd int) (*os.File, error) {
	var pidfd *os.File
	err := errors.New("no pidfd: Linux 5.10 or newer is needed")
	if fd >= 0 {
		if err = syscall.SetNonblock(fd, true); err == nil {
			pidfd = os.NewFile(uintptr(fd), "pidfd")
		}
	}
	var ticks uint64
	if err == nil {
		ticks, err = StartTicks(child.Pid)
	}
	if err == nil {
		err = writePID(dir, procID{pid: child.Pid, startTicks: ticks})
	}
	if err != nil {
		_ = child.Kill()
		_, _ = child.Wait()
		if pidfd != nil {
			_ = pidfd.Close()
		}
		return nil, err
	}
	return pidfd, nil
}

// joinShared gives the shim a cgroup, so that it is counted apart and outside the daemon's own. Each guest in it has limits
// of its own; what bounds them all together is the node's choice, since who goes beyond takes the others along.
func (r *Runtime) joinShared(name string, pid int) {
	if r.cfg.Cgroups == nil {
		return
	}
	cgroup := sharedCgroup(name)
	err := r.cfg.Cgroups.Create(cgroup, Limits{MemoryBytes: r.cfg.SharedMemoryBytes})
	if err == nil {
		err = joinCgroups(r.cfg.Cgroups.Dirs(cgroup), pid)
	}
	if err != nil {
		r.warnCgroup.Do(func() { r.warn(&CgroupError{Err: err}) })
	}
}

func sharedCgroup(name string) string { return "shared/" + name }

// share has the shared shim run the attempt. It is handed all that it cannot open itself.
func (r *Runtime) share(ctx context.Context, p *Process, lock *os.File, sockets []*os.File) (*Process, error) {
	files := []*os.File{lock}
	if p.spec.TTY {
		master, slave, err := pty.Open()
		if err != nil {
			return nil, err
		}
		defer closeAll([]*os.File{master, slave}) // the shim has its own by then
		files = append(files, master, slave)
	}
	files = append(files, sockets...)
	s, err := r.shim(p.spec.Shim)
	if err != nil {
		return nil, err
	}
	l, err := s.enlist(ctx, p)
	if err != nil {
		return nil, err
	}
	if _, err := l.call(wire.Message{Op: wire.Run, Bundle: p.dir}, files...); err != nil {
		l.remove(p)
		return nil, err
	}
	return r.register(p, l)
}

// enlist finds a shim for the attempt, which it keeps from being retired.
func (s *shared) enlist(ctx context.Context, p *Process) (*link, error) {
	for {
		l, err := s.connect(ctx)
		if err == nil {
			err = l.add(p)
		}
		if !errors.Is(err, errRetired) {
			return l, err
		}
	}
}

// adoptShared takes over an attempt whose lock is held and whose spec says that a shared shim runs it.
func (r *Runtime) adoptShared(p *Process) (*Process, error) {
	s, err := r.shim(p.spec.Shim)
	if err != nil {
		return nil, err
	}
	l, err := s.found()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err := l.add(p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	answer, err := l.call(wire.Message{Op: wire.Watch, Bundle: p.dir})
	if err != nil { // it has just ended, or is not there yet
		l.remove(p)
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if !answer.StartedAt.IsZero() {
		p.loadState()
	}
	return r.register(p, l)
}

// register makes an attempt of a shared shim findable.
func (r *Runtime) register(p *Process, l *link) (*Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		l.remove(p)
		return nil, ErrClosed
	}
	if !p.gone.Load() {
		r.live[p.id] = p
	}
	return p, nil
}
