package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/ctl"
	"github.com/wazlet/wazlet/moduleactor/bundle/wire"
	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
	"github.com/wazlet/wazlet/moduleactor/logs"
)

// instance is one attempt in a shared shim. What happens around it is what happens around a process that has one guest:
// the same files, in the same order.
type instance struct {
	server  *server
	dir     string
	attempt *bundle.Attempt
	spec    bundle.Spec
	guest   engine.Guest
	log     *logs.Writer
	ctx     context.Context //nolint:containedctx // ends with the order to stop
	cancel  context.CancelCauseFunc
	signals chan byte // nil unless the guest has asked for them
	drain   wasi.Drain
	// terminated makes the second SIGTERM, of a daemon that was restarted meanwhile, do nothing.
	terminated sync.Once
	// handler is set if the attempt serves HTTP; unserve is what SIGTERM does then.
	handler *handler
	unserve func()

	stdio     stdio
	startedAt atomic.Pointer[time.Time]
	rootless  sync.Once // complains

	mu       sync.Mutex
	watchers []*peer
	// unheard are refusals of which no daemon knows yet.
	unheard unheard
	ended   bool
	// attachable is set once stdio is; clients are those who attach, nil until somebody has.
	attachable bool
	clients    *ctl.Server
}

// What ends an instance's context: how a process would have ended.
var (
	errTerminated = &engine.Stop{Result: engine.Result{Code: codeTerminated, Reason: engine.Reason(bundle.Killed), Message: "terminated by SIGTERM"}}
	errKilled     = &engine.Stop{Result: engine.Result{Code: codeKilled, Reason: engine.Reason(bundle.Killed)}}
)

// begin is a request to run an attempt, and then the attempt itself.
func (s *server) begin(c *peer, m wire.Message, files []*os.File) {
	answer := wire.Message{Seq: m.Seq, Op: m.Op, Bundle: m.Bundle}
	var i *instance
	var err error
	s.disk(func() { i, err = s.accept(m.Bundle, files) })
	if err != nil {
		wire.CloseAll(files)
		answer.Error = err.Error()
		c.send(answer)
		return
	}
	i.watchers = append(i.watchers, c)
	if err := s.enter(i); err != nil {
		i.cancel(nil)
		wire.CloseAll(files)
		answer.Error = err.Error()
		c.send(answer)
		return
	}
	c.send(answer)
	p, err := i.acquire()
	// A stack never shrinks below what is on it. So the guest has a goroutine of its own, with nothing on it but the guest.
	go i.run(p, err)
}

func (s *server) accept(dir string, files []*os.File) (*instance, error) {
	attempt, err := s.host.Attach(dir, files)
	if err != nil {
		return nil, err
	}
	spec := attempt.Spec()
	i := &instance{server: s, dir: dir, attempt: attempt, spec: spec}
	i.guest = engine.Guest{
		Args: spec.Args, Env: spec.Env, Memory: memoryOf(spec), CPU: &engine.CPU{},
		CPUMillicores: spec.CPUMillicores, Entered: i.entered, Drain: &i.drain, Network: guestNetwork(&spec, i.refused),
	}
	limit(&i.guest, spec.GuestLimits)
	switch {
	case spec.Handler != nil:
		drain := make(chan struct{})
		i.unserve = sync.OnceFunc(func() { close(drain) })
		i.handler = &handler{spec: spec, drain: drain, budget: engine.NewBudget(spec.LinearMemory()), entered: i.entered}
	case spec.Signals:
		i.signals = make(chan byte, maxSignals)
		i.guest.Signals = i.signals
	}
	i.ctx, i.cancel = context.WithCancelCause(s.ctx)
	return i, nil
}

// stop kills the guest, or asks it to end as a process's shim does: by a signal if it wants them, otherwise by ending it
// when its clients are served.
func (i *instance) stop(kill bool) {
	if kill {
		i.cancel(errKilled)
		return
	}
	i.terminated.Do(func() {
		switch {
		case i.handler != nil:
			i.unserve()
			return
		case i.signals != nil:
			i.signals <- byte(syscall.SIGTERM) // there is room: nobody else sends
			return
		}
		go func() {
			i.drain.Finish(i.ctx)
			i.cancel(errTerminated)
		}()
	})
}

// acquire prepares all that the guest needs.
func (i *instance) acquire() (*program, error) {
	p, err := i.server.programs.acquire(i.ctx, i.spec)
	if err == nil {
		p.cacheless.Do(func() {
			if err := p.CacheError(); err != nil {
				i.server.complain(i, err)
			}
		})
		i.server.disk(func() { err = i.prepare() })
	}
	return p, err
}

// run runs the guest, unless there is an error, and then does what an ending needs.
func (i *instance) run(p *program, err error) {
	if res, ok := i.unable(err); !ok {
		i.over(p, res)
	} else if i.handler != nil {
		i.over(p, i.serve(p.Program))
	} else {
		i.over(p, p.Run(i.ctx, i.guest))
	}
}

// unable is the result of an attempt that cannot begin, or is to end already; ok: it can.
func (i *instance) unable(err error) (res engine.Result, ok bool) {
	if stop, is := errors.AsType[*engine.Stop](context.Cause(i.ctx)); is {
		return stop.Result, false
	}
	if err != nil {
		return startError(err), false
	}
	return res, true
}

// over is the end of an attempt.
func (i *instance) over(p *program, res engine.Result) {
	defer i.cancel(nil)
	if err := i.server.programs.release(i.server.ctx, p); err != nil {
		i.server.complain(i, err)
	}
	i.end(res)
}

// serve serves HTTP until the attempt is to end.
func (i *instance) serve(p *engine.Program) engine.Result {
	i.handler.guest = i.guest
	res := i.handler.serve(i.ctx, p)
	if stop, ok := errors.AsType[*engine.Stop](context.Cause(i.ctx)); ok {
		return stop.Result
	}
	return res
}

// peak is the most memory that it has had.
func (i *instance) peak() uint64 {
	if i.handler != nil {
		return uint64(i.handler.budget.Peak())
	}
	return i.guest.Memory.Peak()
}

// prepare opens what the guest has of the host.
func (i *instance) prepare() (err error) {
	spec := i.spec
	i.log, err = logs.NewWriter(logs.WriterOptions{Path: spec.Log.Path, MaxBytes: spec.Log.MaxBytes, MaxFiles: spec.Log.MaxFiles, Files: i.server.logs})
	if err != nil {
		return err
	}
	if err := errors.Join(i.openStdio(), i.takeListeners()); err != nil {
		return err
	}
	if len(spec.Mounts) == 0 && i.handler == nil { // whose instances would open it at a time
		// What there is belongs to this attempt alone. Volumes are opened at once: one that is missing is a StartError.
		i.guest.Root = rootfs.Later(i.openRoot)
		return nil
	}
	i.guest.Root, err = i.openRoot()
	return err
}

// takeListeners hands the received sockets to the guest.
func (i *instance) takeListeners() error {
	files, err := i.attempt.TakeListeners()
	for n, f := range files {
		i.guest.Preopens = append(i.guest.Preopens, wasi.Preopen{Name: i.spec.Listeners[n].Name, File: f})
	}
	return err
}

// closeListeners closes them: a guest that was entered has its own.
func (i *instance) closeListeners() {
	for _, p := range i.guest.Preopens {
		_ = p.File.Close()
	}
	i.guest.Preopens = nil
}

func (i *instance) openRoot() (*rootfs.FS, error) {
	root, err := openRoot(i.dir, &i.spec)
	if err != nil {
		// A guest may try again for ever, and the log of the shim has no bound.
		i.rootless.Do(func() { i.server.complain(i, err) })
	}
	return root, err
}

// entered writes state.json and tells of it.
func (i *instance) entered() (err error) {
	i.closeListeners()
	now := time.Now()
	i.startedAt.Store(&now)
	i.server.disk(func() { err = i.attempt.Started(now) })
	if err == nil {
		i.tell(wire.Message{Op: wire.Started, Bundle: i.dir, StartedAt: now})
	}
	return err
}

// refused tells one daemon, the latest, of what was refused to the guest: the next one, if there is none.
func (i *instance) refused(text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range slices.Backward(i.watchers) {
		if c.send(wire.Message{Op: wire.Refused, Bundle: i.dir, Text: text}) {
			return
		}
	}
	i.unheard.add(text)
}

// end records how it ended, frees the lock, and tells of it.
func (i *instance) end(res engine.Result) {
	i.closeListeners()
	i.stdio.drain()
	i.server.disk(func() {
		if i.guest.Root != nil {
			if err := i.guest.Root.Close(); err != nil {
				i.server.complain(i, err)
			}
		}
		if i.log != nil {
			if err := i.log.Close(); err != nil {
				i.server.complain(i, fmt.Errorf("close the log: %w", err))
			}
		}
		e := bundle.Exit{
			Code: res.Code, Reason: bundle.ExitReason(res.Reason), Message: res.Message,
			FinishedAt: time.Now(), PeakMemoryBytes: i.peak(),
			CPUTimeNanos: int64(i.guest.CPU.Used()),
		}
		if at := i.startedAt.Load(); at != nil {
			e.StartedAt = *at
		}
		if err := i.attempt.End(e); err != nil {
			i.server.complain(i, err)
		}
	})
	i.stdio.audience.end()
	i.stdio.close()
	i.server.leave(i)
	if err := i.attempt.Release(); err != nil {
		i.server.complain(i, err)
	}
	i.mu.Lock()
	i.ended = true
	i.mu.Unlock()
	i.tell(wire.Message{Op: wire.Ended, Bundle: i.dir})
}

// watch tells a peer of what comes, and of what has come already.
func (i *instance) watch(c *peer) (time.Time, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return time.Time{}, errNotHere
	}
	i.watchers = append(i.watchers, c)
	i.unheard = slices.DeleteFunc(i.unheard, func(text string) bool {
		return c.send(wire.Message{Op: wire.Refused, Bundle: i.dir, Text: text})
	})
	if at := i.startedAt.Load(); at != nil {
		return *at, nil
	}
	return time.Time{}, nil
}

// tell tells all daemons. Those that are gone are forgotten.
func (i *instance) tell(m wire.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.watchers = slices.DeleteFunc(i.watchers, func(c *peer) bool { return !c.send(m) })
}

func (i *instance) usage() *wire.Usage {
	return &wire.Usage{CPUTimeNanos: int64(i.guest.CPU.Used()), MemoryBytes: i.peak(), PeakMemoryBytes: i.peak()}
}

func (s *server) complain(i *instance, err error) {
	fmt.Fprintf(s.stderr, "wazlet-shim serve: %s: %v\n", i.spec.ID(), err)
}
