package actors

import (
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// After sends msg to the actor self after d (at once if d is not positive), unless cancel was called before the message is handled, or the actor was
// restarted or stopped meanwhile; it is never a dead letter. Call it from a handler of the actor itself. Messages
// nevertheless carry a generation: the rule that a late timer must do no harm is the machine's, not this function's.
func (s *System) After(self *actor.PID, d time.Duration, msg any) (cancel func()) {
	var void atomic.Bool
	send := s.mailto(self, &void)
	if d <= 0 {
		s.run(func() { send(msg) })
		return func() { void.Store(true) }
	}
	// The message is sent from a function of its own: a fake clock holds its lock while it calls back, and whoever
	// takes the message asks for the time.
	t := s.clock.AfterFunc(d, func() { s.run(func() { send(msg) }) })
	return func() {
		void.Store(true)
		t.Stop()
	}
}
