//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// The daemon is killed with 50 running Pods and comes back: nothing was restarted, nothing runs twice, no log was lost.
func TestKilledDaemonAdoptsEverything(t *testing.T) {
	const many = 50
	n := newNode(t)
	n.start()
	n.apply(pod("crashing", corev1.RestartPolicyAlways, "exit", "3"))
	for i := range many {
		n.apply(pod(fmt.Sprintf("p%02d", i), corev1.RestartPolicyAlways, "tick"))
	}
	n.await("50 running Pods", func() error {
		up := 0
		for _, p := range n.pods() {
			if running(p) && strings.HasPrefix(p.Name, "p") {
				up++
			}
		}
		if up < many {
			return fmt.Errorf("%d of %d run", up, many)
		}
		return nil
	})
	n.awaitPod("crashing", "restarted", func(p corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount >= 1
	})
	type facts struct {
		Restarts int32
		ID       string
		Started  string
	}
	look := func() map[string]facts {
		all := map[string]facts{}
		for name, p := range n.pods() {
			if s := p.Status.ContainerStatuses; len(s) == 1 && s[0].State.Running != nil && strings.HasPrefix(name, "p") {
				all[name] = facts{s[0].RestartCount, s[0].ContainerID, s[0].State.Running.StartedAt.String()}
			}
		}
		return all
	}
	ticking := func(shims map[int]string) map[int]string {
		crashing := string(n.pods()["crashing"].UID)
		maps.DeleteFunc(shims, func(_ int, bundle string) bool { return strings.Contains(bundle, crashing) })
		return shims
	}
	before, shimsBefore := look(), ticking(n.shims())
	n.signal(syscall.SIGKILL)

	if err := os.Remove(n.manifest("p00")); err != nil { // wanted no more, while nobody watches
		t.Fatal(err)
	}
	victim := before["p01"]
	for pid, bundle := range shimsBefore { // ends while nobody watches
		if b, err := os.ReadFile(filepath.Join(bundle, "spec.json")); err == nil && strings.Contains(string(b), victim.ID) {
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.start()
	n.await("p00 to be gone", func() error {
		if _, there := n.pods()["p00"]; there {
			return errors.New("it is still listed")
		}
		return nil
	})
	p := n.awaitPod("p01", "restarted", func(p corev1.Pod) bool { return running(p) && p.Status.ContainerStatuses[0].RestartCount == 1 })
	if last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 143 || last.ContainerID != victim.ID {
		t.Errorf("the ending that the daemon missed is shown as %+v, want exit code 143 of %s", last, victim.ID)
	}

	after, shimsAfter := look(), ticking(n.shims())
	for _, name := range []string{"p00", "p01"} {
		delete(before, name)
		delete(after, name)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("containers changed (-before +after):\n%s", diff)
	}
	kept := 0
	for pid, bundle := range shimsAfter {
		if shimsBefore[pid] == bundle {
			kept++
		}
	}
	if kept != many-2 || len(shimsAfter) != many-1 {
		t.Errorf("%d of %d shims were kept, %d run; want %d kept, %d running", kept, len(shimsBefore), len(shimsAfter), many-2, many-1)
	}
	if log := n.wazlet("logs", "p07"); !strings.HasPrefix(log, "tick 0\n") {
		t.Errorf("the log lost its beginning: %.40q", log)
	}
	n.awaitMoreTicks("p07")
}

// A Pod that has ended is not run again by a daemon that comes back.
func TestEndedPodStaysEnded(t *testing.T) {
	n := newNode(t)
	n.start()
	n.apply(pod("once", corev1.RestartPolicyNever, "exit", "0"))
	before := n.awaitPod("once", "succeeded", phase(corev1.PodSucceeded))
	n.await("the checkpoint of the end", func() error {
		b, err := os.ReadFile(filepath.Join(n.root, "pods", string(before.UID), "pod.json"))
		if err == nil && !strings.Contains(string(b), "PodCompleted") {
			err = errors.New("it has no end yet")
		}
		return err
	})
	n.signal(syscall.SIGKILL)
	n.start()
	after := n.awaitPod("once", "succeeded", phase(corev1.PodSucceeded))
	if diff := cmp.Diff(before.Status, after.Status); diff != "" {
		t.Errorf("its status changed (-before +after):\n%s", diff)
	}
	if log := n.wazlet("logs", "once"); log != "exiting with 0\n" {
		t.Errorf("its log is %q", log)
	}
}

// SIGTERM leaves the Pods running, as a kubelet does; SIGINT drains the node, and so does SIGTERM with --on-term drain.
func TestSignals(t *testing.T) {
	n := newNode(t)
	n.start()
	n.apply(pod("stays", corev1.RestartPolicyAlways, "idle"))
	pid := n.shimOf(n.awaitPod("stays", "running", running))

	n.signal(syscall.SIGTERM)
	if _, alive := n.shims()[pid]; !alive {
		t.Fatal("SIGTERM to the daemon ended a Pod")
	}
	n.start("--on-term", "drain")
	if got := n.shimOf(n.awaitPod("stays", "running", running)); got != pid {
		t.Errorf("the shim %d was not adopted; now it is %d", pid, got)
	}
	n.signal(syscall.SIGTERM)
	if left := n.shims(); len(left) > 0 {
		t.Errorf("--on-term drain left %v", left)
	}
	n.start()
	n.awaitPod("stays", "running again", running)
	n.signal(syscall.SIGINT)
	if left := n.shims(); len(left) > 0 {
		t.Errorf("SIGINT left %v", left)
	}
}

// There is one daemon for each state directory.
func TestSecondDaemonIsRefused(t *testing.T) {
	n := newNode(t)
	n.start()
	out, err := n.try("run", "--config", n.config, "--root-dir", n.root, "--manifest-dir", n.manifests, "--debug-address", "127.0.0.1:0")
	if err == nil || !strings.Contains(out, n.root) {
		t.Errorf("a second daemon on the same directory: %v: %s", err, out)
	}
}
