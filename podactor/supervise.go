package podactor

import (
	"fmt"
	"path"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
)

// HandleFailure implements actor.SupervisorStrategy: every ending of an attempt comes here (ADR D6), on the pod actor's
// own goroutine. An Exit is an outcome of the guest, anything else a bug of ours. The module actor is suspended now, and
// stays so until the machine wants to run or to release it.
func (a *podActor) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, pid *actor.PID, rs *actor.RestartStatistics, reason, _ any,
) {
	rs.Fail()
	name := path.Base(pid.GetId())
	c := a.children[name]
	ctx, ok := sup.(actor.Context)
	if a.halting || c == nil || c.stopping || !ok {
		sup.StopChildren(pid)
		return
	}
	c.suspended = true
	if x, ok := reason.(actors.Exit); ok {
		a.feed(ctx, exited{name, x})
		return
	}
	a.feed(ctx, crashed{name, crashText(reason)})
}

func crashText(reason any) string {
	if c, ok := reason.(actors.Crash); ok {
		return fmt.Sprintf("module actor crashed while handling %s: %v", c.Message, c.Value)
	}
	return fmt.Sprintf("module actor failed: %v", reason)
}
