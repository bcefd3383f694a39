package podactor

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/podactor/volume"
)

// Objects is what Pods refer to in a cluster. Its methods block until the answer is known, for a bounded time; they are
// called from workers only. An object that does not exist is an error for which apierrors.IsNotFound is true and whose
// text is the one users look for: `configmap "x" not found`. What is returned is shared and must not be changed.
type Objects interface {
	// ConfigMap, Secret and Token serve volumes, the first two the environment, too.
	volume.Objects
	// Services lists the Services of a namespace. With a context that is over it does not wait for the first complete list.
	Services(ctx context.Context, namespace string) ([]*corev1.Service, error)
}

// surroundings is what the containers and volumes of a Pod are made with. It is used by workers.
type surroundings struct {
	cfg         Config
	objects     Objects // nil: no cluster
	allocatable func() corev1.ResourceList
	pod         *corev1.Pod
	// podIP is the Pod's own address, hostIP the node's; each empty while there is none.
	podIP, hostIP string
}

func (a *podActor) surroundings() surroundings {
	s := &a.ledger.state
	return surroundings{cfg: *a.cfg, objects: a.deps.Objects, allocatable: a.deps.Allocatable, pod: s.Pod, podIP: s.PodIP, hostIP: s.HostIP}
}

// world is the part that volumes need.
func (s surroundings) world() volume.World {
	w := volume.World{Root: s.cfg.RootDir, Field: s.volumeField, Resource: s.resourceField}
	if s.objects != nil {
		w.Objects = s.objects
	}
	return w
}
