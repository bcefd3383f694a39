package image

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// flights shares work between callers that want the same at the same time. Unlike x/sync/singleflight, the work ends when
// the last caller has lost interest, and only then.
type flights[V any] struct {
	mu   sync.Mutex
	byID map[string]*flight[V]
}

type flight[V any] struct {
	cancel  context.CancelFunc
	done    chan struct{}
	waiters int // guarded by flights.mu; 0 once canceled
	value   V   // set before done is closed
	err     error
}

// do returns what work returns, from this call or from one under way. When ctx ends and nobody else waits, the work is
// canceled and do waits until it has stopped.
func (g *flights[V]) do(ctx context.Context, id string, work func(context.Context) (V, error)) (V, error) {
	for {
		f := g.join(ctx, id, work)
		if f.waiters == 0 { // somebody's canceled flight: wait for its end, then start our own
			select {
			case <-f.done:
				continue
			case <-ctx.Done():
				var none V
				return none, ctx.Err()
			}
		}
		return g.wait(ctx, f.flight)
	}
}

// joined is a flight and the number of its waiters when it was joined.
type joined[V any] struct {
	*flight[V]
	waiters int
}

func (g *flights[V]) join(ctx context.Context, id string, work func(context.Context) (V, error)) joined[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, ok := g.byID[id]; ok {
		if f.waiters > 0 {
			f.waiters++
		}
		return joined[V]{f, f.waiters}
	}
	// The work outlives the caller that began it as long as others wait.
	shared, cancel := context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // fly and wait cancel it
	f := &flight[V]{cancel: cancel, done: make(chan struct{}), waiters: 1}
	if g.byID == nil {
		g.byID = map[string]*flight[V]{}
	}
	g.byID[id] = f
	go g.fly(shared, id, f, work)
	return joined[V]{f, 1}
}

func (g *flights[V]) fly(ctx context.Context, id string, f *flight[V], work func(context.Context) (V, error)) {
	defer func() {
		if p := recover(); p != nil {
			f.err = fmt.Errorf("crash: %v\n%s", p, debug.Stack())
		}
		f.cancel()
		g.mu.Lock()
		delete(g.byID, id)
		g.mu.Unlock()
		close(f.done)
	}()
	f.value, f.err = work(ctx)
}

func (g *flights[V]) wait(ctx context.Context, f *flight[V]) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	f.waiters--
	last := f.waiters == 0
	g.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
	var none V
	return none, ctx.Err()
}
