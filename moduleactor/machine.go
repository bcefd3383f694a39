package moduleactor

import (
	"errors"
	"fmt"
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// machine is the whole memory of an attempt. It is a value: step works on a copy, so that a panic in it changes nothing.
type machine struct {
	state   state
	run     Run
	timeout time.Duration // from the pull to _start

	imageID, containerID string
	startedAt            time.Time

	working   bool // a worker has yet to answer
	launching bool // that worker may bring a process to life
	process   bool // a process exists, or did
	last      bool // the last wait for the process, after a crash of the one before

	cause    cause
	causeMsg string
	killed   bool
	// graceBy and killBy are when SIGKILL is due, set once the attempt is to end: the first for a guest that can make use
	// of its grace, which useGrace says of the process.
	graceBy, killBy time.Time
	useGrace        bool

	gen  uint64
	gens [timerLetGo + 1]uint64 // the generation that counts, by timer; 0 = none
}

// cause is why the attempt is being ended from our side; the first one counts.
type cause uint8

const (
	causeNone cause = iota
	causeTerminate
	causeTimeout
	causeCrash
)

// turn is one step: the machine as it becomes, and what is to be done.
type turn struct {
	machine
	now time.Time
	out []effect
}

// step is the machine's transition function. It is pure.
func step(m machine, ev event, now time.Time) (machine, []effect) {
	t := turn{machine: m, now: now}
	if t.state != stateExited {
		t.on(ev)
	}
	return t.machine, t.out
}

func (t *turn) on(ev event) {
	switch ev := ev.(type) {
	case Run:
		t.onRun(ev)
	case Terminate:
		t.onTerminate(ev)
	case looked:
		t.do(tell{Pulling{
			Container: t.run.Spec.Container, Attempt: t.run.Attempt, Image: t.run.Spec.Image, Remote: ev.remote,
		}})
	case pulled:
		t.onPulled(ev)
	case prepared:
		t.onPrepared(ev)
	case launched:
		t.onLaunched(ev)
	case entered:
		t.onEntered(ev)
	case ended:
		t.onEnded(ev)
	case crashed:
		t.onCrashed(ev)
	case timedOut:
		t.onTimedOut(ev)
	}
}

func (t *turn) onRun(ev Run) {
	if t.state != stateCreated {
		return // the attempt is under way already
	}
	t.run = ev
	if ev.Adopt {
		t.become(stateStarting, "adopt")
		t.arm(timerCreate, t.timeout)
		t.launching = true
		t.work(adopt{})
		return
	}
	t.become(statePulling, "run")
	t.work(pull{})
}

func (t *turn) onPulled(ev pulled) {
	t.working = false
	switch {
	case t.cause != causeNone:
		t.exit(t.notStarted(actors.ReasonErrImagePull, t.causeMsg))
		return
	case ev.err != nil:
		t.exit(t.notStarted(pullReason(ev.err), ev.err.Error()))
		return
	}
	t.imageID = ev.image.ID
	t.do(tell{Pulled{
		Container: t.run.Spec.Container, Attempt: t.run.Attempt, Image: t.run.Spec.Image, ImageID: ev.image.ID,
		Size: ev.image.Size, Present: ev.image.Present, Took: ev.image.Took, Waited: ev.image.Waited,
	}})
	t.become(statePreparing, "image is here")
	t.arm(timerCreate, t.timeout)
	t.work(prepare{ev.image})
}

func (t *turn) onPrepared(ev prepared) {
	t.working = false
	var invalid *bundle.InvalidModule
	switch {
	case t.cause != causeNone:
		t.exit(t.notStarted(actors.ReasonCreateContainerError, t.causeMsg))
		return
	case errors.As(ev.err, &invalid):
		// It can never run, so it is the policy's business, not that of retries.
		t.exit(t.startError(invalid.Text))
		return
	case ev.err != nil:
		t.exit(t.notStarted(actors.ReasonCreateContainerError, ev.err.Error()))
		return
	}
	t.become(stateStarting, "module is compiled")
	t.launching = true
	t.work(launch{ev.spec})
}

func (t *turn) onLaunched(ev launched) {
	t.working, t.launching = false, false
	if ev.err != nil {
		t.exit(t.notLaunched(ev.err))
		return
	}
	t.process, t.useGrace = true, ev.spec.UsesGrace()
	t.containerID, t.imageID = ev.spec.ContainerID, ev.spec.ImageID
	if !t.run.Adopt && t.cause != causeCrash {
		t.do(tell{Created{Container: t.run.Spec.Container, Attempt: t.run.Attempt, ContainerID: t.containerID}})
	}
	switch t.cause {
	case causeNone:
		t.work(awaitEntry{})
	case causeTerminate:
		t.end()
		t.work(awaitEntry{})
	case causeTimeout, causeCrash:
		t.kill()
		t.work(awaitEnd{})
	}
}

// notLaunched is the ending of an attempt for which there is no process.
func (t *turn) notLaunched(err error) actors.Exit {
	switch {
	case t.cause == causeCrash:
		return t.crash()
	case t.run.Adopt:
		x := t.startError(fmt.Sprintf("adopt: %v", err))
		x.Reason, x.Code = actors.ReasonContainerStatusUnknown, codeKilled
		return x
	case t.cause != causeNone:
		return t.notStarted(actors.ReasonRunContainerError, t.causeMsg)
	}
	return t.notStarted(actors.ReasonRunContainerError, err.Error())
}

func (t *turn) onEntered(ev entered) {
	t.working = false
	t.disarm(timerCreate)
	switch {
	case errors.Is(ev.err, bundle.ErrClosed):
		return // see onEnded
	case ev.err != nil && t.cause != causeTimeout:
		// The process cannot be watched: end it while it can still be signalled.
		t.because(causeCrash, fmt.Sprintf("wait for _start: %v", ev.err))
		t.kill()
	case ev.ok && t.cause != causeTimeout:
		t.startedAt = ev.state.StartedAt
		t.become(stateRunning, "_start entered")
		t.do(tell{Started{
			Container: t.run.Spec.Container, Attempt: t.run.Attempt, ContainerID: t.containerID, ImageID: t.imageID,
			PID: ev.state.PID, StartedAt: ev.state.StartedAt, Adopted: t.run.Adopt,
		}})
	}
	t.work(awaitEnd{})
}

func (t *turn) onEnded(ev ended) {
	t.working = false
	if errors.Is(ev.err, bundle.ErrClosed) {
		return // the daemon is about to end: the guest outlives it
	}
	if ev.err != nil {
		t.kill() // nobody would watch it any more
		x := t.startError(fmt.Sprintf("wait for the end: %v", ev.err))
		x.Reason, x.Code = actors.ReasonContainerStatusUnknown, codeKilled
		t.exit(x)
		return
	}
	t.exit(t.fromBundle(ev))
}

func (t *turn) onCrashed(ev crashed) {
	t.working = false
	t.because(causeCrash, ev.text)
	switch {
	case t.process && !t.last:
		t.last = true
		t.kill()
		t.work(awaitEnd{})
	case t.launching && !t.last:
		// A process may exist that we know nothing of: look for it.
		t.last = true
		t.work(adopt{})
	default:
		t.exit(t.crash())
	}
}

func pullReason(err error) actors.Reason {
	if e, ok := errors.AsType[*image.Error](err); ok {
		return actors.Reason(e.Reason)
	}
	return actors.ReasonErrImagePull
}
