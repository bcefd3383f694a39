package podactor

import (
	"context"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

func (a *podActor) carryOut(ctx actor.Context, f effect) {
	switch f := f.(type) {
	case prepare:
		around, bundles := a.surroundings(), a.deps.Bundles
		a.work(ctx, func(ctx context.Context) event { return prepareAll(ctx, around, bundles, f.ScanOnly) })
	case project:
		around := a.surroundings()
		a.work(ctx, func(ctx context.Context) event { return projectAll(ctx, around, f.Gen) })
	case resolve:
		a.resolve(ctx, f)
	case run:
		a.run(ctx, f.Run)
	case kill:
		a.tell(ctx, f.Container, moduleactor.Terminate{
			Grace: f.Grace, KillWait: a.ledger.state.Supervision.Stop.KillWait.Duration,
		})
	case release:
		a.release(ctx, f.Container)
	case after:
		slot := timerSlot{f.Timer.Kind, f.Timer.Container}
		if cancel := a.timers[slot]; cancel != nil {
			cancel()
		}
		a.timers[slot] = a.sys.After(ctx.Self(), f.Delay, f.Timer)
	case observe:
		a.observe(ctx, f.Event)
	case cleanup:
		a.cleaning = true
		for name := range a.children {
			a.release(ctx, name)
		}
		a.cleanup(ctx)
	case end:
		a.show(ctx) // nothing is believed of a Pod after this
		ctx.Send(ctx.Parent(), Ended{string(a.ledger.state.Pod.UID)})
	}
}

// observe adds what only the shell knows.
func (a *podActor) observe(ctx actor.Context, e actors.Event) {
	self := ctx.Self().GetId()
	switch e := e.(type) {
	case actors.Transition:
		e.Actor = self
		a.sys.Observe(e)
	case actors.Decision:
		e.Child = self + "/" + e.Container
		a.sys.Observe(e)
	case actors.Failure:
		e.Actor = self
		a.handle.Failed(e.Time, e.Reason, e.Message, e.Stack)
		a.sys.Observe(e)
	default:
		a.sys.Observe(e)
	}
}

// run hands an attempt to the container's module actor. One that failed is restarted: that is what supervision is for.
func (a *podActor) run(ctx actor.Context, r moduleactor.Run) {
	name := r.Spec.Container
	c := a.children[name]
	switch {
	case c == nil:
		a.spawn(ctx, name, []any{r})
	case c.stopping:
		c.queue = []any{r}
	default:
		if sup, ok := ctx.(actor.Supervisor); ok && c.suspended {
			sup.RestartChildren(c.pid)
		}
		c.suspended = false
		ctx.Send(c.pid, r)
	}
}

// tell sends to the module actor, or keeps the message for the one that follows.
func (a *podActor) tell(ctx actor.Context, name string, message any) {
	switch c := a.children[name]; {
	case c == nil:
	case c.stopping:
		if len(c.queue) > 0 {
			c.queue = append(c.queue, message)
		}
	default:
		ctx.Send(c.pid, message)
	}
}

func (a *podActor) release(ctx actor.Context, name string) {
	c := a.children[name]
	if c == nil {
		return
	}
	c.queue = nil
	if !c.stopping {
		c.stopping = true
		ctx.Stop(c.pid)
	}
}

// spawn makes the container's module actor, for the messages that wait for it.
func (a *podActor) spawn(ctx actor.Context, name string, queue []any) {
	props, handle := a.deps.Module(name)
	pid, err := ctx.SpawnNamed(props, name)
	switch {
	case errors.Is(err, actors.ErrHalting):
	case err != nil:
		if r, ok := queue[0].(moduleactor.Run); ok {
			ctx.Send(ctx.Self(), exited{name, actors.Exit{
				Reason: actors.ReasonCreateContainerError, Message: fmt.Sprintf("spawn module actor: %v", err),
				NotStarted: true, Attempt: r.Attempt, FinishedAt: a.sys.Clock().Now(),
			}})
		}
	default:
		a.children[name] = &child{pid: pid, handle: handle}
		for _, m := range queue {
			ctx.Send(pid, m)
		}
	}
}

func (a *podActor) resolve(ctx actor.Context, f resolve) {
	around, bundles := a.surroundings(), a.deps.Bundles
	a.work(ctx, func(ctx context.Context) event {
		answer := resolved{Container: f.Container, Gen: f.Gen}
		answer.Spec, answer.Err = resolveSpec(ctx, around, f.Container, f.Adopt)
		if f.Adopt {
			answer.Err = nil // whatever the spec lacks, the guest has it
			return answer
		}
		answer.Spec.Keys, answer.NoKeys = pullKeys(ctx, around)
		// The last attempt is kept for its log and its ending, older ones are not. What cannot be removed now is tried
		// again at the next attempt.
		_ = bundles.RemoveAttempts(string(around.pod.UID), f.Container, 1)
		return answer
	})
}

// cleanup removes everything once no child and no worker can make anything anew.
func (a *podActor) cleanup(ctx actor.Context) {
	if !a.cleaning || a.halting || len(a.children) > 0 || len(a.workers) > 0 || a.saver.busy {
		return
	}
	a.cleaning = false
	pod, cfg, bundles := a.ledger.state.Pod, a.cfg, a.deps.Bundles
	a.work(ctx, func(context.Context) event { return cleaned{removeAll(*cfg, bundles, pod)} })
}

// diskBundles is package bundle below one root.
type diskBundles string

func bundlesOf(root string) Bundles { return diskBundles(root) }

func (d diskBundles) Scan(podUID string) ([]bundle.Found, error) {
	return bundle.Scan(string(d), podUID)
}

func (d diskBundles) RemoveAttempts(podUID, container string, keepLatest int) error {
	return bundle.RemoveAttempts(string(d), podUID, container, keepLatest)
}

func (d diskBundles) RemovePod(podUID string) error { return bundle.RemovePod(string(d), podUID) }
