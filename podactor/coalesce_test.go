package podactor

import (
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// TestStatusIsCoalesced: what comes in one go makes one status.
func TestStatusIsCoalesced(t *testing.T) {
	pod := onePod("c0")
	for i := 1; i < 50; i++ {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "c" + strconv.Itoa(i), Image: "img:1"})
	}
	n := newNode(t, 1, pod, forever)
	n.up()
	before := len(n.statuses)
	for i := range pod.Spec.Containers {
		n.sys.Root().Send(n.pod, exited{"c" + strconv.Itoa(i), actors.Exit{Reason: actors.ReasonError, Code: 3, FinishedAt: n.sim.Now()}})
	}
	n.sim.Settle()
	if after := len(n.statuses) - before; before > 10 || after != 1 {
		t.Errorf("50 containers made %d statuses when they started and %d when they ended, want at most 10, and 1", before, after)
	}
	if got := n.status().ContainerStatuses[7].State.Terminated; got == nil || got.ExitCode != 3 {
		t.Errorf("the last status is not of the end: %+v", n.status().ContainerStatuses[7])
	}
	n.down()
}
