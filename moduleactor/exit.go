package moduleactor

import (
	"cmp"
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// Exit codes that are not the guest's.
const (
	codeCrash      = 2
	codeStartError = 128
	codeKilled     = 137
)

// notStarted is an attempt that left nothing: it will be retried under the same number.
func (t *turn) notStarted(reason actors.Reason, msg string) actors.Exit {
	x := actors.Exit{
		Reason: reason, Message: msg, NotStarted: true, Attempt: t.run.Attempt, FinishedAt: t.now, ImageID: t.imageID,
	}
	if t.cause == causeTerminate {
		x.Code = codeKilled
	}
	return x
}

// startError is an attempt that is spent although the guest never ran.
func (t *turn) startError(msg string) actors.Exit {
	return actors.Exit{
		Reason: actors.ReasonStartError, Code: codeStartError, Message: msg, Attempt: t.run.Attempt,
		StartedAt: t.started(t.now), FinishedAt: t.now, ContainerID: t.containerID, ImageID: t.imageID,
	}
}

// crash is an attempt that a bug of ours ended.
func (t *turn) crash() actors.Exit {
	x := t.startError(t.causeMsg)
	x.Reason, x.Code = actors.ReasonCrash, codeCrash
	return x
}

// fromBundle is the ending of a process.
func (t *turn) fromBundle(ev ended) actors.Exit {
	finished := ev.exit.FinishedAt
	if finished.IsZero() {
		finished = t.now
	}
	x := actors.Exit{
		Reason: exitReason(ev.exit), Code: ev.exit.Code, Message: cmp.Or(ev.message, ev.exit.Message),
		Attempt: t.run.Attempt, StartedAt: ev.exit.StartedAt, FinishedAt: finished,
		ContainerID: t.containerID, ImageID: t.imageID,
		PeakMemory: ev.exit.PeakMemoryBytes, CPUTime: time.Duration(ev.exit.CPUTimeNanos),
	}
	if x.StartedAt.IsZero() {
		x.StartedAt = t.started(finished)
	}
	switch t.cause {
	case causeTimeout:
		x.Reason, x.Code, x.Message = actors.ReasonStartError, codeStartError, t.causeMsg
	case causeCrash:
		x.Reason, x.Message = actors.ReasonCrash, t.causeMsg
		x.Code = cmp.Or(x.Code, codeCrash)
	case causeNone, causeTerminate:
	}
	return x
}

// started is when the guest started. A guest that never did counts as having been up for no time at all: measured from
// the zero time it would have been up for centuries, and its back-off be forgotten.
func (t *turn) started(otherwise time.Time) time.Time {
	if t.startedAt.IsZero() {
		return otherwise
	}
	return t.startedAt
}

func exitReason(e bundle.Exit) actors.Reason {
	switch e.Reason {
	case bundle.Completed:
		return actors.ReasonCompleted
	case bundle.StartError:
		return actors.ReasonStartError
	case bundle.OOMKilled:
		return actors.ReasonOOMKilled
	case bundle.Error, bundle.Trap, bundle.Killed:
		return actors.ReasonError
	}
	return actors.ReasonError
}
