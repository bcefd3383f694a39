package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle/ctl"
)

// pollEvery is how often files are looked at whose writer cannot be waited for otherwise: those of a shim that an
// earlier daemon had started but not seen running. It takes milliseconds, and only right after a restart.
const pollEvery = 10 * time.Millisecond

// Process is one attempt, running or ended. Its methods may be called from any goroutine.
type Process struct {
	rt   *Runtime
	id   ID
	dir  string
	spec Spec
	pid  int

	// child is nil for a shim that an earlier daemon started.
	child *os.Process
	pidfd *os.File
	// link is the shared shim that runs it; nil: it has a process of its own, and pidfd.
	link *link
	// ready is the read end of the pipe of a child.
	ready *os.File

	state   atomic.Pointer[State]
	entered chan struct{} // closed once state is set

	// execs are the commands that run beside the guest; none outlives it.
	execs execs

	// exit and err are set before done is closed.
	exit Exit
	err  error
	done chan struct{}
	// gone is set before it is forgotten, so that it is not registered after that.
	gone atomic.Bool
}

func newProcess(rt *Runtime, dir string, spec Spec) *Process {
	return &Process{rt: rt, id: spec.ID(), dir: dir, spec: spec, entered: make(chan struct{}), done: make(chan struct{})}
}

// endedProcess is an attempt that was found dead.
func endedProcess(rt *Runtime, dir string, spec Spec, e Exit) *Process {
	p := newProcess(rt, dir, spec)
	p.loadState()
	p.exit = e
	p.execs.end()
	close(p.done)
	return p
}

// Started blocks until the guest's _start is entered or the attempt has ended; ok is false when it ended without having
// entered it.
func (p *Process) Started(ctx context.Context) (state State, ok bool, err error) {
	select {
	case <-p.entered:
	case <-p.done:
	case <-ctx.Done():
		return State{}, false, fmt.Errorf("wait for the start of %s: %w", p.id, context.Cause(ctx))
	}
	if st := p.state.Load(); st != nil {
		return *st, true, nil
	}
	return State{}, false, p.err
}

// Wait blocks until the attempt has ended. Called again it returns the same. Giving up (ctx) does not end the guest.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.done:
		return p.exit, p.err
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("wait for the end of %s: %w", p.id, context.Cause(ctx))
	}
}

// Signal sends SIGTERM, or SIGKILL when kill. To a process that has ended it does nothing.
func (p *Process) Signal(kill bool) error {
	select {
	case <-p.done:
		return p.err
	default:
	}
	if p.link != nil {
		return p.link.signal(p, kill)
	}
	sig := unix.SIGTERM
	if kill {
		sig = unix.SIGKILL
	}
	var err error
	cerr := control(p.pidfd, func(fd int) { err = pidfdSignal(fd, sig) })
	switch {
	case errors.Is(cerr, os.ErrClosed), errors.Is(err, unix.ESRCH):
		return nil
	case cerr != nil:
		return cerr
	case err != nil:
		return fmt.Errorf("signal %s: %w", p.id, os.NewSyscallError("pidfd_send_signal", err))
	}
	return nil
}

// Spec is the attempt's spec as it was started. Of an attempt whose spec.json is damaged it has the ID alone.
func (p *Process) Spec() Spec { return p.spec }

// PID is the shim's process ID, which many share in a shared shim; 0 when the attempt had ended before it was adopted.
func (p *Process) PID() int { return p.pid }

// run owns a live process from now on: its only goroutine but for the start.
func (p *Process) run() {
	started := make(chan struct{})
	go func() {
		defer close(started)
		if p.ready != nil {
			p.awaitReady()
		} else if p.awaitState() {
			p.hear()
		}
	}()
	err := awaitDeath(p.pidfd)
	p.execs.end()
	if p.rt.ctx.Err() != nil {
		p.err = ErrClosed
	} else {
		p.bury(err)
		p.hearOut(started)
	}
	p.closeFiles()
	p.over()
	<-started
}

// hearOut takes the last words of a shim that is dead. Its pipe has ended, unless somebody else has it.
func (p *Process) hearOut(done <-chan struct{}) {
	if p.ready == nil {
		return
	}
	_ = p.ready.SetReadDeadline(time.Now().Add(lastWords))
	<-done
}

// lastWords is far more than it takes to read a pipe.
const lastWords = time.Second

// over tells everyone that the attempt has ended.
func (p *Process) over() {
	p.gone.Store(true)
	p.rt.forget(p)
	close(p.done)
}

func (p *Process) closeFiles() {
	if p.ready != nil {
		_ = p.ready.Close()
	}
	_ = p.pidfd.Close()
}

// release makes run return although the shim lives. A shared shim's link does that for all it runs.
func (p *Process) release() {
	if p.pidfd != nil {
		_ = p.pidfd.SetReadDeadline(time.Unix(1, 0))
	}
}

// awaitReady waits for the byte that a shim sends after it has written state.json, and then takes what it says of the guest,
// line by line, until it is dead or the Runtime is closed.
func (p *Process) awaitReady() {
	var b [1]byte
	if _, err := io.ReadFull(p.ready, b[:]); err != nil {
		return // it died, or the runtime was closed
	}
	p.entry()
	var rest []byte
	for buf := make([]byte, maxRefusal); ; {
		n, err := p.ready.Read(buf)
		if err != nil {
			return
		}
		rest = append(rest, buf[:n]...)
		for {
			line, more, ok := bytes.Cut(rest, []byte("\n"))
			if !ok {
				break
			}
			p.rt.refused(p, string(line))
			rest = more
		}
		if len(rest) > maxRefusal {
			rest = nil // no shim of ours writes such lines
		}
	}
}

// entry is told that state.json is written.
func (p *Process) entry() {
	if !p.loadState() {
		p.setState(State{PID: p.pid, StartedAt: p.rt.now()})
	}
}

// awaitState waits until the guest runs; false: it never will.
func (p *Process) awaitState() bool {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for !p.loadState() {
		select {
		case <-p.done:
			return false
		case <-t.C:
		}
	}
	return true
}

// hear takes what the shim says of the guest, as awaitReady does, from one that an earlier daemon started: by a connection,
// until it is dead or the Runtime is closed. A shim of an older release has nothing to say.
func (p *Process) hear() {
	request := ctl.Request{Version: ctl.Version, Verb: ctl.Refusals}
	c, err := ctl.Dial(p.rt.ctx, p.dir, request, nil)
	for errors.Is(err, context.DeadlineExceeded) { // its guest keeps it from everything
		c, err = ctl.Dial(p.rt.ctx, p.dir, request, nil)
	}
	if err != nil {
		return
	}
	defer c.Close()
	defer context.AfterFunc(p.rt.ctx, func() { _ = c.Close() })()
	for {
		kind, text, err := c.ReadFrame()
		if err != nil {
			return
		}
		if kind == ctl.Refusal {
			p.rt.refused(p, oneLine(string(text)))
		}
	}
}

func (p *Process) loadState() bool {
	st, err := ReadState(p.dir)
	if err == nil {
		p.setState(st)
	}
	return err == nil
}

func (p *Process) setState(st State) {
	if p.state.CompareAndSwap(nil, &st) {
		close(p.entered)
	}
}

// bury reaps the shim and records how the attempt ended.
func (p *Process) bury(werr error) {
	d := death{at: p.rt.now()}
	if werr != nil { // the pidfd cannot be waited on, which no supported kernel does
		p.rt.warn(fmt.Errorf("watch %s: %w", p.id, werr))
	}
	if p.child != nil {
		if st, err := p.child.Wait(); err == nil { // it is dead, so this does not block
			d.state = st
		}
	}
	d.usage = p.rt.usage(p.spec.Cgroups)
	p.settle(d)
}

// settle records how the attempt ended.
func (p *Process) settle(d death) {
	lock, err := p.rt.lockDead(p.dir)
	if err != nil {
		// The directory was removed under the shim, or the runtime is being closed.
		p.exit = d.synthesize(p.dir)
		p.rt.warn(fmt.Errorf("record the end of %s: %w", p.id, err))
		return
	}
	defer lock.Close()
	p.loadState()
	p.exit, err = settle(p.dir, d)
	if err != nil {
		p.rt.warn(fmt.Errorf("record the end of %s: %w", p.id, err))
	}
	p.rt.removeCgroups(p.rt.cgroupsOf(p.spec))
}
