package podactor

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// Command is what the node actor tells a pod actor.
//
//sumtype:decl
type Command interface{ command() }

// Apply tells the latest wanted state of the Pod, which keeps its UID. The Pod must not be modified any more.
type Apply struct{ Pod *corev1.Pod }

// Terminate ends the Pod: containers, then volumes, then the actor itself, which reports Ended. Repeated, it can only
// shorten the grace. Reason and Message are for the status ("" for an ordinary deletion).
type Terminate struct {
	Grace   time.Duration
	Reason  actors.Reason
	Message string
}

// Tune replaces the supervision parameters; they hold from the next decision on. A wait that is longer than the new maximum
// is cut to it.
type Tune struct{ Supervision actors.Supervision }

// Refresh says that an object of the cluster has changed, appeared or vanished. If the Pod uses it, its volumes are made
// to show the new content, and whatever waits for the object is tried again. Kind is ConfigMap or Secret.
type Refresh struct{ Kind, Namespace, Name string }

// Connect tells the Pod's place in the network when it has changed.
type Connect struct{ Network Network }

func (Apply) command()     {}
func (Connect) command()   {}
func (Terminate) command() {}
func (Tune) command()      {}
func (Refresh) command()   {}

// Fact is what a pod actor tells the node actor.
//
//sumtype:decl
type Fact interface{ fact() }

// StatusChanged carries the Pod's new status, derived from the machine's state. The receiver must not change it.
type StatusChanged struct {
	UID    string
	Status corev1.PodStatus
}

// Ended says that a terminated Pod has left nothing behind: no guest, no volume, no directory. The actor may be stopped.
type Ended struct{ UID string }

func (StatusChanged) fact() {}
func (Ended) fact()         {}
