package moduleactor

import (
	"fmt"
	"time"

	"github.com/wazlet/wazlet/actors"
)

// onTerminate ends the attempt wherever it stands. Asked again, it can only become sooner. In Created there is none: such
// a Terminate was meant for an attempt that ended before the message was read, and must not hit the next one.
func (t *turn) onTerminate(ev Terminate) {
	if t.state == stateCreated {
		return
	}
	t.graceBy = sooner(t.graceBy, t.now.Add(max(0, ev.Grace)))
	t.killBy = sooner(t.killBy, t.now.Add(max(0, min(ev.Grace, ev.KillWait))))
	first := t.cause == causeNone
	t.because(causeTerminate, "terminated before it started")
	switch {
	case t.process:
		t.end()
	case first:
		t.giveUp()
	}
}

// onTimedOut is told of a timer that ran out.
func (t *turn) onTimedOut(ev timedOut) {
	if ev.gen == 0 || t.gens[ev.timer] != ev.gen {
		return
	}
	t.disarm(ev.timer)
	switch ev.timer {
	case timerKill:
		t.kill()
	case timerLetGo:
		t.working = false
		t.exit(t.abandoned())
	case timerCreate:
		t.onCreateTimedOut()
	}
}

func (t *turn) onCreateTimedOut() {
	if t.cause != causeNone || t.state == stateRunning {
		return
	}
	t.because(causeTimeout, fmt.Sprintf("not started within %s", t.timeout))
	if t.process {
		t.kill()
		return
	}
	t.giveUp()
}

// giveUp cancels the work that precedes the process. A launch must be waited for however long it takes: abandoned, it
// could still bring a process to life. An adoption is not even cancelled: its process lives already.
func (t *turn) giveUp() {
	if t.run.Adopt {
		return
	}
	t.do(cancelWork{})
	if !t.launching {
		t.arm(timerLetGo, letGoWait)
	}
}

// abandoned is the ending of an attempt whose worker did not obey.
func (t *turn) abandoned() actors.Exit {
	if t.state == statePulling {
		return t.notStarted(actors.ReasonErrImagePull, t.causeMsg)
	}
	return t.notStarted(actors.ReasonCreateContainerError, t.causeMsg)
}

// sooner is the earlier of two times, of which the first may not be set.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// end asks the process to end in time.
func (t *turn) end() {
	by := t.killBy
	if t.useGrace {
		by = t.graceBy
	}
	left := by.Sub(t.now)
	if left <= 0 {
		t.kill()
		return
	}
	if t.killed {
		return
	}
	if t.gens[timerKill] == 0 {
		t.do(signal{})
	}
	t.arm(timerKill, left)
}

// kill sends SIGKILL, once.
func (t *turn) kill() {
	t.disarm(timerKill)
	if t.killed {
		return
	}
	t.killed = true
	t.do(signal{kill: true})
}

func (t *turn) because(c cause, msg string) {
	if t.cause == causeNone || c == causeCrash {
		t.cause, t.causeMsg = c, msg
	}
}

func (t *turn) do(e effect) { t.out = append(t.out, e) }

func (t *turn) work(e effect) {
	if t.working {
		panic(fmt.Sprintf("moduleactor: second worker (%T) in state %s", e, t.state))
	}
	t.working = true
	t.do(e)
}

func (t *turn) arm(k timer, after time.Duration) {
	t.gen++
	t.gens[k] = t.gen
	t.do(arm{timer: k, gen: t.gen, after: after})
}

func (t *turn) disarm(k timer) { t.gens[k] = 0 }

func (t *turn) become(next state, why string) {
	mustReach(t.state, next)
	t.do(moved{from: t.state, to: next, why: why})
	t.state = next
}

// exit ends the attempt.
func (t *turn) exit(x actors.Exit) {
	t.become(stateExited, string(x.Reason))
	t.do(fail{x})
}
