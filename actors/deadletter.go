package actors

import "github.com/asynkron/protoactor-go/actor"

// deadLetter observes messages that found no actor. Protoactor's own protocol (a Watch of a dead actor, for example) is
// no news, and neither are messages that say of themselves that they may be late.
func (s *System) deadLetter(event any) {
	e, ok := event.(*actor.DeadLetterEvent)
	if !ok {
		return
	}
	switch e.Message.(type) {
	case actor.SystemMessage, actor.MailboxMessage, actor.IgnoreDeadLetterLogging:
		return
	}
	s.Observe(DeadLetter{
		Time: s.clock.Now(), Target: e.PID.GetId(), Message: typeName(e.Message), Sender: e.Sender.GetId(),
	})
}
