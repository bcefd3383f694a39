package actors

import (
	"time"
)

//go:generate go tool -modfile=../.ci/tools.mod stringer -type=Restart
//go:generate go tool -modfile=../.ci/tools.mod stringer -type=Directive -trimprefix=Directive

// Restart says when a supervisor restarts a child, in OTP's words.
type Restart uint8

const (
	// Permanent children are restarted after every exit: restartPolicy Always, sidecars.
	Permanent Restart = iota + 1
	// Transient children are restarted after a failure only: restartPolicy OnFailure, init containers.
	Transient
	// Temporary children are never restarted: restartPolicy Never.
	Temporary
)

// Directive is what a supervisor does with a child that ended.
type Directive uint8

const (
	// DirectiveRestart starts the child anew, after the verdict's delay.
	DirectiveRestart Directive = iota + 1
	// DirectiveStop ends the child for good.
	DirectiveStop
)

// Backoff is the delay between restarts: Initial, then times Factor up to Max, forgotten by a child that was up for
// longer than ResetAfter.
type Backoff struct {
	Initial, Max time.Duration
	Factor       float64
	ResetAfter   time.Duration
}

// History is what Decide must remember of a child between its exits. The zero value is a child that never ended.
type History struct {
	// Restarts counts the restarts that were decided, first starts and retries of a pull not included.
	Restarts int `json:"restarts,omitempty"`
	// Delay is the delay of the next restart; zero means at once.
	Delay time.Duration `json:"delay,omitempty"`
	// Pull is the delay before the last retry of a pull; zero when the last attempt did start.
	Pull time.Duration `json:"pull,omitempty"`
}

// Verdict is Decide's answer. Delay counts from the now that Decide was given and is never negative.
type Verdict struct {
	Directive Directive
	Delay     time.Duration
	History   History
}

// Decide says what to do with a child that ended with x. It is the whole of the restart policy: the supervisors only
// carry it out. H is what the last Verdict said, now is not before x.FinishedAt unless the clock was set back.
//
// A guest that never ran (the pull or the creation failed) is tried again whatever the policy says, after Initial,
// then Factor times longer each time, up to Max; that is no restart. Otherwise the policy decides, as in Kubernetes: the
// first restart is at once, the next ones follow a delay from FinishedAt on.
func Decide(p Restart, b Backoff, x Exit, h History, now time.Time) Verdict {
	if x.NotStarted {
		h.Pull = b.after(h.Pull)
		return Verdict{Directive: DirectiveRestart, Delay: h.Pull, History: h}
	}
	h.Pull = 0
	if p == Temporary || (p == Transient && !x.Failed()) {
		return Verdict{Directive: DirectiveStop, History: h}
	}
	if b.forgets(x) {
		h.Delay = 0
	}
	delay := max(0, min(h.Delay, b.Max)) // Max may have been lowered since
	h.Restarts++
	h.Delay = b.after(h.Delay)
	return Verdict{Directive: DirectiveRestart, Delay: left(delay, x.FinishedAt, now), History: h}
}

// after is the delay that follows d.
func (b Backoff) after(d time.Duration) time.Duration {
	if d <= 0 {
		return max(0, min(b.Initial, b.Max))
	}
	next := float64(d) * max(1, b.Factor)
	if next >= float64(b.Max) { // before the conversion, which must not overflow
		return max(0, b.Max)
	}
	return time.Duration(next)
}

// forgets tells whether the attempt ran for so long that what was before it does not count. An attempt with an unknown
// start did not; a ResetAfter of zero never forgets.
func (b Backoff) forgets(x Exit) bool {
	return b.ResetAfter > 0 && !x.StartedAt.IsZero() && !x.FinishedAt.IsZero() &&
		x.FinishedAt.Sub(x.StartedAt) > b.ResetAfter
}

// left is what is left at now of a delay that began at from: all of it when from is unknown or in the future.
func left(delay time.Duration, from, now time.Time) time.Duration {
	if from.IsZero() || from.After(now) {
		return delay
	}
	return max(0, delay-now.Sub(from))
}
