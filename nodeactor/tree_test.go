package nodeactor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/moduleactortest"
	"github.com/wazlet/wazlet/nodeactor"
	"github.com/wazlet/wazlet/podactor"
)

// tree is a whole node with real actors in a synctest bubble. Only images and guests are fakes.
type tree struct {
	sys     *actors.System
	root    string
	sup     actors.Supervision
	maxPods int
	runtime *moduleactortest.Runtime
	images  *moduleactortest.Images
	node    *actor.PID
	events  *actorstest.Recorder
	fatal   []error

	mu       sync.Mutex
	statuses []string
	panicOn  string // the phase whose publication is a bug of the node actor
}

func runTree(t *testing.T, f func(t *testing.T, n *tree)) {
	t.Helper()
	root := t.TempDir()
	var events actorstest.Recorder
	actorstest.Bubble(t, actors.Options{Observer: events.Observe}, func(t *testing.T, s *actors.System) {
		n := &tree{
			sys: s, root: root, sup: actors.DefaultSupervision(), events: &events,
			runtime: &moduleactortest.Runtime{Clock: clock.RealClock{}},
			images:  &moduleactortest.Images{Clock: clock.RealClock{}},
		}
		f(t, n)
	})
}

// memoryDisk is the real disk with the guests of the fake runtime.
type memoryDisk struct {
	nodeactor.Disk
	n *tree
}

func (d memoryDisk) End(_ context.Context, uid string, _ time.Duration) error {
	for _, id := range d.n.runtime.Alive() {
		if id.PodUID == uid {
			if err := d.n.runtime.Guest(id).Signal(true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d memoryDisk) Remove(uid string) error {
	return errors.Join(d.n.runtime.RemovePod(uid), d.Disk.Remove(uid))
}

func (n *tree) RemovePod(uid string) error {
	return errors.Join(n.runtime.RemovePod(uid), bundle.RemovePod(n.root, uid))
}

func (n *tree) RemoveAttempts(uid, container string, keep int) error {
	return n.runtime.RemoveAttempts(uid, container, keep)
}

func (n *tree) Scan(uid string) ([]bundle.Found, error) { return n.runtime.Scan(uid) }

func (n *tree) spawn(t *testing.T) {
	t.Helper()
	modules := moduleactor.Config{Images: n.images, Runtime: n.runtime, RootDir: n.root}
	pods := &podactor.Config{RootDir: n.root, PodLogsDir: n.root + "/logs", NodeName: "n1", Supervision: n.sup}
	node, err := nodeactor.Spawn(n.sys, nodeactor.Config{
		RootDir: n.root, NodeName: "n1", MaxPods: n.maxPods, Supervision: n.sup, OnStatus: n.onStatus,
	}, nodeactor.Deps{
		Disk:  memoryDisk{nodeactor.NewDisk(nil, n.root, n.root+"/logs"), n},
		Fatal: func(err error) { n.fatal = append(n.fatal, err) },
		Pod: func(start podactor.Start) (*actor.Props, *actors.Handle) {
			pod := start.Pod
			if pod == nil {
				pod = start.Checkpoint.Pod()
			}
			ref := actors.PodRef{UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name}
			return podactor.Props(n.sys, pods, podactor.Deps{Bundles: n, Module: func(c string) (*actor.Props, *actors.Handle) {
				return moduleactor.Props(n.sys, modules, ref, c)
			}}, start)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.node = node
	synctest.Wait()
}

func (n *tree) onStatus(pod *corev1.Pod, s corev1.PodStatus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	line := fmt.Sprintf("%s %s %s", pod.UID, s.Phase, s.Reason)
	if len(n.statuses) == 0 || n.statuses[len(n.statuses)-1] != line {
		n.statuses = append(n.statuses, line)
	}
	if n.panicOn != "" && string(s.Phase) == n.panicOn {
		panic("injected crash of the node actor")
	}
}

func (n *tree) send(m nodeactor.Command) {
	n.sys.Root().Send(n.node, m)
	synctest.Wait()
}

func (n *tree) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// restart is a daemon that ends and comes back.
func (n *tree) restart(t *testing.T) {
	t.Helper()
	if err := n.sys.StopTree(t.Context(), n.node); err != nil {
		t.Fatal(err)
	}
	n.spawn(t)
}

func (n *tree) list(t *testing.T) []string {
	t.Helper()
	pods, err := actors.Ask(t.Context(), n.sys, n.node, func(reply chan<- []*corev1.Pod) any { return nodeactor.List{Reply: reply} })
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range pods {
		words := []string{string(p.UID), string(p.Status.Phase)}
		for _, c := range p.Status.ContainerStatuses {
			words = append(words, fmt.Sprintf("%s=%d", c.Name, c.RestartCount))
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

func (n *tree) alive() []string {
	var out []string
	for _, id := range n.runtime.Alive() {
		out = append(out, id.String())
	}
	return out
}

func (n *tree) crash(uid string) {
	n.sys.Root().Send(n.sys.Registry().Lookup("node/"+uid).PID(), actors.Crash{Value: "injected"})
	synctest.Wait()
}

// drained drains the node and checks that nothing is left.
func (n *tree) drained(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	n.send(nodeactor.Drain{Done: done})
	n.pass(time.Minute)
	select {
	case <-done:
	default:
		t.Errorf("not drained: %v, alive: %v", n.list(t), n.alive())
	}
	want(t, "alive after a drain", n.alive())
	want(t, "listed after a drain", n.list(t))
	dirs, err := bundle.Pods(n.root)
	if err != nil {
		t.Error(err)
	}
	want(t, "directories after a drain", dirs)
	if k := n.runtime.Overlaps(); k != 0 {
		t.Errorf("%d attempts overlapped", k)
	}
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func pod(uid, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Namespace: "ns", Name: name},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyAlways,
			Containers:    []corev1.Container{{Name: "c", Image: "r/i:t", ImagePullPolicy: corev1.PullAlways}},
		},
	}
}

func TestTreeRunsAndDrains(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.spawn(t)
		n.send(nodeactor.Resync{Pods: []*corev1.Pod{pod("u1", "a"), pod("u2", "b")}})
		want(t, "alive", n.alive(), "u1/c/0", "u2/c/0")
		want(t, "list", n.list(t), "u1 Running c=0", "u2 Running c=0")
		n.send(nodeactor.Remove{UID: "u1"})
		n.pass(time.Minute)
		want(t, "alive", n.alive(), "u2/c/0")
		want(t, "list", n.list(t), "u2 Running c=0")
		n.drained(t)
		n.send(nodeactor.Apply{Pod: pod("u3", "c")})
		want(t, "list after a drain", n.list(t))
	})
}

// TestTreeCrashLoop runs half an hour of CrashLoopBackOff through all layers.
// TestTreeLeavesNothing has five hundred Pods come and go.
func TestTreeLeavesNothing(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.spawn(t)
		n.send(nodeactor.Resync{})
		const rounds, each = 10, 50
		for round := range rounds {
			var uids []string
			for i := range each {
				uid := fmt.Sprintf("u%d-%d", round, i)
				uids = append(uids, uid)
				n.send(nodeactor.Apply{Pod: pod(uid, fmt.Sprintf("p%d", i))})
			}
			if got := len(n.alive()); got != each {
				t.Fatalf("round %d: %d guests are alive, want %d", round, got, each)
			}
			for _, uid := range uids {
				n.send(nodeactor.Remove{UID: uid})
			}
			n.pass(time.Minute)
		}
		want(t, "listed", n.list(t))
		want(t, "alive", n.alive())
		var actors []string
		for _, i := range n.sys.Registry().Snapshot() {
			actors = append(actors, i.ID)
		}
		want(t, "actors", actors, "node")
		dirs, err := bundle.Pods(n.root)
		if err != nil {
			t.Error(err)
		}
		want(t, "directories", dirs)
	})
}

func TestTreeCrashLoop(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.runtime.Script = func(bundle.Spec) moduleactortest.Guest {
			return moduleactortest.Guest{RunFor: time.Second, Exit: bundle.Exit{Reason: bundle.Error, Code: 1}}
		}
		n.spawn(t)
		n.send(nodeactor.Resync{Pods: []*corev1.Pod{pod("u1", "a")}})
		n.pass(30 * time.Minute)
		var delays []time.Duration
		for _, e := range n.events.Events() {
			if d, ok := e.(actors.Decision); ok {
				delays = append(delays, d.Delay/time.Second)
			}
		}
		if d := cmp.Diff([]time.Duration{0, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300}, delays); d != "" {
			t.Errorf("delays in seconds (-want +got):\n%s", d)
		}
		n.drained(t)
	})
}

// TestTreeSurvivesTheDaemon ends the daemon and starts it again: same guests, same counts.
func TestTreeSurvivesTheDaemon(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.spawn(t)
		pods := []*corev1.Pod{pod("u1", "a"), pod("u2", "b"), pod("u3", "c")}
		n.send(nodeactor.Resync{Pods: pods})
		n.runtime.Guest(bundle.ID{PodUID: "u2", Container: "c"}).End(bundle.Exit{Reason: bundle.Error, Code: 9})
		n.pass(time.Minute)
		want(t, "alive", n.alive(), "u1/c/0", "u2/c/1", "u3/c/0")
		if err := n.sys.StopTree(t.Context(), n.node); err != nil {
			t.Fatal(err)
		}
		n.runtime.Guest(bundle.ID{PodUID: "u3", Container: "c"}).End(bundle.Exit{Reason: bundle.Error, Code: 7})
		n.pass(time.Hour)
		n.spawn(t)
		n.pass(time.Second)
		want(t, "alive", n.alive(), "u1/c/0", "u2/c/1", "u3/c/1")
		want(t, "list before the first resync", n.list(t), "u1 Running c=0", "u2 Running c=1", "u3 Running c=1")
		n.send(nodeactor.Resync{Pods: pods[1:]})
		n.pass(time.Minute)
		want(t, "alive", n.alive(), "u2/c/1", "u3/c/1")
		n.drained(t)
	})
}

// TestTreePodCrash has a bug in a pod actor: its guests do not notice.
func TestTreePodCrash(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.spawn(t)
		n.send(nodeactor.Resync{Pods: []*corev1.Pod{pod("u1", "a"), pod("u2", "b")}})
		n.crash("u1")
		if info := n.sys.Registry().Lookup("node/u1").Info(); info.NextRestart == nil {
			t.Errorf("the registry does not show the back-off: %+v", info)
		}
		n.pass(2 * time.Second)
		want(t, "alive", n.alive(), "u1/c/0", "u2/c/0")
		want(t, "list", n.list(t), "u1 Running c=0", "u2 Running c=0")
		n.drained(t)
	})
}

// TestTreeGivesUp has a pod actor that crashes too often: the Pod fails for good, also for the next daemon, and takes
// nobody along.
func TestTreeGivesUp(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.spawn(t)
		pods := []*corev1.Pod{pod("u1", "a"), pod("u2", "b")}
		n.send(nodeactor.Resync{Pods: pods})
		for range 6 {
			n.crash("u1")
			n.pass(30 * time.Second)
		}
		want(t, "alive", n.alive(), "u2/c/0")
		want(t, "list", n.list(t), "u1 Failed c=0", "u2 Running c=0")
		want(t, "last status", n.statuses[len(n.statuses)-1:], "u1 Failed AgentError")
		n.restart(t)
		n.send(nodeactor.Resync{Pods: pods})
		n.pass(time.Minute)
		want(t, "alive", n.alive(), "u2/c/0")
		want(t, "list of the next daemon", n.list(t), "u1 Failed c=0", "u2 Running c=0")
		n.send(nodeactor.Resync{Pods: pods[1:]})
		n.pass(time.Minute)
		want(t, "list", n.list(t), "u2 Running c=0")
		n.drained(t)
	})
}

// TestTreeStopIsNoCrash ends the daemon after as many crashes of a pod actor as are allowed: its end must not count as one
// more, for which the Pod would be given up and its guest ended.
func TestTreeStopIsNoCrash(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.spawn(t)
		n.send(nodeactor.Resync{Pods: []*corev1.Pod{pod("u1", "a"), pod("u2", "b")}})
		for range n.sup.Pod.MaxCrashes {
			n.crash("u1")
			n.pass(30 * time.Second)
		}
		want(t, "alive", n.alive(), "u1/c/0", "u2/c/0")
		before := len(n.events.Events())
		if err := n.sys.StopTree(t.Context(), n.node); err != nil {
			t.Fatal(err)
		}
		n.pass(time.Minute)
		for _, e := range n.events.Events()[before:] {
			if d, ok := e.(actors.Decision); ok {
				t.Errorf("a decision after the end: %+v", d)
			}
		}
		want(t, "alive", n.alive(), "u1/c/0", "u2/c/0")
		n.spawn(t)
		n.pass(time.Second)
		want(t, "list of the next daemon", n.list(t), "u1 Running c=0", "u2 Running c=0")
		n.drained(t)
	})
}

// TestTreeNodeCrash has a bug in the node actor: it goes on, until that happens too often.
func TestTreeNodeCrash(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.sup.Node.MaxResumes = 3
		n.panicOn = string(corev1.PodRunning)
		n.spawn(t)
		n.send(nodeactor.Resync{Pods: []*corev1.Pod{pod("u1", "a")}})
		want(t, "alive", n.alive(), "u1/c/0")
		if len(n.fatal) != 0 {
			t.Fatalf("fatal after one crash: %v", n.fatal)
		}
		for i := range 3 {
			n.send(nodeactor.Apply{Pod: pod(fmt.Sprint("v", i), fmt.Sprint("n", i))})
		}
		if len(n.fatal) != 1 || !strings.Contains(n.fatal[0].Error(), "node actor crashed 4 times within 10m0s") {
			t.Errorf("fatal: %v", n.fatal)
		}
		want(t, "alive", n.alive(), "u1/c/0", "v0/c/0", "v1/c/0", "v2/c/0")
	})
}

func TestTreeExitNode(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.sup.Pod.MaxCrashes, n.sup.Pod.OnExceeded = 1, actors.ExitNode
		n.spawn(t)
		n.send(nodeactor.Resync{Pods: []*corev1.Pod{pod("u1", "a")}})
		n.crash("u1")
		n.pass(2 * time.Second)
		n.crash("u1")
		if len(n.fatal) != 1 || !strings.Contains(n.fatal[0].Error(), "actor of pod ns/a (u1): crashed 2 times") {
			t.Errorf("fatal: %v", n.fatal)
		}
		want(t, "alive", n.alive(), "u1/c/0")
	})
}

// TestTreeCorruptCheckpoint damages one checkpoint: it is named, its guest is adopted when the Pod is applied again, and
// the other Pods are as they were.
func TestTreeCorruptCheckpoint(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.maxPods = 3
		n.spawn(t)
		pods := []*corev1.Pod{pod("u1", "a"), pod("u2", "b"), pod("u3", "c")}
		n.send(nodeactor.Resync{Pods: pods})
		n.pass(time.Second)
		if err := n.sys.StopTree(t.Context(), n.node); err != nil {
			t.Fatal(err)
		}
		for _, uid := range []string{"u1", "u2"} {
			if err := os.WriteFile(filepath.Join(bundle.PodsDir(n.root), uid, "pod.json"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n.spawn(t)
		want(t, "alive before the first resync", n.alive(), "u1/c/0", "u2/c/0", "u3/c/0")
		want(t, "list before the first resync", n.list(t), "u3 Running c=0")
		var notices []string
		for _, e := range n.events.Events() {
			if x, ok := e.(actors.Notice); ok && x.Warning {
				notices = append(notices, x.Message)
			}
		}
		if len(notices) != 2 || !strings.Contains(notices[0], "u1") || !strings.Contains(notices[0], "pod.json") {
			t.Errorf("notices: %q", notices)
		}
		n.send(nodeactor.Resync{Pods: slices.Delete(slices.Clone(pods), 1, 2)})
		n.pass(time.Minute)
		want(t, "alive", n.alive(), "u1/c/0", "u3/c/0")
		want(t, "list", n.list(t), "u1 Running c=0", "u3 Running c=0")
		n.drained(t)
	})
}

func TestTreeMaxPods(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.maxPods = 1
		n.spawn(t)
		n.send(nodeactor.Resync{Pods: []*corev1.Pod{pod("u1", "a"), pod("u2", "b")}})
		want(t, "alive", n.alive(), "u1/c/0")
		pods, err := actors.Ask(t.Context(), n.sys, n.node, func(reply chan<- []*corev1.Pod) any { return nodeactor.List{Reply: reply} })
		if err != nil {
			t.Fatal(err)
		}
		s := pods[1].Status
		const message = "Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: 1, capacity: 1"
		if s.Phase != corev1.PodFailed || s.Reason != "OutOfpods" || s.Message != message {
			t.Errorf("status: %s %s %q", s.Phase, s.Reason, s.Message)
		}
		n.drained(t)
	})
}

// TestTreeReplacement changes a static Pod: the new one starts when the old one is gone, not before.
func TestTreeReplacement(t *testing.T) {
	runTree(t, func(t *testing.T, n *tree) {
		n.runtime.Script = func(bundle.Spec) moduleactortest.Guest { return moduleactortest.Guest{Deaf: true} }
		n.spawn(t)
		n.send(nodeactor.Resync{Pods: []*corev1.Pod{pod("u1", "a")}})
		n.send(nodeactor.Resync{Pods: []*corev1.Pod{pod("u2", "a")}})
		want(t, "alive at once", n.alive(), "u1/c/0")
		want(t, "list at once", n.list(t), "u1 Running c=0", "u2 Pending")
		n.pass(3 * time.Second)
		want(t, "alive after KillWait", n.alive(), "u2/c/0")
		n.drained(t)
	})
}

func TestSpawnRefuses(t *testing.T) {
	deps := nodeactor.Deps{
		Pod:  func(podactor.Start) (*actor.Props, *actors.Handle) { return nil, nil },
		Disk: nodeactor.NewDisk(nil, "/r", ""),
	}
	cases := []struct {
		name string
		cfg  nodeactor.Config
		deps nodeactor.Deps
		want string
	}{
		{"no root", nodeactor.Config{}, deps, "RootDir: missing"},
		{"max pods", nodeactor.Config{RootDir: "/r", MaxPods: -1}, deps, "MaxPods: want 0 or more (got -1)"},
		{"no pod", nodeactor.Config{RootDir: "/r"}, nodeactor.Deps{Disk: deps.Disk}, "Deps.Pod: missing"},
		{"no guests", nodeactor.Config{RootDir: "/r"}, nodeactor.Deps{Pod: deps.Pod}, "Deps.Guests: missing"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := nodeactor.Spawn(actors.New(actors.Options{}), c.cfg, c.deps); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
