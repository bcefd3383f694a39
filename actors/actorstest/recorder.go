package actorstest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/wazlet/wazlet/actors"
)

// Recorder keeps all events. The zero value is ready; Observe is its Observer. All methods are safe from any goroutine.
type Recorder struct {
	mu     sync.Mutex
	events []actors.Event
	news   chan struct{} // closed at the next event; nil while nobody waits
}

// Observe records e.
func (r *Recorder) Observe(e actors.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	if r.news != nil {
		close(r.news)
		r.news = nil
	}
}

// Events returns everything that was recorded so far.
func (r *Recorder) Events() []actors.Event {
	events, _ := r.from(0, false)
	return slices.Clone(events)
}

// WaitFor returns the first event, past or future, for which match returns true.
func (r *Recorder) WaitFor(ctx context.Context, match func(actors.Event) bool) (actors.Event, error) {
	for seen := 0; ; {
		events, news := r.from(seen, true)
		if i := slices.IndexFunc(events, match); i >= 0 {
			return events[i], nil
		}
		seen += len(events)
		select {
		case <-news:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for an event: none of %d matches: %w", seen, ctx.Err())
		}
	}
}

// WaitForState returns the transition of an actor to a state, past or future.
func (r *Recorder) WaitForState(ctx context.Context, actor, state string) (actors.Transition, error) {
	e, err := r.WaitFor(ctx, func(e actors.Event) bool {
		t, ok := e.(actors.Transition)
		return ok && t.Actor == actor && t.To == state
	})
	if err != nil {
		return actors.Transition{}, fmt.Errorf("state %s of %s: %w", state, actor, err)
	}
	return e.(actors.Transition), nil
}

// from returns the events after the first n, and a channel that is closed when there are more.
func (r *Recorder) from(n int, wait bool) ([]actors.Event, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wait && r.news == nil {
		r.news = make(chan struct{})
	}
	return r.events[n:len(r.events):len(r.events)], r.news
}
