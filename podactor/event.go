package podactor

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// event is what happens to the machine.
//
//sumtype:decl
type event interface{ isEvent() }

type (
	// began is the first event of every machine. Reject refuses the Pod.
	began struct{ Reject *Rejection }
	// resumed is the first event of a machine whose state was read from a checkpoint or survived a crash of the actor:
	// no module actor is attached any more and no timer runs.
	resumed struct{}
	// applied brings the latest wanted Pod.
	applied struct{ Pod *corev1.Pod }
	// terminated wants the Pod gone.
	terminated struct {
		Grace   time.Duration
		Reason  actors.Reason
		Message string
	}
	// connected brings the Pod's address, or why it has none.
	connected struct{ Network Network }
	// tuned brings other supervision parameters.
	tuned struct{ Supervision actors.Supervision }
	// prepared answers the effect prepare: volumes are set up, and Found are the latest attempts on disk.
	prepared struct {
		Err   *prepareError
		Found []bundle.Found
		// RefreshAt is when the volumes must be made anew because a token in them grows old; zero for never.
		RefreshAt time.Time
	}
	// refreshed says that an object of the cluster is another one now.
	refreshed struct{ Kind, Namespace, Name string }
	// projected answers the effect project.
	projected struct {
		Gen       uint64
		Err       *prepareError
		RefreshAt time.Time
	}
	// resolved answers the effect resolve. Err is why the container's spec cannot be made now.
	resolved struct {
		Container string
		Gen       uint64
		Spec      moduleactor.Spec
		Err       error
		// NoKeys are the image pull secrets that could not be read.
		NoKeys []string
	}
	// reported brings what a module actor tells of its attempt.
	reported struct{ Fact moduleactor.Fact }
	// exited is the ending of an attempt.
	exited struct {
		Container string
		Exit      actors.Exit
	}
	// crashed is a bug in a module actor. Its guest, if it had one, lives on.
	crashed struct {
		Container string
		Text      string
	}
	// fired is a timer.
	fired struct{ Timer timer }
	// cleaned answers the effect cleanup.
	cleaned struct{ Err error }
)

func (began) isEvent()      {}
func (resumed) isEvent()    {}
func (applied) isEvent()    {}
func (terminated) isEvent() {}
func (connected) isEvent()  {}
func (tuned) isEvent()      {}
func (prepared) isEvent()   {}
func (refreshed) isEvent()  {}
func (projected) isEvent()  {}
func (resolved) isEvent()   {}
func (reported) isEvent()   {}
func (exited) isEvent()     {}
func (crashed) isEvent()    {}
func (fired) isEvent()      {}
func (cleaned) isEvent()    {}

// prepareError is why the Pod cannot be prepared now. Volume is the one at fault; empty when the scan of attempts failed.
type prepareError struct {
	Volume string
	Err    error
}

// timerKind is what a timer is for.
type timerKind uint8

const (
	// retryDue ends a container's back-off.
	retryDue timerKind = iota + 1
	// pullErrorShown turns ErrImagePull into ImagePullBackOff.
	pullErrorShown
	// deadlineReached is activeDeadlineSeconds.
	deadlineReached
	// graceExpired is when every guest of the Pod should have been gone.
	graceExpired
	// prepareDue and cleanupDue try again what failed.
	prepareDue
	cleanupDue
	// refreshDue is when tokens in volumes grow old, or when a projection that failed is tried again.
	refreshDue
)

// timer names one timer. It is believed only while its generation is the latest of its kind.
type timer struct {
	Kind      timerKind
	Container string
	Gen       uint64
}

// effect is what the machine wants done. The shell carries effects out in their order.
//
//sumtype:decl
type effect interface{ isEffect() }

type (
	// prepare sets up volumes, unless ScanOnly, and scans for attempts; prepared answers.
	prepare struct{ ScanOnly bool }
	// project makes the files of volumes anew that come from objects of the cluster or from the Pod itself; projected
	// answers.
	project struct{ Gen uint64 }
	// resolve makes a container's spec; resolved answers. Adopt leaves the volumes alone: the guest has them already.
	resolve struct {
		Container string
		Gen       uint64
		Adopt     bool
	}
	// run hands an attempt to the container's module actor, which is spawned or restarted for it.
	run struct{ Run moduleactor.Run }
	// kill ends a container's guest.
	kill struct {
		Container string
		Grace     time.Duration
	}
	// release stops the module actor of a container that has nothing to do any more.
	release struct{ Container string }
	// after sets a timer.
	after struct {
		Timer timer
		Delay time.Duration
	}
	// observe gives an event to the Observer: a Transition, Decision, Failure or Notice. The shell adds what only it
	// knows, the paths of actors.
	observe struct{ Event actors.Event }
	// cleanup waits for the module actors to be gone and removes everything the Pod had on disk; cleaned answers.
	cleanup struct{}
	// end tells the parent that nothing is left.
	end struct{}
)

func (prepare) isEffect() {}
func (project) isEffect() {}
func (resolve) isEffect() {}
func (run) isEffect()     {}
func (kill) isEffect()    {}
func (release) isEffect() {}
func (after) isEffect()   {}
func (observe) isEffect() {}
func (cleanup) isEffect() {}
func (end) isEffect()     {}
