package podactor

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// TestCheckpointHasWhatIsShown: a daemon that comes back shows the same times.
func TestCheckpointHasWhatIsShown(t *testing.T) {
	pod := onePod("c")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	n := newNode(t, 1, pod, forever)
	n.up()
	n.sys.Root().Send(n.pod, exited{"c", actors.Exit{Reason: actors.ReasonCompleted, FinishedAt: n.sim.Now()}})
	n.sim.Settle()
	c, err := LoadCheckpoint(n.cfg.RootDir, string(pod.UID))
	if err != nil {
		t.Fatal(err)
	}
	shown := n.status()
	if shown.Phase != corev1.PodSucceeded {
		t.Fatalf("the Pod is %s", shown.Phase)
	}
	if d := cmp.Diff(shown.Conditions, c.Conditions); d != "" {
		t.Errorf("shown and in the checkpoint: %s", d)
	}
	n.down()
}
