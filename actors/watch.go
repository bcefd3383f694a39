package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// watcher is a process that only waits for another to terminate. It replaces protoactor's futures, which race with
// their own timeouts.
type watcher struct {
	once sync.Once
	gone chan struct{}
}

// SendUserMessage does nothing: nobody knows the watcher's PID but the watched actor.
func (w *watcher) SendUserMessage(*actor.PID, any) {}

// SendSystemMessage takes the news.
func (w *watcher) SendSystemMessage(_ *actor.PID, message any) {
	if _, ok := message.(*actor.Terminated); ok {
		w.once.Do(func() { close(w.gone) })
	}
}

// Stop does nothing.
func (w *watcher) Stop(*actor.PID) {}

// watch returns a channel that is closed when pid has terminated, or did not exist. The caller must call release.
func (s *System) watch(pid *actor.PID) (gone <-chan struct{}, release func()) {
	w := &watcher{gone: make(chan struct{})}
	r := s.engine.ProcessRegistry
	self, _ := r.Add(w, "watch"+r.NextID())
	target, _ := r.Get(pid) // the dead-letter process answers for an actor that does not exist
	target.SendSystemMessage(pid, &actor.Watch{Watcher: self})
	return w.gone, func() {
		select {
		case <-w.gone:
		default:
			target.SendSystemMessage(pid, &actor.Unwatch{Watcher: self})
		}
		r.Remove(self)
	}
}
