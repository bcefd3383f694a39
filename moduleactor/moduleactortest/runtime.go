package moduleactortest

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// Runtime is a moduleactor.Runtime whose guests live in memory. They survive actors, as shims do: give the same Runtime
// to the actors that come next. All methods are safe from any goroutine.
type Runtime struct {
	Clock actors.Clock
	// Script says what a guest does; nil: it runs until it is signalled.
	Script func(bundle.Spec) Guest
	// OnCompile replaces the compiler; nil: every module compiles at once.
	OnCompile func(ctx context.Context, module, digest string) error

	mu       sync.Mutex
	guests   map[bundle.ID]*Process
	overlaps int
}

// Guest is what one attempt does. The zero value runs until it is signalled.
type Guest struct {
	// StartTook is how long Start takes, StartDeaf that it does not obey its context. StartErr makes it fail.
	StartTook time.Duration
	StartDeaf bool
	StartErr  error
	// EntryTook is the time from the start of the process to _start; negative: _start is never entered.
	EntryTook time.Duration
	// RunFor is how long the guest runs from the start of the process on; zero: until it is signalled. Exit is how it
	// ends then, with the times filled in.
	RunFor time.Duration
	Exit   bundle.Exit
	// Deaf guests ignore SIGTERM.
	Deaf bool
	// Panic names the method that panics: Compile, Start, Started or Wait. WaitErr is what Wait fails with.
	Panic   string
	WaitErr error
}

// Compile implements moduleactor.Runtime.
func (r *Runtime) Compile(ctx context.Context, module, digest string, _ bool) error {
	if r.OnCompile == nil {
		return nil
	}
	return r.OnCompile(ctx, module, digest)
}

// Start implements moduleactor.Runtime.
func (r *Runtime) Start(ctx context.Context, spec bundle.Spec, _ bundle.Limits) (moduleactor.Process, error) {
	var g Guest
	if r.Script != nil {
		g = r.Script(spec)
	}
	if g.StartTook > 0 {
		if err := pause(ctx, r.Clock, g.StartTook, g.StartDeaf); err != nil {
			return nil, err
		}
	}
	if g.StartErr != nil {
		return nil, g.StartErr
	}
	p, err := r.add(spec, g)
	if err != nil {
		return nil, err
	}
	if g.Panic == "Start" {
		panic("runtime: scripted panic in Start, with the process started")
	}
	return p, nil
}

func (r *Runtime) add(spec bundle.Spec, g Guest) (*Process, error) {
	id := bundle.ID{PodUID: spec.PodUID, Container: spec.Container, Attempt: spec.Attempt}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.guests == nil {
		r.guests = map[bundle.ID]*Process{}
	}
	if r.guests[id] != nil {
		return nil, fmt.Errorf("start %s: %w", id, bundle.ErrExists)
	}
	for other, p := range r.guests {
		if other.PodUID == id.PodUID && other.Container == id.Container && p.Alive() {
			r.overlaps++
		}
	}
	p := &Process{clock: r.Clock, spec: spec, guest: g, entered: make(chan struct{}), ended: make(chan struct{})}
	r.guests[id] = p
	p.begin(len(r.guests))
	return p, nil
}

// Adopt implements moduleactor.Runtime.
func (r *Runtime) Adopt(_ context.Context, id bundle.ID) (moduleactor.Process, error) {
	if p := r.Guest(id); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("adopt %s: %w", id, fs.ErrNotExist)
}

// Guest is an attempt that was started; nil if it was not.
func (r *Runtime) Guest(id bundle.ID) *Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.guests[id]
}

// Alive lists the attempts that run, sorted.
func (r *Runtime) Alive() []bundle.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []bundle.ID
	for id, p := range r.guests {
		if p.Alive() {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, compareIDs)
	return out
}

// Overlaps counts the attempts that were started while another one of the same container was alive.
func (r *Runtime) Overlaps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.overlaps
}

// Scan is bundle.Runtime's.
func (r *Runtime) Scan(podUID string) ([]bundle.Found, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	latest := map[string]bundle.Found{}
	for id, p := range r.guests {
		if id.PodUID != podUID {
			continue
		}
		if f, ok := latest[id.Container]; !ok || f.ID.Attempt < id.Attempt {
			latest[id.Container] = p.found(id)
		}
	}
	return slices.SortedFunc(maps.Values(latest), func(a, b bundle.Found) int { return compareIDs(a.ID, b.ID) }), nil
}

// RemoveAttempts forgets the attempts of a container that have ended, but for the latest ones.
func (r *Runtime) RemoveAttempts(podUID, container string, keepLatest int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []bundle.ID
	for id := range r.guests {
		if id.PodUID == podUID && id.Container == container {
			all = append(all, id)
		}
	}
	slices.SortFunc(all, compareIDs)
	for _, id := range all[:max(0, len(all)-keepLatest)] {
		if !r.guests[id].Alive() {
			delete(r.guests, id)
		}
	}
	return nil
}

// RemovePod forgets all attempts of a Pod, or none if one is alive.
func (r *Runtime) RemovePod(podUID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, p := range r.guests {
		if id.PodUID == podUID && p.Alive() {
			return fmt.Errorf("remove pod %s: %w", podUID, bundle.ErrBusy)
		}
	}
	maps.DeleteFunc(r.guests, func(id bundle.ID, _ *Process) bool { return id.PodUID == podUID })
	return nil
}

func compareIDs(a, b bundle.ID) int {
	return cmp.Or(cmp.Compare(a.PodUID, b.PodUID), cmp.Compare(a.Container, b.Container), cmp.Compare(a.Attempt, b.Attempt))
}
