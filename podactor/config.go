package podactor

import (
	"net/netip"

	"github.com/asynkron/protoactor-go/actor"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/egress"
)

// Config is what all pod actors of a node share.
type Config struct {
	// RootDir is the node's state directory. A Pod owns RootDir/pods/<uid>.
	RootDir string
	// PodLogsDir is where logs go: PodLogsDir/<namespace>_<name>_<uid>/<container>/<attempt>.log.
	PodLogsDir string
	// NodeName is for messages.
	NodeName string
	// Hostname is the host's own name and HostsFile its /etc/hosts: what Pods on the host's network see.
	Hostname, HostsFile string
	// User is whom guests act as with files; nil: it is not said.
	User *corev1.ContainerUser
	// DNS is how the guests of this node resolve names, Egress where they may connect to.
	DNS    DNS
	Egress Egress
	// RuntimeClasses maps a Pod's runtimeClassName to how its guests are kept apart; a class that is not named, and none,
	// get DefaultIsolation, which is IsolationProcess if empty.
	RuntimeClasses   map[string]Isolation
	DefaultIsolation Isolation
	// SharedByNamespace gives each namespace a shared shim of its own, instead of one to the node.
	SharedByNamespace bool
	// SharedHostPaths are the directories that hostPath volumes of Pods in shared shims can be in.
	SharedHostPaths []string
	// Handlers bounds what containers that serve HTTP may ask for.
	Handlers HandlerLimits
	// Supervision holds until the first Tune. A Pod's overrides are resolved by its actor.
	Supervision actors.Supervision
}

// DNS is what the DNS policies of Pods refer to.
type DNS struct {
	// Cluster are the name servers of the policy ClusterFirst; none: those of the host. Domain is the cluster's domain.
	Cluster []netip.Addr
	Domain  string
	// ResolvConf is the host's file.
	ResolvConf string
}

// Egress bounds what Pods may ask for.
type Egress struct{ Allow, Deny []egress.Rule }

// Isolation is how guests are kept apart (ADR 2).
type Isolation string

const (
	// IsolationProcess gives each container a process of its own.
	IsolationProcess Isolation = "process"
	// IsolationShared runs many containers in one process.
	IsolationShared Isolation = "shared"
)

// Deps is what one pod actor needs of the world, besides its own directory.
type Deps struct {
	// Module makes the props of a container's module actor; it is called for each spawn.
	Module func(container string) (*actor.Props, *actors.Handle)
	// Bundles finds and removes what the attempts of the Pod left on disk. Nil: the bundles below Config.RootDir.
	Bundles Bundles
	// Objects is what Pods refer to in a cluster. Nil on a node without one, where such references are errors.
	Objects Objects
	// Allocatable is what the node can give to Pods: the limit of a container that has none, for a resourceFieldRef. It is
	// called from workers. Nil: not known, which makes such a reference an error.
	Allocatable func() corev1.ResourceList
}

// Bundles is the part of package bundle that a pod actor uses. Its methods block; they are called from workers only.
type Bundles interface {
	// Scan finds the latest attempt of each container; bundle.ErrBusy means try again.
	Scan(podUID string) ([]bundle.Found, error)
	// RemoveAttempts removes all attempts of a container that are not running, but for the latest ones.
	RemoveAttempts(podUID, container string, keepLatest int) error
	// RemovePod removes the directory of a Pod: checkpoint, volumes and attempts.
	RemovePod(podUID string) error
}

// Start is what a pod actor begins with: a Pod that was never seen before, or the Checkpoint of one that was.
type Start struct {
	Pod        *corev1.Pod
	Checkpoint *Checkpoint
	// Network is the Pod's place in it. An IP, or a Wait for one, goes before what the Checkpoint says.
	Network Network
	// Reject, when set, refuses the Pod: it becomes Failed and nothing of it ever runs.
	Reject *Rejection
}

// Rejection is why the node refuses a Pod, for example OutOfpods.
type Rejection struct {
	Reason  actors.Reason
	Message string
}

// RejectedStatus is the status of a Pod that was refused before it had an actor.
func RejectedStatus(pod *corev1.Pod, r Rejection) corev1.PodStatus {
	return corev1.PodStatus{
		ObservedGeneration: pod.Generation, QOSClass: qosClass(pod),
		Phase: corev1.PodFailed, Reason: string(r.Reason), Message: rejectedText + r.Message,
	}
}
