package moduleactortest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// Process is a guest in memory.
type Process struct {
	clock actors.Clock
	spec  bundle.Spec
	guest Guest
	pid   int

	entered, ended chan struct{} // closed when it happens

	mu      sync.Mutex
	started time.Time
	exit    bundle.Exit
	signals []string
}

func (p *Process) begin(pid int) {
	p.pid = pid
	if p.guest.EntryTook >= 0 {
		p.clock.AfterFunc(p.guest.EntryTook, p.enter)
	}
	if p.guest.RunFor > 0 {
		p.clock.AfterFunc(p.guest.RunFor, func() { p.End(p.guest.Exit) })
	}
}

func (p *Process) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Alive() {
		p.started = p.clock.Now()
		close(p.entered)
	}
}

// End ends the guest as x says; one that has ended stays as it is.
func (p *Process) End(x bundle.Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Alive() {
		return
	}
	x.StartedAt, x.FinishedAt = p.started, p.clock.Now()
	p.exit = x
	close(p.ended)
}

// Alive tells whether the guest has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Signals are those that were sent while the guest was alive.
func (p *Process) Signals() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.signals)
}

// Started implements moduleactor.Process.
func (p *Process) Started(ctx context.Context) (state bundle.State, ok bool, err error) {
	if p.guest.Panic == "Started" {
		panic("process: scripted panic in Started")
	}
	select {
	case <-p.entered:
	case <-p.ended:
	case <-ctx.Done():
		return bundle.State{}, false, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started.IsZero() {
		return bundle.State{}, false, nil
	}
	return bundle.State{PID: p.pid, StartedAt: p.started}, true, nil
}

// Wait implements moduleactor.Process.
func (p *Process) Wait(ctx context.Context) (bundle.Exit, error) {
	if p.guest.Panic == "Wait" {
		panic("process: scripted panic in Wait")
	}
	if p.guest.WaitErr != nil {
		return bundle.Exit{}, p.guest.WaitErr
	}
	select {
	case <-p.ended:
		return p.exit, nil
	case <-ctx.Done():
		return bundle.Exit{}, ctx.Err()
	}
}

// Signal implements moduleactor.Process.
func (p *Process) Signal(kill bool) error {
	name, code := "SIGTERM", int32(143)
	if kill {
		name, code = "SIGKILL", 137
	}
	p.mu.Lock()
	if p.Alive() {
		p.signals = append(p.signals, name)
	}
	p.mu.Unlock()
	if kill || !p.guest.Deaf {
		p.End(bundle.Exit{Code: code, Reason: bundle.Killed})
	}
	return nil
}

// Spec implements moduleactor.Process.
func (p *Process) Spec() bundle.Spec { return p.spec }

func (p *Process) found(id bundle.ID) bundle.Found {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := bundle.Found{ID: id, Spec: p.spec, Alive: p.Alive()}
	if !p.started.IsZero() {
		f.State = &bundle.State{PID: p.pid, StartedAt: p.started}
	}
	if !f.Alive {
		x := p.exit
		f.Exit = &x
	}
	return f
}
