package nodeactor

import (
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// Name is the name, and the path, of the node actor.
const Name = "node"

func newProps(
	sys *actors.System, cfg Config, deps Deps, limits *actors.NodeSupervision,
) (*actor.Props, *actors.Handle) {
	if deps.Disk == nil {
		deps.Disk = NewDisk(deps.Guests, cfg.RootDir, cfg.PodLogsDir)
	}
	return sys.Props(actors.KindNode, cfg.NodeName, actors.PodRef{}, func(h *actors.Handle) actor.Actor {
		return &root{
			sys: sys, cfg: cfg, deps: deps, handle: h,
			machine: newMachine(cfg.MaxPods, cfg.Admit, cfg.Network, cfg.Supervision),
			pods:    map[string]child{}, failures: map[string]failed{}, wakes: map[string]func(){},
			workers: map[uint64]*actors.Worker{}, closed: map[chan<- struct{}]struct{}{}, limits: limits,
		}
	})
}

// root is the shell around the machine.
type root struct {
	sys    *actors.System
	cfg    Config
	deps   Deps
	handle *actors.Handle

	// halting is set once this actor is to stop: it decides nothing any more.
	halting bool
	machine machine
	pods    map[string]child // by UID; until their Terminated is handled
	// failures are those whose handling has not come to its end: should it crash, a resync finds them here.
	failures map[string]failed
	wakes    map[string]func() // cancels of pending timers, by UID
	workers  map[uint64]*actors.Worker
	started  uint64 // workers so far
	closed   map[chan<- struct{}]struct{}
	limits   *actors.NodeSupervision // of the node's own supervision, which runs on this actor's goroutine
}

// child is a pod actor.
type child struct {
	pid    *actor.PID
	handle *actors.Handle
}

// resync is what the supervision of the node actor sends after it was resumed.
type resync struct{}

// finished brings the event that a worker came back with.
type finished struct {
	worker uint64
	event  event
}

// IgnoreDeadLetterLogging says that a result that comes too late is no news.
func (finished) IgnoreDeadLetterLogging() {}

// IgnoreDeadLetterLogging says that a timer that runs out too late is no news.
func (due) IgnoreDeadLetterLogging() {}

// Receive handles one message.
func (a *root) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		a.handle.Publish(a.machine.state.String(), a.sys.Clock().Now())
		a.carryOut(ctx, load{})
	case *actor.Stopping, *actor.Restarting:
		a.letGo()
	case *actor.Terminated:
		uid := uidOf(msg.Who)
		delete(a.pods, uid)
		delete(a.failures, uid)
		if !a.halting { // the end of all is no crash of each
			a.step(ctx, gone{uid})
		}
	case Command:
		a.onCommand(ctx, msg)
	case podactor.Fact:
		a.onFact(ctx, msg)
	case due:
		a.step(ctx, msg)
	case finished:
		delete(a.workers, msg.worker)
		a.step(ctx, msg.event)
	case resync:
		a.resume(ctx)
	default:
		a.sys.Unhandled(ctx)
	}
}

func (a *root) onCommand(ctx actor.Context, c Command) {
	switch c := c.(type) {
	case Apply:
		if c.Pod != nil && c.Pod.UID != "" {
			a.step(ctx, c)
		}
	case Remove:
		a.step(ctx, c)
	case Resync:
		a.step(ctx, c)
	case Tune:
		*a.limits = c.Supervision.Node
		a.step(ctx, c)
	case Connect:
		a.step(ctx, c)
	case Drain:
		a.step(ctx, c)
	case Refresh:
		a.step(ctx, c)
	case List:
		answer(c.Reply, a.machine.list())
	case Find:
		answer(c.Reply, a.machine.get(c.UID))
	case Count:
		answer(c.Reply, a.machine.census())
	}
}

// answer drops what there is no room for, against the contract: blocking here would stop the node.
func answer[T any](to chan<- T, v T) {
	select {
	case to <- v:
	default:
	}
}

func (a *root) onFact(ctx actor.Context, f podactor.Fact) {
	switch f := f.(type) {
	case podactor.StatusChanged:
		a.step(ctx, changed{uid: f.UID, status: f.Status})
	case podactor.Ended:
		a.step(ctx, ended{uid: f.UID})
	}
}

// step feeds the machine. The new state counts before its effects are carried out.
func (a *root) step(ctx actor.Context, ev event) {
	for _, e := range a.machine.step(ev, a.sys.Clock().Now()) {
		a.carryOut(ctx, e)
	}
}

// resume goes through everything once more.
func (a *root) resume(ctx actor.Context) {
	present := make(map[string]bool, len(a.pods))
	for uid := range a.pods {
		present[uid] = true
	}
	a.step(ctx, resumed{present})
	for uid, f := range a.failures {
		delete(a.failures, uid)
		a.step(ctx, f)
	}
}

// letGo stops everything that is not a child. Guests live on.
func (a *root) letGo() {
	a.halting = true
	for _, cancel := range a.wakes {
		cancel()
	}
	for _, w := range a.workers {
		w.Cancel()
	}
	for id, w := range a.workers {
		w.Stop(letGoWait)
		delete(a.workers, id)
	}
}

func uidOf(pid *actor.PID) string {
	id := pid.GetId()
	return id[strings.LastIndexByte(id, '/')+1:]
}
