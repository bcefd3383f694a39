package daemon

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/kube/admission"
	"github.com/wazlet/wazlet/podactor"
)

// wasmClass is the RuntimeClass of deploy/runtimeclass that stands for the default isolation.
const wasmClass = "wasm"

// admit says why the node refuses a Pod that it has not seen before.
func (d *daemon) admit(pod *corev1.Pod, others []*corev1.Pod) *podactor.Rejection {
	r := admission.Request{
		Pod: pod, Others: others,
		RuntimeClasses: append(slices.Collect(maps.Keys(d.Config.Isolation.RuntimeClasses)), wasmClass),
	}
	if d.cluster != nil {
		r.Node = d.cluster.node.Node()
	}
	no := admission.Decide(r)
	if no == nil {
		return nil
	}
	return &podactor.Rejection{Reason: actors.Reason(no.Reason), Message: no.Message}
}
