package podactor

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// deadlineText is the kubelet's.
const deadlineText = "Pod was active on the node longer than the specified deadline"

// armDeadline sets the timer of activeDeadlineSeconds, which counts from the Pod's startTime.
func (m *machine) armDeadline() {
	m.DeadlineGen = 0
	if s := m.Pod.Spec.ActiveDeadlineSeconds; s != nil && !m.ending() {
		due := m.StartTime.Add(time.Duration(*s) * time.Second)
		m.DeadlineGen = m.arm(deadlineReached, due.Sub(m.now))
	}
}

func (m *machine) onDeadlineReached(t timer) {
	if t.Gen != m.DeadlineGen || m.ending() {
		return
	}
	m.DeadlineGen = 0
	m.Outcome = &Outcome{Phase: corev1.PodFailed, Reason: actors.ReasonDeadlineExceeded, Message: deadlineText}
	m.emit(observe{actors.Notice{Time: m.now, Pod: m.ref(), Reason: actors.ReasonDeadlineExceeded, Message: deadlineText}})
}
