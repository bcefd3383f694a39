package actors

import (
	"log/slog"
	"reflect"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"
	"go.uber.org/zap"
	"k8s.io/utils/clock"
)

// Clock is where every actor takes its time from: clock.RealClock in production, clocktesting.FakeClock or an
// actorstest.Simulation in tests.
type Clock = clock.WithDelayedExecution

// Options are what a System is made of. The zero value is a silent system on the real clock.
type Options struct {
	// Logger receives protoactor's own messages, redacted and at debug level unless they are warnings; nil: no logs.
	Logger *zap.Logger
	// Clock is the only source of time; nil: the real one.
	Clock Clock
	// Observer is given every Event; nil: none. See Observer for what it may do.
	Observer Observer
	// Dispatcher runs the actors' mailboxes; nil: protoactor's default, one goroutine for each wake-up. One that also
	// is a Stepper lets the system wait without blocking, which is how a simulation stays on one goroutine.
	Dispatcher actor.Dispatcher
	// Go runs the function of a worker; nil: go f(). The simulation runs workers as scheduled tasks.
	Go func(f func())
}

// Stepper is what a Dispatcher implements that runs actors only when it is told to. Whoever would have to wait for an
// actor or a worker calls it instead of blocking.
type Stepper interface {
	// Step runs one piece of work, one of a worker when workers is set. It returns false when there is none.
	Step(workers bool) bool
	// Yield is called before an actor handles a message: a good moment to let another one go first.
	Yield()
}

// System is an actor system with its armour on: whatever is spawned with Props cannot wedge its parent, come back from
// the dead or stay invisible. Each hazard of protoactor, and what takes it away, is in armour_*_test.go.
type System struct {
	engine     *actor.ActorSystem
	clock      Clock
	observer   Observer
	dispatcher actor.Dispatcher
	stepper    Stepper
	run        func(f func())
	log        *zap.Logger
	registry   Registry
	counts     counters
}

// counters are System.Counters while they count.
type counters struct{ swallowed, resurrected, zombies, leakedWorkers, unhandled atomic.Uint64 }

// Counters count what should never happen. Each of them is zero in a correct daemon; alert if not.
type Counters struct {
	// Swallowed counts panics in actors that are stopping or being restarted, in supervisor strategies of root actors
	// and in observers. They are reported and otherwise ignored, because passing them on would wedge the tree.
	Swallowed uint64
	// Resurrected counts restarts that reached an actor while it was stopping, and were refused.
	Resurrected uint64
	// Zombies counts restarts that reached an actor after it had stopped, and were refused.
	Zombies uint64
	// LeakedWorkers counts workers that did not end within the time that Worker.Stop was given.
	LeakedWorkers uint64
	// Unhandled counts messages that no actor's switch took.
	Unhandled uint64
}

// New makes a system. It owns no goroutine while its actors are idle and needs no closing: stop its root actors.
func New(o Options) *System {
	s := &System{
		clock:      o.Clock,
		observer:   o.Observer,
		dispatcher: o.Dispatcher,
		run:        o.Go,
		log:        o.Logger,
	}
	if s.clock == nil {
		s.clock = clock.RealClock{}
	}
	if s.dispatcher == nil {
		s.dispatcher = actor.NewDefaultDispatcher(throughput)
	}
	s.stepper, _ = s.dispatcher.(Stepper)
	if s.run == nil {
		s.run = func(f func()) { go f() }
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.engine = actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return bridge(s.log) }))
	s.engine.EventStream = eventstream.NewEventStream() // without protoactor's own subscribers, see deadLetter
	s.engine.EventStream.Subscribe(s.deadLetter)
	return s
}

// throughput is how many messages a mailbox handles before it yields to other goroutines; protoactor's own default.
const throughput = 300

// Root is the context from which non-actors send and spawn.
func (s *System) Root() *actor.RootContext { return s.engine.Root }

// Engine is protoactor's system underneath.
func (s *System) Engine() *actor.ActorSystem { return s.engine }

// Clock is the system's only source of time.
func (s *System) Clock() Clock { return s.clock }

// Registry shows every actor that was spawned with Props.
func (s *System) Registry() *Registry { return &s.registry }

// Observe gives e to the Observer. An observer that panics is reported in the log and counted, never passed on to the
// actor that made the event.
func (s *System) Observe(e Event) {
	if s.observer == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.counts.swallowed.Add(1)
			s.log.Error("observer panicked", zap.String("event", reflect.TypeOf(e).String()), zap.Any("err", v),
				zap.Stack("stack"))
		}
	}()
	s.observer(e)
}

// Counters returns the counts of what should never happen.
func (s *System) Counters() Counters {
	return Counters{
		Swallowed:     s.counts.swallowed.Load(),
		Resurrected:   s.counts.resurrected.Load(),
		Zombies:       s.counts.zombies.Load(),
		LeakedWorkers: s.counts.leakedWorkers.Load(),
		Unhandled:     s.counts.unhandled.Load(),
	}
}

// Unhandled counts and observes the message that ctx is at, which no arm of the actor's switch took. Lifecycle messages
// are no news: an actor may ignore them.
func (s *System) Unhandled(ctx actor.Context) {
	switch ctx.Message().(type) {
	case actor.SystemMessage, actor.AutoReceiveMessage:
		return
	}
	s.counts.unhandled.Add(1)
	s.Observe(DeadLetter{
		Time: s.clock.Now(), Target: ctx.Self().GetId(), Message: typeName(ctx.Message()), Sender: ctx.Sender().GetId(),
	})
}

// typeName is all that is ever told of a message: its contents may be secret.
func typeName(message any) string {
	if e, ok := message.(*actor.MessageEnvelope); ok && e != nil {
		message = e.Message
	}
	if message == nil {
		return "nil"
	}
	return reflect.TypeOf(message).String()
}
