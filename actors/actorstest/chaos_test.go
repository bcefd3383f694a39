package actorstest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
)

// census counts the instances that run at the moment, by path. Two of one path, or one below an actor that has stopped,
// are what the armour is there to prevent.
type census struct{ live map[string]int }

func (c *census) enter(id string) { c.live[id]++ }

func (c *census) leave(id string) { c.live[id]-- }

func (c *census) check() error {
	for id, n := range c.live {
		if n < 0 || n > 1 {
			return fmt.Errorf("%d instances of %s", n, id)
		}
	}
	return nil
}

// unit is a node, pod or module of a tree that goes wrong in every way it can.
type unit struct {
	s        *actorstest.Simulation
	census   *census
	depth    int // 0: a leaf
	worker   *actors.Worker
	history  map[string]actors.History
	children int
}

type (
	again struct{ child *actor.PID }
	crash struct{}
	end   struct{}
	spawn struct{}
	ready struct{}
)

func (u *unit) Receive(ctx actor.Context) {
	sys := u.s.System()
	switch m := ctx.Message().(type) {
	case *actor.Started:
		u.census.enter(ctx.Self().GetId())
		u.worker = sys.Go(ctx.Self(), func(c context.Context) any {
			due := u.s.Now().Add(time.Duration(u.s.Rand().IntN(5000)) * time.Millisecond)
			timer := u.s.Clock().AfterFunc(due.Sub(u.s.Now()), func() {})
			defer timer.Stop()
			if err := u.s.Block(c, func() bool { return !u.s.Now().Before(due) }); err != nil {
				return nil
			}
			if u.s.Rand().IntN(10) == 0 {
				panic("worker")
			}
			return ready{}
		})
		for range u.depth {
			u.spawn(ctx)
		}
	case spawn, *actor.Terminated:
		u.spawn(ctx)
	case again:
		ctx.(actor.Supervisor).RestartChildren(m.child)
	case crash:
		panic("chaos")
	case ready, actors.Crash:
		actors.Fail(ctx, actors.Exit{Code: int32(u.s.Rand().IntN(2)), FinishedAt: u.s.Now()})
	case end:
		ctx.Stop(ctx.Self())
	case *actor.Stopping, *actor.Restarting:
		u.worker.Stop(time.Second)
		u.census.leave(ctx.Self().GetId())
		if u.s.Rand().IntN(10) == 0 {
			panic("chaos at the end")
		}
	}
}

// spawn may ask for a name that is taken, or be called while the actor is stopping.
func (u *unit) spawn(ctx actor.Context) {
	if u.depth == 0 {
		return
	}
	name := fmt.Sprintf("c%d", u.children%3)
	u.children++
	_, _ = ctx.SpawnNamed(newUnit(u.s, u.census, name, u.depth-1), name)
}

func (u *unit) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any,
) {
	x, ok := reason.(actors.Exit)
	if !ok {
		x = actors.Exit{Code: 2, Reason: actors.ReasonCrash, FinishedAt: u.s.Now()}
	}
	b := actors.Backoff{Initial: 100 * time.Millisecond, Max: time.Second, Factor: 2}
	v := actors.Decide(actors.Transient, b, x, u.history[child.GetId()], u.s.Now())
	u.history[child.GetId()] = v.History
	if v.Directive == actors.DirectiveStop {
		sup.StopChildren(child)
		return
	}
	if u.s.Rand().IntN(10) == 0 { // and restarts it nevertheless
		sup.StopChildren(child)
		sup.RestartChildren(child)
	}
	u.s.System().After(sup.(actor.Context).Self(), v.Delay, again{child})
}

func newUnit(s *actorstest.Simulation, c *census, name string, depth int) *actor.Props {
	p, _ := s.System().Props(actors.Kind(3-depth), name, actors.PodRef{}, func(*actors.Handle) actor.Actor {
		return &unit{s: s, census: c, depth: depth, history: map[string]actors.History{}}
	})
	return p
}

// Whatever happens to whom and in which order: never two instances of one actor, and everything can be stopped.
func TestChaos(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 30
	}
	var refused, swallowed uint64 // those that the armour is there for
	actorstest.Simulate(t, seeds, actors.Options{}, func(t *testing.T, s *actorstest.Simulation) {
		c := &census{live: map[string]int{}}
		s.Invariant(c.check)
		pid, err := s.System().SpawnRoot(newUnit(s, c, "node", 2), "node", &resumeAll{})
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			s.Run(time.Duration(s.Rand().IntN(300)) * time.Millisecond)
			all := s.System().Registry().Snapshot()
			victim := s.System().Engine().NewLocalPID(all[s.Rand().IntN(len(all))].ID)
			switch s.Rand().IntN(5) {
			case 0:
				s.System().Root().Send(victim, crash{})
			case 1:
				if victim.GetId() != "node" {
					s.System().Root().Send(victim, end{})
				}
			case 2:
				s.System().Root().Send(victim, spawn{})
			case 3:
				if victim.GetId() != "node" {
					s.System().Root().Stop(victim)
				}
			}
		}
		if err := s.System().StopTree(t.Context(), pid); err != nil {
			t.Error(err)
		}
		for id, n := range c.live {
			if n != 0 {
				t.Errorf("at the end %d instances of %s run", n, id)
			}
		}
		if n := s.System().Registry().Len(); n != 0 {
			t.Errorf("at the end %d actors are registered", n)
		}
		n := s.System().Counters()
		if n.LeakedWorkers != 0 || n.Unhandled != 0 {
			t.Errorf("counters: %+v", n)
		}
		refused += n.Resurrected + n.Zombies
		swallowed += n.Swallowed
	})
	if refused == 0 || swallowed == 0 {
		t.Errorf("%d restarts were refused and %d panics swallowed: this is no chaos", refused, swallowed)
	}
}
