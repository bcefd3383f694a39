package podactor

import (
	"context"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
)

// saveRetry is the pause after a checkpoint that could not be written.
const saveRetry = 5 * time.Second

// saver writes checkpoints: one at a time, always of the latest state, never from Receive.
type saver struct {
	// dirty says that the state differs from the last one written, busy that one is being written, tried that the first one
	// was: nothing is started before, or the next daemon might not find it.
	dirty, busy, tried bool
}

// saved answers a worker that wrote a checkpoint. saveDue is the time to try again.
type (
	saved struct {
		worker uint64
		err    error
	}
	saveDue struct{}
)

// save writes a checkpoint if there is something new.
func (a *podActor) save(ctx actor.Context) {
	if a.saver.busy || a.halting {
		return
	}
	s := &a.ledger.state
	// Whatever is removed must not come back, least of all the directory.
	if !a.saver.dirty || a.cleaning || s.Stage == StageEnded || (s.Stage == StageTerminating && s.Busy) {
		return
	}
	a.saver.dirty, a.saver.busy = false, true
	c := Checkpoint{Version: checkpointVersion, State: s.clone(), Conditions: a.ledger.shown.Conditions}
	root := a.cfg.RootDir
	a.workerSeq++
	n := a.workerSeq
	a.workers[n] = a.sys.Go(ctx.Self(), func(context.Context) any { return saved{n, c.Save(root)} })
}

func (a *podActor) onSaved(ctx actor.Context, m saved) {
	delete(a.workers, m.worker)
	a.saver.busy = false
	if m.err != nil {
		now := a.sys.Clock().Now()
		a.handle.Failed(now, "checkpoint", m.err.Error(), "")
		// A full disk is no crash of an actor.
		a.sys.Observe(actors.Notice{
			Time: now, Pod: a.ledger.state.ref(), Warning: true, Reason: actors.ReasonFailed, Message: m.err.Error(),
		})
		a.saver.dirty = true
		a.timers[timerSlot{}] = a.sys.After(ctx.Self(), saveRetry, saveDue{})
	} else {
		a.save(ctx)
	}
	a.goOn(ctx)
	a.cleanup(ctx)
}

// goOn feeds what waited for the first checkpoint. If that could not be written, it is better to run without one than not
// at all.
func (a *podActor) goOn(ctx actor.Context) {
	a.saver.tried = true
	if e := a.early; e != nil {
		a.early = nil
		a.feed(ctx, e)
	}
}

// durable tells whether a checkpoint of next would say anything that one of before does not, as far as it matters: the
// progress of an attempt is on disk in its bundle, and whoever goes on prepares and initializes the Pod again, with what its
// containers have done.
func durable(before, next *State) bool {
	phase := func(s Stage) Stage {
		if s == StagePreparing || s == StageInitializing {
			return StageRunning
		}
		return s
	}
	return phase(before.Stage) != phase(next.Stage) || before.Pod != next.Pod ||
		before.Deletion != next.Deletion || before.Outcome != next.Outcome || before.RestartingAll != next.RestartingAll ||
		before.KillBy != next.KillBy || before.PodIP != next.PodIP ||
		!slices.EqualFunc(before.Containers, next.Containers, func(a, b Container) bool {
			return a.Last == b.Last && a.Attempt == b.Attempt && a.RetryAt.Equal(b.RetryAt) && a.History == b.History &&
				a.Started == b.Started && a.Waiting == b.Waiting && a.Replace == b.Replace && a.KillBy.Equal(b.KillBy) && (a.Stage == b.Stage || b.Stage < ModuleRunning)
		})
}
