package nodeactor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
)

// letGoWait bounds the wait for workers when the actor stops.
const letGoWait = 2 * time.Second

// carryOut does what the machine decided.
func (a *root) carryOut(ctx actor.Context, e effect) {
	switch e := e.(type) {
	case load:
		a.work(ctx, "load", func(context.Context) event { return recovered{a.deps.Disk.Recover()} },
			func(err error) event { return recovered{Remains{Errs: []error{err}}} })
	case spawn:
		a.spawn(ctx, e)
	case tell:
		if c, ok := a.pods[e.uid]; ok {
			ctx.Send(c.pid, e.command)
		}
	case restart:
		if c, ok := a.pods[e.uid]; ok {
			ctx.(actor.Supervisor).RestartChildren(c.pid)
		}
	case stop:
		a.stop(ctx, e.uid)
	case wake:
		a.wake(ctx, e)
	case sweep:
		a.sweep(ctx, e)
	case drained:
		if _, closed := a.closed[e.done]; !closed {
			a.closed[e.done] = struct{}{}
			close(e.done)
		}
	case publish, forgotten, moved, observe, fatal:
		a.report(ctx, e)
	}
}

// report tells the rest of the daemon.
func (a *root) report(ctx actor.Context, e effect) {
	switch e := e.(type) {
	case publish:
		if a.cfg.OnStatus != nil {
			a.cfg.OnStatus(e.pod, e.status)
		}
	case forgotten:
		if a.cfg.OnEnded != nil {
			a.cfg.OnEnded(e.pod)
		}
	case moved:
		now := a.sys.Clock().Now()
		a.handle.Publish(e.to.String(), now)
		a.sys.Observe(actors.Transition{
			Time: now, Actor: ctx.Self().GetId(), Kind: actors.KindNode, Name: a.cfg.NodeName,
			From: e.from.String(), To: e.to.String(), Why: e.why,
		})
	case observe:
		ev := e.event
		if d, ok := ev.(actors.Decision); ok {
			d.Child = ctx.Self().GetId() + "/" + d.Child
			ev = d
		}
		a.sys.Observe(ev)
	case fatal:
		if a.deps.Fatal != nil {
			a.deps.Fatal(e.err)
		}
	case load, spawn, tell, restart, stop, wake, sweep, drained:
	}
}

// spawn makes a pod actor, unless there is one.
func (a *root) spawn(ctx actor.Context, e spawn) {
	if _, ok := a.pods[e.uid]; ok {
		return
	}
	props, h := a.deps.Pod(e.start)
	pid, err := ctx.SpawnNamed(props, e.uid)
	switch {
	case err == nil:
		a.pods[e.uid] = child{pid: pid, handle: h}
	case errors.Is(err, actors.ErrHalting): // whoever comes next starts it
	default:
		a.step(ctx, failed{uid: e.uid, text: fmt.Sprintf("spawn: %v", err), absent: true})
	}
}

func (a *root) stop(ctx actor.Context, uid string) {
	if c, ok := a.pods[uid]; ok {
		ctx.Stop(c.pid)
		return
	}
	a.step(ctx, gone{uid})
}

func (a *root) wake(ctx actor.Context, e wake) {
	uid := e.due.uid
	if cancel := a.wakes[uid]; cancel != nil {
		cancel()
	}
	a.wakes[uid] = a.sys.After(ctx.Self(), e.after, e.due)
	if c, ok := a.pods[uid]; ok && e.restart {
		c.handle.NextRestart(a.sys.Clock().Now().Add(e.after))
	}
}

// sweep deals with the guests and the files of a Pod without actor.
func (a *root) sweep(ctx actor.Context, e sweep) {
	disk, killWait, clock := a.deps.Disk, a.machine.sup.Stop.KillWait.Duration, a.sys.Clock()
	answer := func(err error) event { return cleared{uid: e.uid, gen: e.gen, err: err} }
	a.work(ctx, "sweep", func(c context.Context) event {
		if err := disk.End(c, e.uid, killWait); err != nil {
			return answer(err)
		}
		if e.verdict != nil {
			return answer(disk.Fail(e.uid, *e.verdict, clock.Now()))
		}
		return answer(disk.Remove(e.uid))
	}, answer)
}

// work runs f off this goroutine; its event comes back as a message. A panic is a bug: it is observed, and ifPanic says
// which event stands in.
func (a *root) work(ctx actor.Context, name string, f func(context.Context) event, ifPanic func(error) event) {
	a.started++
	id, sys, path := a.started, a.sys, ctx.Self().GetId()
	a.workers[id] = sys.Go(ctx.Self(), func(c context.Context) (out any) {
		defer func() {
			if v := recover(); v != nil {
				sys.Observe(actors.Failure{
					Time: sys.Clock().Now(), Actor: path, Kind: actors.KindNode,
					Reason: fmt.Sprintf("panic: %v", v), Message: name, Stack: string(debug.Stack()),
				})
				out = finished{worker: id, event: ifPanic(fmt.Errorf("%s: panic: %v", name, v))}
			}
		}()
		return finished{worker: id, event: f(c)}
	})
}
