package nodeactor

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// event is what happens to the machine: the commands of message.go but List, the facts of pod actors, and these.
//
//sumtype:decl
type event interface{ event() }

// recovered is what an earlier daemon left on disk.
type recovered struct{ left Remains }

// changed is a Pod's new status.
type changed struct {
	uid    string
	status corev1.PodStatus
}

// ended says that nothing of a Pod is left but its actor.
type ended struct{ uid string }

// failed is a crash of a pod actor. Absent says that there is no such actor any more, or that it could not be spawned.
type failed struct {
	uid    string
	text   string
	absent bool
}

// gone says that a pod actor has stopped.
type gone struct{ uid string }

// due is the end of a wait; gen tells whether it is still waited for.
type due struct {
	uid string
	gen uint64
}

// cleared answers the effect sweep.
type cleared struct {
	uid string
	gen uint64
	err error
}

// resumed says that the node actor crashed: whatever should be in hand is taken in hand again. Present are the UIDs that
// have an actor.
type resumed struct{ present map[string]bool }

func (Apply) event()     {}
func (Remove) event()    {}
func (Resync) event()    {}
func (Connect) event()   {}
func (Tune) event()      {}
func (Drain) event()     {}
func (Refresh) event()   {}
func (recovered) event() {}
func (changed) event()   {}
func (ended) event()     {}
func (failed) event()    {}
func (gone) event()      {}
func (due) event()       {}
func (cleared) event()   {}
func (resumed) event()   {}

// effect is what the machine wants done, in this order.
//
//sumtype:decl
type effect interface{ effect() }

// load reads what is on disk; recovered answers.
type load struct{}

// spawn makes a pod actor.
type spawn struct {
	uid   string
	start podactor.Start
}

// tell sends a command to a pod actor.
type tell struct {
	uid     string
	command podactor.Command
}

// restart starts a crashed pod actor again.
type restart struct{ uid string }

// stop stops a pod actor; gone answers.
type stop struct{ uid string }

// wake sends due after a while.
type wake struct {
	due   due
	after time.Duration
	// restart says that the wait is for a restart of the actor, which the registry shows.
	restart bool
}

// sweep ends the guests of a Pod that has no actor, and then removes everything it has on disk; or, with a verdict,
// keeps it there as failed. Cleared answers.
type sweep struct {
	uid     string
	gen     uint64
	verdict *podactor.Outcome
}

// publish tells the world of a Pod's status.
type publish struct {
	pod    *corev1.Pod
	status corev1.PodStatus
}

// forgotten tells the world that a Pod is gone.
type forgotten struct{ pod *corev1.Pod }

// moved is a transition of the node.
type moved struct {
	from, to state
	why      string
}

// observe is any other event for the Observer. The shell adds the path to a Decision.
type observe struct{ event actors.Event }

// drained closes the channel of a Drain, once.
type drained struct{ done chan<- struct{} }

// fatal ends the process.
type fatal struct{ err error }

func (load) effect()      {}
func (spawn) effect()     {}
func (tell) effect()      {}
func (restart) effect()   {}
func (stop) effect()      {}
func (wake) effect()      {}
func (sweep) effect()     {}
func (publish) effect()   {}
func (forgotten) effect() {}
func (moved) effect()     {}
func (observe) effect()   {}
func (drained) effect()   {}
func (fatal) effect()     {}
