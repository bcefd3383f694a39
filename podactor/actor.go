package podactor

import (
	"context"
	"path"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
)

// Props makes a pod actor. It is spawned as pods/<uid> of the node actor and needs nothing else to begin. Props are for
// one spawn; the handle shows the actor in the registry. All Pods share cfg, which nobody changes.
//
// What the actor knows is kept beside it, so that a crash (a bug of ours) loses nothing but the step that failed: the
// next incarnation looks for what is alive and goes on.
func Props(sys *actors.System, cfg *Config, deps Deps, start Start) (*actor.Props, *actors.Handle) {
	if deps.Bundles == nil {
		deps.Bundles = bundlesOf(cfg.RootDir)
	}
	return props(sys, cfg, deps, newLedger(sys, cfg, start))
}

func props(sys *actors.System, cfg *Config, deps Deps, l *ledger) (*actor.Props, *actors.Handle) {
	pod := l.state.Pod
	return sys.Props(actors.KindPod, pod.Namespace+"/"+pod.Name, l.state.ref(), func(h *actors.Handle) actor.Actor {
		return &podActor{
			sys: sys, cfg: cfg, deps: deps, handle: h, ledger: l,
			children: make(map[string]*child), timers: make(map[timerSlot]func()), workers: make(map[uint64]*actors.Worker),
		}
	})
}

// ledger is what survives a crash of the actor. Only the running incarnation touches it.
type ledger struct {
	state  State
	reject *Rejection
	// begun is set once the machine has had its first event.
	begun bool
	// shown is the last status that the parent was told.
	shown status
	// step is the machine; tests put others in its place.
	step func(State, event, time.Time) (State, []effect)
}

func newLedger(sys *actors.System, cfg *Config, start Start) *ledger {
	l := &ledger{reject: start.Reject, step: step}
	if start.Checkpoint != nil {
		l.state, l.begun = start.Checkpoint.State.clone(), true
		l.state.Supervision = cfg.Supervision
		l.shown.Conditions = start.Checkpoint.Conditions
	} else {
		l.state = newState(start.Pod, cfg.Supervision, sys.Clock().Now())
	}
	n := start.Network
	if l.state.HostIP = n.HostIP; n.IP != "" || n.Wait != nil {
		l.state.PodIP, l.state.Wait = n.IP, n.Wait
	}
	return l
}

// podActor is the thin shell around the machine: it feeds it and carries its effects out. It is its own supervisor
// strategy, see supervise.go.
type podActor struct {
	sys    *actors.System
	cfg    *Config
	deps   Deps
	handle *actors.Handle
	ledger *ledger

	// halting is set once this incarnation is to stop or to be restarted: it decides nothing any more.
	halting  bool
	children map[string]*child
	timers   map[timerSlot]func()
	// workers that have not answered yet, by number.
	workers   map[uint64]*actors.Worker
	workerSeq uint64
	saver     saver
	// showing says that a showDue is on its way.
	showing bool
	// early is what was prepared before there was a checkpoint, cleaning that everything is to be removed once nothing works
	// on it.
	early    event
	cleaning bool
}

// child is a module actor.
type child struct {
	pid    *actor.PID
	handle *actors.Handle
	// suspended says that it failed and waits for a restart, stopping that it was stopped and is not gone yet.
	suspended, stopping bool
	// queue is what its successor is to be sent.
	queue []any
}

type timerSlot struct {
	kind      timerKind
	container string
}

// done brings the answer of a worker.
type done struct {
	worker uint64
	event  event
}

// Receive implements actor.Actor.
func (a *podActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.onStarted(ctx)
	case *actor.Stopping, *actor.Restarting:
		a.halt()
	case *actor.Terminated:
		a.onTerminated(ctx, path.Base(m.Who.GetId()))
	case Apply:
		a.feed(ctx, applied(m))
	case Terminate:
		a.feed(ctx, terminated(m))
	case Connect:
		a.feed(ctx, connected(m))
	case Tune:
		a.feed(ctx, tuned(m))
	case Refresh:
		a.feed(ctx, refreshed(m))
	case moduleactor.Fact:
		a.feed(ctx, reported{m})
	case timer:
		a.feed(ctx, fired{m})
	case exited:
		a.feed(ctx, m)
	case done:
		a.onDone(ctx, m)
	case saved:
		a.onSaved(ctx, m)
	case saveDue:
		a.save(ctx)
	case showDue:
		a.showing = false
		a.show(ctx)
		a.save(ctx) // with the times of what is shown
	case actors.Crash:
		actors.Fail(ctx, m) // a worker has a bug: begin anew
	default:
		a.sys.Unhandled(ctx)
	}
}

func (a *podActor) onStarted(ctx actor.Context) {
	if a.ledger.begun {
		// What the last incarnation decided while it was suspended was not saved.
		a.saver.dirty = true
		a.feed(ctx, resumed{})
		return
	}
	a.ledger.begun = true
	a.feed(ctx, began{a.ledger.reject})
}

// feed gives the machine an event. The state changes only when the step returned.
func (a *podActor) feed(ctx actor.Context, e event) {
	if a.halting {
		return
	}
	before := a.ledger.state
	next, effects := a.ledger.step(before, e, a.sys.Clock().Now())
	a.ledger.state = next
	if durable(&before, &next) {
		a.saver.dirty = true
	}
	for _, f := range effects {
		a.carryOut(ctx, f)
	}
	if !a.showing {
		a.showing = true
		ctx.Send(ctx.Self(), showDue{})
	}
}

// showDue comes behind everything that was in the mailbox when the state changed: whatever many containers do at once
// makes one status, not one each.
type showDue struct{}

// IgnoreDeadLetterLogging says that one that comes too late is no news.
func (showDue) IgnoreDeadLetterLogging() {}

// halt lets go of everything. Guests live on: whoever comes next adopts them.
func (a *podActor) halt() {
	a.halting = true
	for _, cancel := range a.timers {
		cancel()
	}
	for _, w := range a.workers {
		w.Cancel()
	}
	for _, w := range a.workers {
		w.Stop(a.ledger.state.Supervision.Stop.KillWait.Duration)
	}
}

// work runs f in a worker; what it returns is fed to the machine.
func (a *podActor) work(ctx actor.Context, f func(context.Context) event) {
	a.workerSeq++
	n := a.workerSeq
	a.workers[n] = a.sys.Go(ctx.Self(), func(ctx context.Context) any { return done{n, f(ctx)} })
}

func (a *podActor) onDone(ctx actor.Context, m done) {
	delete(a.workers, m.worker)
	if _, ok := m.event.(prepared); ok && !a.saver.tried {
		a.early = m.event
		return
	}
	a.feed(ctx, m.event)
	a.cleanup(ctx)
}

func (a *podActor) onTerminated(ctx actor.Context, name string) {
	c := a.children[name]
	if c == nil {
		return
	}
	delete(a.children, name)
	if len(c.queue) > 0 && !a.halting {
		a.spawn(ctx, name, c.queue)
	}
	a.cleanup(ctx)
}

// show publishes the state, and tells the parent when the status is another one.
func (a *podActor) show(ctx actor.Context) {
	if a.halting {
		return
	}
	s := &a.ledger.state
	a.handle.Publish(s.Stage.String(), s.Since)
	for i := range s.Containers {
		if c := a.children[s.Containers[i].Name]; c != nil {
			c.handle.NextRestart(s.Containers[i].RetryAt)
		}
	}
	next := deriveStatus(s, *a.cfg, a.ledger.shown, a.sys.Clock().Now())
	if a.ledger.shown.told && sameStatus(&a.ledger.shown.PodStatus, &next) {
		return
	}
	a.ledger.shown = status{PodStatus: next, told: true}
	ctx.Send(ctx.Parent(), StatusChanged{UID: string(s.Pod.UID), Status: next})
}
