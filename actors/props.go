package actors

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// noTime is the zero time: no restart is due.
//
//nolint:gochecknoglobals // a constant in all but syntax
var noTime time.Time

// Props instruments one spawn: guard, mailbox and handling statistics, dispatcher. They must not be shared between
// spawns. Name is what a person calls the actor; the zero PodRef stands for no Pod.
//
// The function produce makes the actor at the first start, on the goroutine of the parent, and at each restart, on the
// actor's own. It also runs for a spawn that then fails because the name is taken, so it must have no side effects.
func (s *System) Props(kind Kind, name string, pod PodRef, produce func(h *Handle) actor.Actor) (*actor.Props, *Handle) {
	h := &Handle{kind: kind, name: name, pod: pod}
	g := &guard{system: s, handle: h, children: make(map[string]struct{})}
	props := actor.PropsFromProducer(func() actor.Actor { return produce(h) },
		actor.WithMailbox(func() actor.Mailbox {
			m := newMailbox(s, g)
			h.mailbox.Store(m)
			return m
		}),
		actor.WithDispatcher(s.dispatcher),
		actor.WithReceiverMiddleware(g.middleware),
		actor.WithSpawnMiddleware(g.spawn),
		actor.WithOnInit(func(ctx actor.Context) {
			if h.view.Load() == nil {
				h.Publish("", s.clock.Now())
			}
			s.registry.add(ctx.Self(), h)
		}),
	)
	return props, h
}

// SpawnRoot spawns an actor without a parent. Its failures are given to onFailure, on the goroutine of the failed actor;
// the Supervisor it is given knows no other child. To escalate from here means to stop the actor, and a strategy that
// panics is counted and resumes it: protoactor would end the process for either.
func (s *System) SpawnRoot(props *actor.Props, name string, onFailure actor.SupervisorStrategy) (*actor.PID, error) {
	props.Configure(actor.WithGuardian(&guardian{system: s, strategy: onFailure}))
	pid, err := s.engine.Root.SpawnNamed(props, name)
	if err != nil {
		return nil, fmt.Errorf("spawn root actor %s: %w", name, err)
	}
	return pid, nil
}

// guardian is the supervisor strategy of a root actor. It is used by pointer: protoactor hashes it.
type guardian struct {
	system   *System
	strategy actor.SupervisorStrategy
}

// HandleFailure asks the strategy.
func (g *guardian) HandleFailure(
	e *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, rs *actor.RestartStatistics, reason, message any,
) {
	defer func() {
		if v := recover(); v != nil {
			g.system.counts.swallowed.Add(1)
			g.system.crashed(child, g.system.registry.Lookup(child.GetId()),
				Crash{Value: v, Message: typeName(reason), Stack: string(debug.Stack())})
			sup.ResumeChildren(child)
		}
	}()
	g.strategy.HandleFailure(e, rootSupervisor{sup, child}, child, rs, reason, message)
}

// rootSupervisor replaces what panics in protoactor's guardian.
type rootSupervisor struct {
	actor.Supervisor
	child *actor.PID
}

// Children is the one actor that failed.
func (r rootSupervisor) Children() []*actor.PID { return []*actor.PID{r.child} }

// EscalateFailure stops the actor: there is nobody above.
func (r rootSupervisor) EscalateFailure(_, _ any) { r.StopChildren(r.child) }
