package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
)

// LifeFD is what `wazlet-shim exec` inherits besides its stdio: the read end of a pipe whose other end only the daemon
// has. The kernel kills the process when that is gone.
const LifeFD = 3

// maxExecs bounds the processes that run in a container beside its own.
const maxExecs = 32

// ErrNotRunning is an attempt that has ended, or is about to.
var ErrNotRunning = errors.New("container is not running")

// ExecOptions are a command to run beside a container's guest, and its streams.
type ExecOptions struct {
	// Args are the command and its arguments, at least one.
	Args []string
	// Stdin may be nil, and may stay open longer than the command runs: its reader is left behind in a last Read.
	Stdin io.Reader
	// Stdout and Stderr may be nil. A Write that blocks makes the command wait; one that fails ends it.
	Stdout, Stderr io.Writer
	// TTY gives the command a terminal instead of pipes; what it prints is all Stdout then.
	TTY bool
	// Resize tells of the terminal's sizes; nil without TTY.
	Resize <-chan pty.Size
}

// Exec runs a command in the sandbox of a running attempt, as a process of its own, and returns its exit code. It ends
// with the attempt, with ctx, with the Runtime and with the daemon, however those end. It returns when the command is
// dead and all it printed is written.
func (r *Runtime) Exec(ctx context.Context, id ID, o ExecOptions) (code int, err error) {
	if len(o.Args) == 0 || o.Args[0] == "" {
		return 0, errors.New("exec: no command")
	}
	for i, a := range o.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return 0, fmt.Errorf("exec: command[%d]: contains a zero byte", i)
		}
	}
	p, err := r.Adopt(ctx, id)
	if err == nil {
		code, err = p.exec(ctx, o)
	}
	if err != nil {
		return 0, fmt.Errorf("exec in %s: %w", id, err)
	}
	return code, nil
}

// execs are the commands that run beside a guest.
type execs struct {
	mu      sync.Mutex
	ended   bool
	running map[*command]struct{}
}

// command is one of them.
type command struct {
	process *os.Process
	pidfd   *os.File
	reaped  chan struct{}
}

// begin starts a command by calling start, unless the attempt is ending. The attempt cannot end unnoticed meanwhile.
func (e *execs) begin(start func() (*command, error)) (*command, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.ended:
		return nil, ErrNotRunning
	case len(e.running) >= maxExecs:
		return nil, fmt.Errorf("%d commands run in the container already; allowed: %d", len(e.running), maxExecs)
	}
	c, err := start()
	if err != nil {
		return nil, err
	}
	if e.running == nil {
		e.running = map[*command]struct{}{}
	}
	e.running[c] = struct{}{}
	return c, nil
}

// remove forgets a command that is dead. It calls last, if no other runs, before another can begin.
func (e *execs) remove(c *command, last func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, c)
	if len(e.running) == 0 {
		last()
	}
	close(c.reaped)
}

// end kills what runs, lets nothing new begin, and waits until all of it is gone.
func (e *execs) end() {
	e.mu.Lock()
	e.ended = true
	var left []*command
	for c := range e.running {
		c.kill()
		left = append(left, c)
	}
	e.mu.Unlock()
	for _, c := range left {
		<-c.reaped
	}
}

func (p *Process) exec(ctx context.Context, o ExecOptions) (int, error) {
	s, err := openStdio(o)
	if err != nil {
		return 0, err
	}
	defer s.close()
	life, held, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer held.Close()
	c, err := p.execs.begin(func() (*command, error) {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		return p.startExec(o, s, life)
	})
	_ = life.Close()
	s.closeChild()
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, c.kill)
	defer stop()
	s.copy(o, c.reaped)
	state, err := c.wait()
	p.execs.remove(c, p.removeExecCgroups)
	s.drain()
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case err != nil:
		return 0, err
	}
	return exitCode(state), nil
}

// startExec starts `wazlet-shim exec`.
func (p *Process) startExec(o ExecOptions, s *stdio, life *os.File) (*command, error) {
	c := &command{reaped: make(chan struct{})}
	pidfd := -1
	attr := &os.ProcAttr{
		Dir: p.dir, Env: p.rt.env(), Files: []*os.File{s.child[0], s.child[1], s.child[2], life}, Sys: shimAttr(&pidfd),
	}
	if o.TTY {
		attr.Sys.Setctty, attr.Sys.Ctty = true, 0
	}
	sum, err := p.spec.Sum()
	if err != nil {
		return nil, err
	}
	args := []string{p.rt.cfg.Shim, "exec", "--bundle", p.dir, "--spec", sum}
	if dirs := p.execCgroups(); len(dirs) > 0 {
		args = append(args, "--cgroups", strings.Join(dirs, string(os.PathListSeparator)))
	}
	args = append(append(args, "--"), o.Args...)
	if c.process, err = os.StartProcess(args[0], args, attr); err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(pidfd, true); err != nil {
		c.kill()
		_, _ = c.process.Wait()
		return nil, fmt.Errorf("pidfd: %w", err)
	}
	c.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	return c, nil
}

// execCgroups makes the cgroup of the commands that run beside a guest in a shared shim, which all have the limits of its
// container together: the shim's own cgroup has none. Beside a guest with a process of its own they join that one's.
func (p *Process) execCgroups() []string {
	if p.spec.Shim == "" {
		return nil
	}
	return p.rt.createCgroups(p.id, Limits{MemoryBytes: p.spec.MemoryBytes, CPUMillicores: p.spec.CPUMillicores})
}

// removeExecCgroups removes what execCgroups made.
func (p *Process) removeExecCgroups() {
	if p.spec.Shim != "" {
		p.rt.removeCgroups(p.rt.cgroupsOf(p.spec))
	}
}

// kill does nothing to a command that has been reaped.
func (c *command) kill() { _ = c.process.Kill() }

// wait parks in the netpoller until the command is dead, and reaps it.
func (c *command) wait() (*os.ProcessState, error) {
	err := awaitDeath(c.pidfd)
	if err != nil {
		c.kill() // it could not be watched
	}
	state, werr := c.process.Wait()
	return state, errors.Join(err, werr, c.pidfd.Close())
}

// exitCode is that of a shell.
func exitCode(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}
