package nodeactor

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// Command is what the rest of the daemon tells the node actor.
//
//sumtype:decl
type Command interface{ command() }

// Apply adds a Pod or changes a known one (same UID). The Pod must not be modified any more, by anybody: the node and
// the Pod's actor keep the one copy that there is.
type Apply struct{ Pod *corev1.Pod }

// Remove ends a Pod and forgets it. Grace nil means the Pod's own terminationGracePeriodSeconds.
type Remove struct {
	UID   string
	Grace *time.Duration
}

// Resync is the complete list of wanted Pods: whatever is not in it is removed. Until the first Resync nothing that
// was recovered from disk is ended for not being wanted. As in Apply, the Pods must not be modified any more.
type Resync struct{ Pods []*corev1.Pod }

// Tune replaces the supervision parameters of the whole tree.
type Tune struct{ Supervision actors.Supervision }

// Connect replaces the network. Pods that have an address keep it.
type Connect struct{ Network Network }

// Drain ends all Pods. When the last one is gone, Done is closed.
type Drain struct{ Done chan<- struct{} }

// Refresh says that an object of the cluster has changed, appeared or vanished; the Pods of its namespace are told. Kind is
// ConfigMap or Secret.
type Refresh struct{ Kind, Namespace, Name string }

// List asks for all Pods with their current status. Reply needs room for one value.
type List struct{ Reply chan<- []*corev1.Pod }

// Find asks for one Pod with its current status; nil when there is none. Reply needs room for one value.
type Find struct {
	UID   string
	Reply chan<- *corev1.Pod
}

// Count asks how the Pods stand. Reply needs room for one value.
type Count struct{ Reply chan<- Census }

func (Apply) command()   {}
func (Remove) command()  {}
func (Resync) command()  {}
func (Connect) command() {}
func (Tune) command()    {}
func (Drain) command()   {}
func (List) command()    {}
func (Find) command()    {}
func (Count) command()   {}
func (Refresh) command() {}
