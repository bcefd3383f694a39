package nodeactor

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// list returns copies of all Pods with their status, sorted by namespace and name.
func (m *machine) list() []*corev1.Pod {
	out := make([]*corev1.Pod, 0, len(m.pods))
	for _, p := range m.pods {
		if p.wanted != nil {
			out = append(out, p.show())
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return out
}

// get returns a copy of a Pod with its status, nil when there is none.
func (m *machine) get(uid string) *corev1.Pod {
	if p := m.pods[uid]; p != nil && p.wanted != nil {
		return p.show()
	}
	return nil
}

func (p *pod) show() *corev1.Pod {
	c := p.wanted.DeepCopy()
	p.status.DeepCopyInto(&c.Status)
	return c
}

// failedStatus is what becomes of the last status of a Pod that was given up.
func failedStatus(last corev1.PodStatus, verdict podactor.Outcome, now time.Time) corev1.PodStatus {
	s := *last.DeepCopy()
	s.Phase, s.Reason, s.Message = verdict.Phase, string(verdict.Reason), verdict.Message
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range list {
			failContainer(&list[i], now)
		}
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if (c.Type == corev1.PodReady || c.Type == corev1.ContainersReady) && c.Status != corev1.ConditionFalse {
			c.Status, c.Reason, c.LastTransitionTime = corev1.ConditionFalse, "PodFailed", metav1.NewTime(now)
		}
	}
	return s
}

func failContainer(c *corev1.ContainerStatus, now time.Time) {
	c.Ready, c.Started = false, new(bool)
	if c.State.Terminated != nil {
		return
	}
	t := &corev1.ContainerStateTerminated{
		ExitCode: 137, Reason: string(actors.ReasonContainerStatusUnknown),
		Message: "The container was ended with its Pod", FinishedAt: metav1.NewTime(now), ContainerID: c.ContainerID,
	}
	if r := c.State.Running; r != nil {
		t.StartedAt = r.StartedAt
	}
	c.State = corev1.ContainerState{Terminated: t}
}
