package cgi

import "context"

// pool keeps instances ready, so that a request of an idle handler finds one.
type pool struct {
	instantiate Instantiate
	ready       chan Instance
	// wake says that one was taken, or that memory was given back.
	wake chan struct{}
}

func newPool(instantiate Instantiate, size int) *pool {
	return &pool{instantiate: instantiate, ready: make(chan Instance, size), wake: make(chan struct{}, 1)}
}

// take returns an instance that is ready, or makes one.
func (p *pool) take(ctx context.Context) (Instance, error) {
	select {
	case i := <-p.ready:
		return i, nil
	default:
		return p.instantiate(ctx)
	}
}

// nudge tells fill to look.
func (p *pool) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// fill keeps the pool full until ctx ends, then closes what is in it. It is the only one to put anything into it. What
// cannot be made now is tried again at the next nudge.
func (p *pool) fill(ctx context.Context) {
	defer p.empty()
	for {
		for len(p.ready) < cap(p.ready) && ctx.Err() == nil {
			i, err := p.instantiate(ctx)
			if err != nil {
				break
			}
			p.ready <- i
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (p *pool) empty() {
	for {
		select {
		case i := <-p.ready:
			i.Close()
		default:
			return
		}
	}
}
