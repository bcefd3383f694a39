package actors

import (
	"context"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
)

// ErrNoActor is returned by Ask when the actor does not exist, or stopped before it answered.
var ErrNoActor = errors.New("no such actor")

// Ask sends the message that mk makes around a reply channel and waits for the reply. The channel has room for one
// value, so the actor that answers never blocks, whether or not anyone still waits. Never call it from an actor.
func Ask[T any](ctx context.Context, s *System, pid *actor.PID, mk func(chan<- T) any) (T, error) {
	reply := make(chan T, 1)
	gone, release := s.watch(pid)
	defer release()
	s.engine.Root.Send(pid, mk(reply))
	if s.stepper != nil {
		for len(reply) == 0 && s.stepper.Step(false) {
			continue
		}
	}
	var zero T
	select {
	case v := <-reply:
		return v, nil
	case <-ctx.Done():
		return zero, fmt.Errorf("ask %s: %w", pid.GetId(), ctx.Err())
	case <-gone:
	}
	select {
	case v := <-reply: // answered as the last thing it did
		return v, nil
	default:
		return zero, fmt.Errorf("ask %s: %w", pid.GetId(), ErrNoActor)
	}
}
