package nodeactor

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// Config is what a node actor is told when it is spawned.
type Config struct {
	// RootDir is the node's state directory, PodLogsDir that of the logs.
	RootDir, PodLogsDir string
	NodeName            string
	// MaxPods is how many Pods may be active at once; further ones are refused. Zero means no limit.
	MaxPods int
	// Admit says why a Pod that the node has never seen is refused, given the Pods that hold resources; nil takes it. It is
	// called on the actor's goroutine, in the order of creation: it must not block, nor change what it is given. Nil: all
	// are taken.
	Admit func(pod *corev1.Pod, others []*corev1.Pod) *podactor.Rejection
	// Network holds until the first Connect.
	Network Network
	// Supervision holds until the first Tune.
	Supervision actors.Supervision
	// OnStatus is told of every new status of a Pod, OnEnded of a Pod that left nothing behind and is forgotten. Both
	// are called on the actor's goroutine: they must not block, nor change what they are given. Nil: nobody is told.
	OnStatus func(pod *corev1.Pod, status corev1.PodStatus)
	OnEnded  func(pod *corev1.Pod)
}

// Deps are what a node actor needs of the world.
type Deps struct {
	// Pod makes the props of a pod actor; it is called for each spawn.
	Pod func(start podactor.Start) (*actor.Props, *actors.Handle)
	// Fatal is told why the daemon must end. It must not block, and it may be called more than once. Nil: nobody is.
	Fatal func(err error)
	// Guests finds the attempts that run; a bundle.Runtime does.
	Guests Guests
	// Disk deals with what Pods leave behind. Nil: what is below Config.RootDir, with Guests.
	Disk Disk
}

func (c Config) validate(d Deps) error {
	switch {
	case d.Pod == nil:
		return errors.New("nodeactor: Deps.Pod: missing")
	case d.Guests == nil && d.Disk == nil:
		return errors.New("nodeactor: Deps.Guests: missing")
	case c.RootDir == "":
		return errors.New("nodeactor: Config.RootDir: missing")
	case c.MaxPods < 0:
		return fmt.Errorf("nodeactor: Config.MaxPods: want 0 or more (got %d)", c.MaxPods)
	}
	return nil
}
