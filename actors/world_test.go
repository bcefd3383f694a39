package actors_test

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
)

// world is where a scenario plays: protoactor as it is, or with the armour on. Each hazard is played in both, so that
// an upgrade of protoactor that changes a hazard is noticed, and so is a change of ours that lets one in again.
type world struct {
	t      *testing.T
	sys    *actors.System // nil: raw
	engine *actor.ActorSystem
	rec    *actorstest.Recorder
}

// play runs the scenario in a bubble, where synctest.Wait is exact quiescence, and returns what it returns.
func play[T any](t *testing.T, armoured bool, scenario func(w *world) T) T {
	t.Helper()
	var out T
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, rec: &actorstest.Recorder{}}
		if armoured {
			w.sys = actors.New(actors.Options{Observer: w.rec.Observe})
			w.engine = w.sys.Engine()
		} else {
			w.engine = newRaw(io.Discard)
		}
		out = scenario(w)
		<-time.After(time.Second) // protoactor's throttle of dead letters waits for a while
	})
	return out
}

// newRaw makes protoactor as it is, logging to out.
func newRaw(out io.Writer) *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithDeadLetterThrottleInterval(time.Millisecond),
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(slog.NewTextHandler(out, nil))
		}))
}

// both plays the scenario in both worlds and compares what it returns.
func both[T comparable](t *testing.T, raw, armoured T, scenario func(w *world) T) {
	t.Helper()
	t.Run("raw", func(t *testing.T) {
		if got := play(t, false, scenario); got != raw {
			t.Errorf("protoactor has changed: got %+v, used to be %+v: the armour may be out of date", got, raw)
		}
	})
	t.Run("armoured", func(t *testing.T) {
		if got := play(t, true, scenario); got != armoured {
			t.Errorf("got %+v, want %+v", got, armoured)
		}
	})
}

func (w *world) props(name string, produce func() actor.Actor) *actor.Props {
	if w.sys == nil {
		return actor.PropsFromProducer(produce)
	}
	p, _ := w.sys.Props(actors.KindModule, name, actors.PodRef{}, func(*actors.Handle) actor.Actor { return produce() })
	return p
}

// spawn spawns a root actor.
func (w *world) spawn(name string, produce func() actor.Actor) *actor.PID {
	w.t.Helper()
	var pid *actor.PID
	var err error
	if w.sys == nil {
		pid, err = w.engine.Root.SpawnNamed(w.props(name, produce), name)
	} else {
		pid, err = w.sys.SpawnRoot(w.props(name, produce), name, &actorFunc{fail: restart})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return pid
}

// child spawns a child; for use in Receive.
func (w *world) child(ctx actor.Context, name string, produce func() actor.Actor) *actor.PID {
	pid, err := ctx.SpawnNamed(w.props(name, produce), name)
	if err != nil {
		w.t.Errorf("spawn %s: %v", name, err)
	}
	return pid
}

func (w *world) alive(pid *actor.PID) bool {
	_, ok := w.engine.ProcessRegistry.Get(pid)
	return ok
}

// post sends system messages.
func (w *world) post(pid *actor.PID, messages ...any) {
	p, _ := w.engine.ProcessRegistry.Get(pid)
	for _, m := range messages {
		p.SendSystemMessage(pid, m)
	}
}

func (w *world) pid(id string) *actor.PID { return w.engine.NewLocalPID(id) }

// actorFunc is an actor of functions that is its own supervisor strategy.
type actorFunc struct {
	receive func(ctx actor.Context)
	fail    func(sup actor.Supervisor, child *actor.PID, reason any)
}

func (a *actorFunc) Receive(ctx actor.Context) {
	if a.receive != nil {
		a.receive(ctx)
	}
}

func (a *actorFunc) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any,
) {
	if a.fail != nil {
		a.fail(sup, child, reason)
	}
}

func restart(sup actor.Supervisor, child *actor.PID, _ any) { sup.RestartChildren(child) }

func stop(sup actor.Supervisor, child *actor.PID, _ any) { sup.StopChildren(child) }

func of(receive func(ctx actor.Context)) func() actor.Actor {
	return func() actor.Actor { return &actorFunc{receive: receive} }
}

// lines is a log that actors of several goroutines write.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf(format, args...))
}

// String is one line.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, " ")
}

// logged logs the type of each message, or the message if it is a string, before it is received.
func logged(l *lines, receive func(ctx actor.Context)) func(ctx actor.Context) {
	return func(ctx actor.Context) {
		if s, ok := ctx.Message().(string); ok {
			l.add("%s", s)
		} else {
			l.add("%s", strings.TrimPrefix(fmt.Sprintf("%T", ctx.Message()), "*actor."))
		}
		if receive != nil {
			receive(ctx)
		}
	}
}
