//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A hostile guest is contained: the node and the other Pods go on, and deleting it works.
func TestHostileGuestsAreContained(t *testing.T) {
	n := newNode(t)
	n.start()
	n.apply(pod("bystander", corev1.RestartPolicyAlways, "tick"))
	bystander := n.awaitPod("bystander", "running", running)
	pid := n.shimOf(bystander)

	limited := func(p corev1.Pod) corev1.Pod {
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{
			corev1.ResourceMemory: resource.MustParse("64Mi"),
			corev1.ResourceCPU:    resource.MustParse("500m"),
		}
		return p
	}
	for _, c := range []struct {
		behaviour, log string
		want           func(corev1.Pod) bool
	}{
		{"spin", "spinning", running},
		{"print", "xxx", running},
		{"recurse", "recursing", failed}, // Go keeps its stacks in the guest's memory; a C guest traps, see wazlet-shim's tests
		{"allocate", "allocating", failed},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			n := n.in(t)
			n.apply(limited(pod(c.behaviour, corev1.RestartPolicyNever, c.behaviour)))
			n.awaitPod(c.behaviour, "as a guest that does "+c.behaviour, c.want)
			n.awaitLog(c.behaviour, c.log)
			if _, err := n.get("/debug/actors"); err != nil {
				t.Errorf("the node does not answer: %v", err)
			}
			n.awaitMoreTicks("bystander")
			if c.behaviour == "print" {
				n.checkLogsBounded(c.behaviour)
			}
			n.remove(c.behaviour)
		})
	}
	after := n.awaitPod("bystander", "running", running)
	if now := n.shimOf(after); now != pid || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the bystander was disturbed: pid %d, then %d; restarts %d", pid, now, after.Status.ContainerStatuses[0].RestartCount)
	}
}

// in is n with another test to report to.
func (n *node) in(t *testing.T) *node {
	return &node{t: t, root: n.root, manifests: n.manifests, config: n.config, endpoint: n.endpoint, nodeName: n.nodeName}
}

func failed(p corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed }

func terminatedWith(code int32) func(corev1.Pod) bool {
	return func(p corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Terminated != nil &&
			p.Status.ContainerStatuses[0].State.Terminated.ExitCode == code
	}
}

// awaitLog waits until a Pod's log has text within its first kilobytes.
func (n *node) awaitLog(pod, text string) {
	n.t.Helper()
	n.await("the log of "+pod+" to have "+text, func() error {
		log, err := n.get("/containerLogs/default/" + pod + "-" + n.nodeName + "/main?limitBytes=4096")
		if err != nil {
			return err
		}
		if !strings.Contains(string(log), text) {
			return fmt.Errorf("it is %s", log)
		}
		return nil
	})
}

// awaitMoreTicks waits until a ticking Pod has printed something new.
func (n *node) awaitMoreTicks(pod string) {
	n.t.Helper()
	before := n.wazlet("logs", pod, "--tail", "1")
	n.await(pod+" to tick on", func() error {
		if now := n.wazlet("logs", pod, "--tail", "1"); now == before {
			return errors.New("still at " + before)
		}
		return nil
	})
}

// checkLogsBounded waits for the log to be rotated and checks that its files stay within bounds.
func (n *node) checkLogsBounded(pod string) {
	n.t.Helper()
	p := n.pods()[pod]
	dir := filepath.Join(n.root, "log", p.Namespace+"_"+p.Name+"_"+string(p.UID), "main")
	const most = 5*10<<20 + 1<<20
	n.await("the log to be rotated", func() error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		var total int64
		for _, e := range entries {
			if st, err := e.Info(); err == nil {
				total += st.Size()
			}
		}
		if total > most || len(entries) > 7 {
			n.t.Errorf("%d log files take %d bytes; at most %d are allowed", len(entries), total, most)
		}
		if len(entries) < 3 {
			return errors.New("not yet")
		}
		return nil
	})
}

// A shim that is killed is a container that exited with 137, and is restarted as the policy says.
func TestKilledShimIsRestartedByPolicy(t *testing.T) {
	n := newNode(t)
	n.start()
	n.apply(pod("always", corev1.RestartPolicyAlways, "idle"))
	n.apply(pod("never", corev1.RestartPolicyNever, "idle"))
	for _, name := range []string{"always", "never"} {
		pid := n.shimOf(n.awaitPod(name, "running", running))
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	p := n.awaitPod("always", "restarted", func(p corev1.Pod) bool {
		return running(p) && p.Status.ContainerStatuses[0].RestartCount == 1
	})
	if last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 137 {
		t.Errorf("last state is %+v, want exit code 137", last)
	}
	n.awaitPod("never", "failed with 137", func(p corev1.Pod) bool { return failed(p) && terminatedWith(137)(p) })
}
