package actors_test

import (
	"context"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
)

type ping struct{ reply chan<- int }

type resume struct{}

func (resume) HandleFailure(_ *actor.ActorSystem, s actor.Supervisor, c *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	s.ResumeChildren(c)
}

func TestSmoke(t *testing.T) {
	s := actors.New(actors.Options{})
	props, h := s.Props(actors.KindNode, "node", actors.PodRef{}, func(*actors.Handle) actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			if m, ok := ctx.Message().(ping); ok {
				m.reply <- 1
			}
		})
	})
	pid, err := s.SpawnRoot(props, "node", resume{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got, err := actors.Ask(ctx, s, pid, func(c chan<- int) any { return ping{c} })
	if err != nil || got != 1 {
		t.Fatal(got, err, h.Info())
	}
	if err := s.StopTree(ctx, pid); err != nil {
		t.Fatal(err)
	}
	if n := s.Registry().Len(); n != 0 {
		t.Fatal(n)
	}
}
