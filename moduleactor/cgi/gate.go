package cgi

import (
	"context"
	"errors"
)

// errFull is a queue that is full.
var errFull = errors.New("the queue is full")

// gate lets a bounded number in, and lets a bounded number wait. Who waits is served in order.
type gate struct{ slots, queue chan struct{} }

func newGate(slots, queue int) gate {
	return gate{slots: make(chan struct{}, slots), queue: make(chan struct{}, queue)}
}

// enter waits for a slot, which must be left. It fails with errFull or because ctx ended.
func (g gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case g.queue <- struct{}{}:
	default:
		return errFull
	}
	defer func() { <-g.queue }()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) leave() { <-g.slots }
