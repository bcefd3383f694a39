//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// sharedPod is a Pod whose container a shared shim runs.
func sharedPod(name string, policy corev1.RestartPolicy, args ...string) corev1.Pod {
	p, class := pod(name, policy, args...), "wasm-shared"
	p.Spec.RuntimeClassName = &class
	return p
}

// serves are the pids of the shared shims of this node that run.
func (n *node) serves() []int {
	n.t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		n.t.Fatal(err)
	}
	var found []int
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(line, []byte("wazlet-shim\x00serve\x00--dir\x00"+filepath.Join(n.root, "shims")+"/")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			n.t.Fatal(err)
		}
		found = append(found, pid)
	}
	return found
}

// serve is the pid of the one shared shim.
func (n *node) serve() int {
	n.t.Helper()
	found := n.serves()
	if len(found) != 1 {
		n.t.Fatalf("the shared shims %v run, want one", found)
	}
	return found[0]
}

// awaitRestarts waits until so many Pods run, all restarted so often, and returns their containers' IDs.
func (n *node) awaitRestarts(many int, restarts int32) map[string]string {
	n.t.Helper()
	var ids map[string]string
	n.await(fmt.Sprintf("%d Pods to run with %d restarts", many, restarts), func() error {
		ids = map[string]string{}
		for name, p := range n.pods() {
			if running(p) && p.Status.ContainerStatuses[0].RestartCount == restarts {
				ids[name] = p.Status.ContainerStatuses[0].ContainerID
			}
		}
		if len(ids) != many {
			return fmt.Errorf("%d do", len(ids))
		}
		return nil
	})
	return ids
}

// Fifty Pods share one process. A daemon that is killed finds them again as they were; when that process is killed, all of
// them end with 137 and go on as their policies say, in another.
func TestSharedShim(t *testing.T) {
	const many = 50 // one of which is never restarted
	n := newNode(t)
	n.start()
	n.apply(sharedPod("never", corev1.RestartPolicyNever, "tick"))
	for i := range many - 1 {
		n.apply(sharedPod(fmt.Sprintf("p%02d", i), corev1.RestartPolicyAlways, "tick"))
	}
	before, shim := n.awaitRestarts(many, 0), n.serve()
	if own := n.shims(); len(own) > 0 {
		t.Errorf("some have processes of their own: %v", own)
	}

	n.signal(syscall.SIGKILL)
	n.start()
	if diff := cmp.Diff(before, n.awaitRestarts(many, 0)); diff != "" {
		t.Errorf("the daemon's restart changed containers (-before +after):\n%s", diff)
	}
	if now := n.serve(); now != shim {
		t.Errorf("process %d took the place of %d", now, shim)
	}
	n.awaitMoreTicks("p07")
	if log := n.wazlet("logs", "p07"); !strings.HasPrefix(log, "tick 0\n") || strings.Count(log, "tick 0\n") != 1 {
		t.Errorf("the log of p07 is not that of one run: %.80q", log)
	}

	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.awaitPod("never", "failed with 137", func(p corev1.Pod) bool { return failed(p) && terminatedWith(137)(p) })
	n.awaitRestarts(many-1, 1)
	for name, p := range n.pods() {
		if name == "never" {
			continue
		}
		if last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 137 || last.ContainerID != before[name] {
			t.Errorf("%s: last state is %+v, want exit code 137 of %s", name, last, before[name])
		}
	}
	if now := n.serve(); now == shim {
		t.Errorf("process %d still runs", now)
	}
	n.awaitMoreTicks("p07")
}
