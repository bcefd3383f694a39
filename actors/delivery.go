package actors

import (
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// delivery carries the message of a worker or timer to the instance that wanted it. PIDs and mailboxes survive restarts,
// and a PID may even name another actor by the time a timer fires, so it holds the mailbox and the number of the start.
type delivery struct {
	message any
	start   uint64
	void    *atomic.Bool // nobody waits for it any more
}

// stale tells whether the instance of h that runs now is not the one that waits, or does not wait any longer.
func (d *delivery) stale(h *Handle) bool { return d.void.Load() || d.start != h.starts.Load() }

// mailto makes a function that sends to the running instance of self, unless void is set until the message is handled.
// An actor that was not spawned with Props is sent to by name.
func (s *System) mailto(self *actor.PID, void *atomic.Bool) func(message any) {
	h := s.registry.Lookup(self.GetId())
	if h == nil {
		return func(message any) {
			if !void.Load() {
				s.engine.Root.Send(self, message)
			}
		}
	}
	box, start := h.mailbox.Load(), h.starts.Load()
	return func(message any) {
		if !void.Load() {
			box.PostUserMessage(&delivery{message: message, start: start, void: void})
		}
	}
}
