package nodeactor

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// rejection says why there is no room for a Pod, or no place; nil when the node takes it.
func (t *turn) rejection(p *pod) *podactor.Rejection {
	others := t.active(p)
	if used := len(others); t.maxPods > 0 && used >= t.maxPods {
		return &podactor.Rejection{Reason: actors.ReasonOutOfPods, Message: fmt.Sprintf(
			"Node didn't have enough resource: pods, requested: 1, used: %d, capacity: %d", used, t.maxPods)}
	}
	if t.admits == nil {
		return nil
	}
	return t.admits(p.wanted, others)
}

// active are the Pods other than p that may have a container running, now or later.
func (t *turn) active(p *pod) []*corev1.Pod {
	var out []*corev1.Pod
	for o := range t.known() {
		switch {
		case o.uid == p.uid, o.wanted == nil, o.start.Reject != nil:
		case o.stage == stageWaiting, o.stage == stageLeaving, o.stage == stageFailed, o.stage == stageClearing:
		case o.status.Phase == corev1.PodSucceeded, o.status.Phase == corev1.PodFailed:
		default:
			out = append(out, o.allocated())
		}
	}
	return out
}

// allocated is the Pod with the resources that it was admitted with: those of a resize that was refused are only a wish.
func (p *pod) allocated() *corev1.Pod {
	switch {
	case p.start.Pod != nil:
		return p.start.Pod
	case p.start.Checkpoint != nil:
		return p.start.Checkpoint.Pod()
	default:
		return p.wanted
	}
}
