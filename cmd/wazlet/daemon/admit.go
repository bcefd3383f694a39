package daemon

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/kube/admission"
	"github.com/wazlet/wazlet/podactor"
)

// wasmClass is the RuntimeClass of deploy/runtimeclass that stands for the default isolation.
const wasmClass = "wasm"

const catchUpTimeout = 2 * time.Second

// admit says why the node refuses a Pod that it has not seen before.
func (d *daemon) admit(pod *corev1.Pod, others []*corev1.Pod) *podactor.Rejection {
	no := d.decide(pod, others)
	if no == nil {
		return nil
	}
	return &podactor.Rejection{Reason: actors.Reason(no.Reason), Message: no.Message}
}

func (d *daemon) decide(pod *corev1.Pod, others []*corev1.Pod) *admission.Rejection {
	r := admission.Request{
		Pod: pod, Others: others,
		RuntimeClasses: append(slices.Collect(maps.Keys(d.Config.Isolation.RuntimeClasses)), wasmClass),
	}
	if d.cluster != nil {
		r.Node = d.cluster.node.Node()
	}
	return admission.Decide(r)
}

// catchUp reads the Node anew before a new Pod would be refused for what the node knows of its own labels and taints: the
// watches of Pods and of the Node are not in step, and a refusal is final. It holds up the Pods that come next.
func (d *daemon) catchUp(ctx context.Context, pod *corev1.Pod) {
	if pod.Status.StartTime != nil || pod.DeletionTimestamp != nil || over(pod.Status.Phase) || !d.decide(pod, nil).MayBeStale() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	if err := d.cluster.node.Refresh(ctx); err != nil {
		d.log.Warn("a Pod is judged by the node's labels and taints as last seen",
			zap.String("namespace", pod.Namespace), zap.String("pod", pod.Name), zap.Error(err))
	}
}
