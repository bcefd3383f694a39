package nodeactor

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// The words are the kubelet's for Pods that a node ends because it ends itself, and for Pods that come after that.
const (
	shutdownText = "Pod was terminated in response to imminent node shutdown."
	tooLateText  = "Pod was rejected as the node is shutting down."
)

// onDrain ends all Pods and refuses new ones.
func (t *turn) onDrain(ev Drain) {
	if !slices.Contains(t.drains, ev.Done) {
		t.drains = append(slices.Clip(t.drains), ev.Done)
	}
	if t.state == stateStopped {
		t.announceDrained()
		return
	}
	if t.state != stateDraining {
		t.become(stateDraining, "drain")
		t.each(func(p *pod) {
			p.next = nil
			t.leave(p, nil, podactor.Rejection{Reason: actors.ReasonTerminated, Message: shutdownText})
		})
		for _, uid := range t.orphans {
			t.clearOrphan(uid)
		}
	}
	t.concludeDrain()
}

// concludeDrain ends a drain when no Pod is left.
func (t *turn) concludeDrain() {
	if t.state == stateDraining && t.empty() {
		t.become(stateStopped, "no pod is left")
		t.announceDrained()
	}
}

func (t *turn) announceDrained() {
	for _, done := range t.drains {
		t.do(drained{done})
	}
}

// refuse tells the world of a Pod that comes too late. The node keeps nothing of it: whoever deletes it is answered at once.
func (t *turn) refuse(wanted *corev1.Pod) {
	t.do(observe{actors.Notice{
		Time: t.now, Pod: refOf(wanted), Warning: true, Reason: actors.ReasonNodeShutdown, Message: tooLateText,
	}})
	t.do(publish{wanted, podactor.RejectedStatus(wanted, podactor.Rejection{Reason: actors.ReasonNodeShutdown, Message: tooLateText})})
	if wanted.DeletionTimestamp != nil {
		t.do(forgotten{wanted})
	}
}
