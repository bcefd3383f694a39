package moduleactor

import (
	"cmp"
	"fmt"
	"path/filepath"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
)

// Props describes the module actor of one container; for one spawn. The child's name should be the container's.
func Props(sys *actors.System, cfg Config, pod actors.PodRef, container string) (*actor.Props, *actors.Handle) {
	cfg = cfg.withDefaults()
	var epoch uint64 // survives restarts, as PID and mailbox do
	return sys.Props(actors.KindModule, container, pod, func(h *actors.Handle) actor.Actor {
		epoch++
		return &module{
			sys: sys, cfg: cfg, handle: h, pod: pod, container: container, epoch: epoch,
			machine: machine{state: stateCreated, timeout: cfg.CreateTimeout},
		}
	})
}

func (c Config) withDefaults() Config {
	c.CreateTimeout = cmp.Or(c.CreateTimeout, 2*time.Minute)
	c.CacheDir = cmp.Or(c.CacheDir, filepath.Join(c.RootDir, "cache"))
	c.LogMaxBytes = cmp.Or(c.LogMaxBytes, 10<<20)
	c.LogMaxFiles = cmp.Or(c.LogMaxFiles, 5)
	return c
}

// module is the shell around the machine: one incarnation of the actor, which runs at most one attempt.
type module struct {
	sys       *actors.System
	cfg       Config
	handle    *actors.Handle
	pod       actors.PodRef
	container string
	epoch     uint64

	machine machine
	process Process // nil until there is one
	worker  *actors.Worker
	seq     uint64 // of the last worker
	// timers cancel the pending timers.
	timers [timerLetGo + 1]func()
}

// report is what a worker of this actor found out. Reports of another incarnation or of an abandoned worker are dropped.
type report struct {
	epoch, seq uint64
	event      event
	process    Process
	warning    error
}

// alarm is a timer of this actor that ran out.
type alarm struct {
	epoch uint64
	event timedOut
}

// IgnoreDeadLetterLogging says that a report that comes too late is no news.
func (report) IgnoreDeadLetterLogging() {}

// IgnoreDeadLetterLogging says that an alarm that comes too late is no news.
func (alarm) IgnoreDeadLetterLogging() {}

// Receive handles one message.
func (a *module) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		a.handle.Publish(a.machine.state.String(), a.sys.Clock().Now())
	case *actor.Stopping, *actor.Restarting:
		a.letGo()
	case Run:
		a.step(ctx, msg)
	case Terminate:
		a.step(ctx, msg)
	case report:
		a.onReport(ctx, msg)
	case actors.Crash: // of a worker
		a.step(ctx, crashed{text: fmt.Sprintf("panic: %v", msg.Value)})
	case alarm:
		if msg.epoch == a.epoch {
			a.step(ctx, msg.event)
		}
	default:
		a.sys.Unhandled(ctx)
	}
}

func (a *module) onReport(ctx actor.Context, msg report) {
	if msg.epoch != a.epoch || msg.seq != a.seq {
		return
	}
	if msg.process != nil {
		a.process = msg.process
	}
	if msg.warning != nil {
		a.warn(msg.warning.Error())
	}
	a.step(ctx, msg.event)
}

// step feeds the machine. The new state counts before its effects are carried out.
func (a *module) step(ctx actor.Context, ev event) {
	now := a.sys.Clock().Now()
	next, effects := step(a.machine, ev, now)
	a.machine = next
	for _, e := range effects {
		a.carryOut(ctx, e, now)
	}
	// A timer that counts no more would wake the actor for nothing, and thousands of Pods that started together at once.
	for k, gen := range next.gens {
		if gen == 0 {
			a.cancelTimer(k)
		}
	}
}

// letGo leaves the guest alone, whatever it does, and makes sure that no work of this incarnation goes on.
func (a *module) letGo() {
	a.cancelTimers()
	if a.worker != nil {
		a.worker.Stop(letGoWait)
		a.worker = nil
	}
}

func (a *module) cancelTimers() {
	for k := range a.timers {
		a.cancelTimer(k)
	}
}

func (a *module) cancelTimer(k int) {
	if cancel := a.timers[k]; cancel != nil {
		cancel()
		a.timers[k] = nil
	}
}

func (a *module) warn(message string) {
	a.sys.Observe(actors.Notice{
		Time: a.sys.Clock().Now(), Pod: a.pod, FieldPath: a.machine.run.Spec.FieldPath, Warning: true,
		Reason: actors.ReasonFailed, Message: message,
	})
}
