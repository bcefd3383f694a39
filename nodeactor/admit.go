package nodeactor

import (
	"fmt"
	"slices"

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
// The list is kept until a Pod may have changed: a node that starts with thousands must not go over all of them for each.
func (t *turn) active(p *pod) []*corev1.Pod {
	if t.room != nil {
		return slices.Clip(t.room)
	}
	out := []*corev1.Pod{}
	for o := range t.known() {
		switch {
		case o.uid == p.uid, o.wanted == nil, o.start.Reject != nil:
		case o.stage == stageWaiting, o.stage == stageLeaving, o.stage == stageFailed, o.stage == stageClearing:
		case o.status.Phase == corev1.PodSucceeded, o.status.Phase == corev1.PodFailed:
		default:
			out = append(out, o.allocated())
		}
	}
	t.room = out
	return slices.Clip(out)
}

// seat adds a Pod that was admitted to those that are active.
func (t *turn) seat(p *pod) {
	if t.room != nil {
		t.room = append(t.room, p.wanted)
	}
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
