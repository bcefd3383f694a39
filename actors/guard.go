package actors

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/asynkron/protoactor-go/actor"
)

// ErrHalting is what spawning a child returns in an actor that is stopping or about to be restarted: nobody would ever
// stop such a child.
var ErrHalting = errors.New("spawn: the parent is stopping or restarting")

// errGoexit stands for the value of a panic when a handler or worker ended its goroutine instead.
var errGoexit = errors.New("runtime.Goexit was called")

// guard is the armour of one actor, across its restarts. Its fields belong to the goroutine that runs the actor's
// mailbox. It sits at three places: armed before the actor's context (system messages, panics), middleware before
// Receive (lifecycle messages), and spawn before the spawning of children.
type guard struct {
	system *System
	handle *Handle

	restarting, stopping, stopped bool
	// children holds the ids of children until their Terminated is processed.
	children map[string]struct{}
}

// halting is true from Stop or Restart on, until the new instance is started.
func (g *guard) halting() bool { return g.stopping || g.restarting }

// armed is an actor's context as its mailbox sees it.
type armed struct {
	actor.MessageInvoker
	guard *guard
	box   *mailbox
}

// InvokeUserMessage handles one message. Results of workers and timers that nobody waits for any more end here.
func (a *armed) InvokeUserMessage(message any) {
	a.box.progress.Store(a.guard.system.clock.Now().UnixNano())
	if d, ok := message.(*delivery); ok {
		if d.stale(a.guard.handle) {
			return
		}
		message = d.message
	}
	a.invoke(message, a.MessageInvoker.InvokeUserMessage)
}

// InvokeSystemMessage handles one of protoactor's own messages, unless it would do harm.
func (a *armed) InvokeSystemMessage(message any) {
	g := a.guard
	switch m := message.(type) {
	case *actor.Stop:
		g.stopping = true
		a.suspend()
	case *actor.Restart:
		// A restart that reaches a stopping actor brings it back to life, one that reaches a stopped actor runs a
		// zombie that nobody can address. A second one changes nothing.
		if g.stopping {
			g.refuseRestart()
			return
		}
		if g.restarting {
			return
		}
		g.restarting = true
		a.suspend()
	case *actor.Failure:
		// The instance that is about to go must decide nothing any more; its children have been told to stop.
		if g.halting() {
			a.stopChild(m.Who)
			return
		}
	case *actor.Terminated:
		delete(g.children, m.Who.GetId())
	}
	a.invoke(message, a.MessageInvoker.InvokeSystemMessage)
}

// suspend leaves the messages that wait to the next instance, which resumes the mailbox; the one that goes would begin
// what nobody ends. Nobody reads what is left when an actor has stopped.
func (a *armed) suspend() { a.box.PostSystemMessage(&actor.SuspendMailbox{}) }

func (a *armed) stopChild(child *actor.PID) {
	if s, ok := a.MessageInvoker.(actor.Supervisor); ok {
		s.StopChildren(child)
	}
}

// EscalateFailure is called by the mailbox for what invoke did not catch.
func (a *armed) EscalateFailure(reason, message any) { a.failed(reason, message) }

// invoke shows what the actor is busy with, and turns a panic or runtime.Goexit into a failure.
func (a *armed) invoke(message any, handle func(any)) {
	if st := a.guard.system.stepper; st != nil {
		st.Yield()
	}
	h := a.guard.handle
	h.handling.Store(&Handling{Message: typeName(message), Since: a.guard.system.clock.Now()})
	done := false
	defer func() {
		h.handling.Store(nil)
		h.handled.Add(1)
		if done {
			return
		}
		switch message.(type) {
		case *actor.Restart, *actor.Terminated:
			a.guard.restarting = false // it did not finish (the producer panicked), and must be possible again
		}
		v := recover()
		if v == nil {
			v = errGoexit
		}
		a.failed(v, message)
	}()
	handle(message)
	done = true
}

// failed reports a panic to the supervisor as a Crash. An Exit that was panicked with stays one.
func (a *armed) failed(v, message any) {
	if x, ok := v.(Exit); ok {
		a.MessageInvoker.EscalateFailure(x, message)
		return
	}
	c := Crash{Value: v, Message: typeName(message), Stack: string(debug.Stack())}
	a.guard.system.crashed(a.guard.handle.PID(), a.guard.handle, c)
	a.MessageInvoker.EscalateFailure(c, message)
}

func (g *guard) refuseRestart() {
	if g.stopped {
		g.system.counts.zombies.Add(1)
		return
	}
	g.system.counts.resurrected.Add(1)
}

// crashed observes c and keeps it for the registry; h is nil for an actor without armour.
func (s *System) crashed(pid *actor.PID, h *Handle, c Crash) {
	now := s.clock.Now()
	f := Failure{
		Time: now, Actor: pid.GetId(), Reason: fmt.Sprintf("panic: %v", c.Value), Message: c.Message, Stack: c.Stack,
	}
	if h != nil {
		f.Kind, f.Pod = h.kind, h.pod
		h.Failed(now, string(ReasonCrash), fmt.Sprintf("%s while handling %s", f.Reason, c.Message), c.Stack)
	}
	s.Observe(f)
}

// middleware is next to Receive: it sees the lifecycle messages that protoactor makes itself.
func (g *guard) middleware(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(ctx actor.ReceiverContext, e *actor.MessageEnvelope) {
		switch e.Message.(type) {
		case *actor.Started:
			if g.stopping { // no known path leads here: refuseRestart is before it
				g.refuseRestart()
				ctx.ActorSystem().Root.Stop(ctx.Self())
				return
			}
			g.restarting = false
			g.handle.starts.Add(1)
			g.handle.NextRestart(noTime)
			next(ctx, e)
		case *actor.Restarting, *actor.Stopping:
			g.quietly(next, ctx, e)
		case *actor.Stopped:
			g.quietly(next, ctx, e)
			g.stopped = true
			g.system.registry.remove(g.handle)
		default:
			if g.halting() { // a panic in Terminated would keep the last child's end from being acted on
				g.quietly(next, ctx, e)
				return
			}
			next(ctx, e)
		}
	}
}

// quietly swallows panics: passed on, they would leave the actor half stopped, and its parent waiting for ever. The
// handler has a goroutine of its own, so that runtime.Goexit cannot keep protoactor from finishing the stop either.
func (g *guard) quietly(next actor.ReceiverFunc, ctx actor.ReceiverContext, e *actor.MessageEnvelope) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		done := false
		defer func() {
			if done {
				return
			}
			v := recover()
			if v == nil {
				v = errGoexit
			}
			g.system.counts.swallowed.Add(1)
			g.system.crashed(g.handle.PID(), g.handle, Crash{Value: v, Message: typeName(e), Stack: string(debug.Stack())})
		}()
		next(ctx, e)
		done = true
	}()
	<-ended
}

// spawn is around the spawning of children. A name is taken until Terminated of its last owner is processed: a child
// that took it earlier would fall out of the parent's list of children when that Terminated arrives.
func (g *guard) spawn(next actor.SpawnFunc) actor.SpawnFunc {
	return func(e *actor.ActorSystem, id string, p *actor.Props, c actor.SpawnerContext) (*actor.PID, error) {
		if g.halting() {
			return nil, ErrHalting
		}
		if _, taken := g.children[id]; taken {
			return e.NewLocalPID(id), actor.ErrNameExists
		}
		pid, err := next(e, id, p, c)
		if err == nil {
			g.children[id] = struct{}{}
		}
		return pid, err
	}
}
