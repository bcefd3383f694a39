package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine"
)

// programs are the modules of a shared shim: one for all attempts that have the same digest and limit of tables, which is
// part of the code, from the first's start to the last's end.
type programs struct {
	mu    sync.Mutex
	known map[programKey]*program
}

type programKey struct {
	digest string
	tables int
}

type program struct {
	key    programKey
	users  int           // guarded by programs.mu
	loaded chan struct{} // closed once the rest is set
	module *module
	*engine.Program
	err       error
	cacheless sync.Once // complains
}

// loadTimeout bounds a compilation here, which there is only if the daemon's compiler left nothing in the cache: it takes
// CPU time of all guests.
const loadTimeout = 2 * time.Minute

var errLoadTimeout = fmt.Errorf("it takes more than %s", loadTimeout)

func newPrograms() *programs { return &programs{known: map[programKey]*program{}} }

// acquire returns the program of a spec, loaded. The caller must release it, also after an error.
func (ps *programs) acquire(ctx context.Context, spec bundle.Spec) (*program, error) {
	key := programKey{spec.ModuleDigest, spec.GuestLimits.TableElements}
	ps.mu.Lock()
	p, first := ps.known[key], false
	if p == nil {
		p, first = &program{key: key, loaded: make(chan struct{})}, true
		ps.known[key] = p
	}
	p.users++
	ps.mu.Unlock()
	if first {
		// Whoever else waits for it must get it, also when this attempt is stopped meanwhile.
		p.err = p.load(context.WithoutCancel(ctx), spec)
		close(p.loaded)
	}
	select {
	case <-p.loaded:
		return p, p.err
	case <-ctx.Done():
		return p, context.Cause(ctx)
	}
}

func (p *program) load(ctx context.Context, spec bundle.Spec) (err error) {
	if p.module, err = openModule(spec.Module); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, loadTimeout, errLoadTimeout)
	defer cancel()
	p.Program, err = engine.Load(ctx, sourceOf(spec, p.module, true))
	p.module.forget()
	return err
}

// release closes the program when nobody uses it any more. One that could not be loaded is tried again by the next.
func (ps *programs) release(ctx context.Context, p *program) error {
	ps.mu.Lock()
	p.users--
	last := p.users == 0
	if last && ps.known[p.key] == p {
		delete(ps.known, p.key)
	}
	ps.mu.Unlock()
	if !last {
		return nil
	}
	<-p.loaded // an attempt that was stopped may have left the loading to nobody but its goroutine, which is this one
	var errs []error
	if p.Program != nil {
		errs = append(errs, p.Close(ctx))
	}
	if p.module != nil {
		if err := unix.Munmap(p.module.bytes); err != nil {
			errs = append(errs, fmt.Errorf("unmap the module: %w", err))
		}
	}
	return errors.Join(errs...)
}
