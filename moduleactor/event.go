package moduleactor

import (
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// event is everything that can move the machine: the commands of message.go, what a worker found out, and timers.
//
//sumtype:decl
type event interface{ event() }

// looked says whether a registry has to be asked; the pull goes on.
type looked struct{ remote bool }

// pulled is the end of the pull.
type pulled struct {
	image image.Image
	err   error
}

// prepared is the end of compiling the module and laying out the bundle.
type prepared struct {
	spec bundle.Spec
	err  error
}

// launched is the end of starting a shim or of adopting one: the process exists unless err is set.
type launched struct {
	spec bundle.Spec
	err  error
}

// entered says that _start was entered, or, when not ok, that the process ended before.
type entered struct {
	state bundle.State
	ok    bool
	err   error
}

// ended is how the process ended. Message is the termination message, or the log's tail in its place; empty if none.
type ended struct {
	exit    bundle.Exit
	message string
	err     error
}

// crashed is a panic of the worker: a bug of ours.
type crashed struct{ text string }

// timedOut is a timer that has run out; only the one of the last generation counts.
type timedOut struct {
	timer timer
	gen   uint64
}

// timer names what is being waited for.
type timer uint8

const (
	// timerCreate bounds the time from the pull to _start.
	timerCreate timer = iota + 1
	// timerKill is the end of the grace.
	timerKill
	// timerLetGo bounds the wait for a cancelled worker.
	timerLetGo
)

func (Run) event()       {}
func (Terminate) event() {}
func (looked) event()    {}
func (pulled) event()    {}
func (prepared) event()  {}
func (launched) event()  {}
func (entered) event()   {}
func (ended) event()     {}
func (crashed) event()   {}
func (timedOut) event()  {}

// letGoWait is how long a cancelled worker has to return before it is abandoned.
const letGoWait = 2 * time.Second

// effect is what the machine wants done. The first five start the worker; the machine never starts one while another works.
//
//sumtype:decl
type effect interface{ effect() }

// pull gets the image.
type pull struct{}

// prepare compiles the module and lays out the bundle.
type prepare struct{ image image.Image }

// launch starts the shim.
type launch struct{ spec bundle.Spec }

// adopt opens the bundle of an attempt that was started before.
type adopt struct{}

// awaitEntry waits for _start.
type awaitEntry struct{}

// awaitEnd waits for the end of the process.
type awaitEnd struct{}

// cancelWork cancels the worker; its result still comes.
type cancelWork struct{}

// signal signals the process.
type signal struct{ kill bool }

// arm starts a timer, replacing the one of the same name.
type arm struct {
	timer timer
	gen   uint64
	after time.Duration
}

// tell sends a fact to the pod actor.
type tell struct{ fact Fact }

// moved publishes a transition.
type moved struct {
	from, to state
	why      string
}

// fail ends the attempt; it is always the last effect.
type fail struct{ exit actors.Exit }

func (pull) effect()       {}
func (prepare) effect()    {}
func (launch) effect()     {}
func (adopt) effect()      {}
func (awaitEntry) effect() {}
func (awaitEnd) effect()   {}
func (cancelWork) effect() {}
func (signal) effect()     {}
func (arm) effect()        {}
func (tell) effect()       {}
func (moved) effect()      {}
func (fail) effect()       {}
