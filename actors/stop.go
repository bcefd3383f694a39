package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// errQuiet is what a simulation returns instead of waiting for ever.
var errQuiet = errors.New("nothing is left to run that could bring it about")

// StopTree stops an actor with all below it and waits until it has stopped or ctx is done. No kill exists: an actor that
// is blocked in a handler keeps all its ancestors from stopping, so the error lists who still runs, and what it does.
func (s *System) StopTree(ctx context.Context, pid *actor.PID) error {
	gone, release := s.watch(pid)
	defer release()
	s.engine.Root.Stop(pid)
	if err := s.wait(ctx, gone); err != nil {
		return fmt.Errorf("stop %s: %w; still running: %s", pid.GetId(), err,
			strings.Join(s.stragglers(pid.GetId()), ", "))
	}
	return nil
}

// wait blocks until done is closed, or steps a simulation until then.
func (s *System) wait(ctx context.Context, done <-chan struct{}) error {
	if s.stepper != nil {
		if s.stepUntil(done, false) {
			return nil
		}
		return errQuiet
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stragglers describes the actors at and below id, the deepest first: a parent only waits for them.
func (s *System) stragglers(id string) []string {
	now := s.clock.Now()
	var out []string
	for _, i := range slices.Backward(s.registry.Snapshot()) {
		if i.ID != id && !strings.HasPrefix(i.ID, id+"/") {
			continue
		}
		if i.Handling == nil {
			out = append(out, i.ID)
			continue
		}
		out = append(out, fmt.Sprintf("%s (handling %s for %s)", i.ID, i.Handling.Message,
			now.Sub(i.Handling.Since).Round(time.Millisecond)))
	}
	return out
}
