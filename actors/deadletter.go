package actors

import "github.com/asynkron/protoactor-go/actor"

// deadLetter handles messages that found no actor. It takes the place of protoactor's own subscriber, which logs whole
// messages and starts a goroutine to throttle itself, and keeps its promises: whoever watches an actor that does not
// exist is told so, and whoever asks one is answered.
//
// Protoactor's own protocol (a Stop of a dead actor, for example) is no news, and neither are messages that say of
// themselves that they may be late.
func (s *System) deadLetter(event any) {
	e, ok := event.(*actor.DeadLetterEvent)
	if !ok {
		return
	}
	if m, ok := e.Message.(*actor.Watch); ok {
		watcher, _ := s.engine.ProcessRegistry.Get(m.Watcher)
		watcher.SendSystemMessage(m.Watcher, &actor.Terminated{Who: e.PID, Why: actor.TerminatedReason_NotFound})
	}
	if e.Sender != nil {
		s.engine.Root.Send(e.Sender, &actor.DeadLetterResponse{Target: e.PID})
	}
	switch e.Message.(type) {
	case actor.SystemMessage, actor.MailboxMessage, actor.IgnoreDeadLetterLogging, *actor.DeadLetterResponse:
		return
	}
	s.Observe(DeadLetter{
		Time: s.clock.Now(), Target: e.PID.GetId(), Message: typeName(e.Message), Sender: e.Sender.GetId(),
	})
}
