package actors

import "time"

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
