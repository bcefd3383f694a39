package nodeactor

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
)

// HandleFailure answers the crash of a pod actor; it runs on the node actor's goroutine. Pod actors have no other way to
// fail.
func (a *root) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any,
) {
	f := failed{uid: uidOf(who), text: describe(reason)}
	a.failures[f.uid] = f
	a.step(sup.(actor.Context), f)
	delete(a.failures, f.uid)
}

func describe(reason any) string {
	if c, ok := reason.(actors.Crash); ok {
		return fmt.Sprintf("%v while handling %s", c.Value, c.Message)
	}
	return fmt.Sprintf("%v", reason)
}

// Spawn spawns the node actor. It is resumed after a crash and goes through everything it knows; after more crashes than
// supervision.node allows it stays down and Deps.Fatal is told.
func Spawn(sys *actors.System, cfg Config, deps Deps) (*actor.PID, error) {
	if err := cfg.validate(deps); err != nil {
		return nil, err
	}
	limits := cfg.Supervision.Node
	props, _ := newProps(sys, cfg, deps, &limits)
	return sys.SpawnRoot(props, Name, &overseer{sys: sys, limits: &limits, fatal: deps.Fatal})
}

// overseer is the supervision of the node actor. It runs on that actor's goroutine.
type overseer struct {
	sys     *actors.System
	limits  *actors.NodeSupervision
	fatal   func(error)
	resumes []time.Time
}

// HandleFailure resumes the node actor, as long as that does not happen too often.
func (o *overseer) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, node *actor.PID, _ *actor.RestartStatistics, reason, _ any,
) {
	now := o.sys.Clock().Now()
	o.resumes = recent(append(o.resumes, now), now.Add(-o.limits.Window.Duration))
	if n := len(o.resumes); n > o.limits.MaxResumes {
		if o.fatal != nil {
			o.fatal(fmt.Errorf("node actor crashed %d times within %s: %s", n, o.limits.Window.Duration, describe(reason)))
		}
		return
	}
	sup.ResumeChildren(node)
	o.sys.Root().Send(node, resync{})
}
