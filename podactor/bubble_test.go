package podactor

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
	"github.com/wazlet/wazlet/moduleactor/moduleactortest"
)

// parent spawns the Pod and keeps what it was told.
type parent struct {
	sys   *actors.System
	spawn func() (*actor.Props, *actors.Handle)

	mu     sync.Mutex
	child  *actor.PID
	last   corev1.PodStatus
	seen   []corev1.PodPhase
	endeds int
}

func (p *parent) pod() *actor.PID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child
}

func (p *parent) status() corev1.PodStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func (p *parent) phases() []corev1.PodPhase {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Compact(slices.Clone(p.seen))
}

func (p *parent) ended() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.endeds
}

func (p *parent) Receive(ctx actor.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m := ctx.Message().(type) {
	case *actor.Started:
		props, _ := p.spawn()
		pid, err := ctx.SpawnNamed(props, "uid-1")
		if err != nil {
			panic(err)
		}
		p.child = pid
	case StatusChanged:
		p.last = m.Status
		p.seen = append(p.seen, m.Status.Phase)
	case Ended:
		p.endeds++
	}
}

func (p *parent) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any,
) {
	sup.RestartChildren(child)
}

// node is a Pod with the real module actors, over guests in memory.
type node struct {
	*parent
	root    *actor.PID
	runtime *moduleactortest.Runtime
	images  *moduleactortest.Images
	cfg     Config
}

func (n *node) tell(m any) {
	n.sys.Root().Send(n.pod(), m)
	synctest.Wait()
}

func bubble(t *testing.T, pod *corev1.Pod, script func(bundle.Spec) moduleactortest.Guest, f func(n *node, r *actorstest.Recorder)) {
	t.Helper()
	dir := t.TempDir()
	var events actorstest.Recorder
	actorstest.Bubble(t, actors.Options{Observer: events.Observe}, func(t *testing.T, s *actors.System) {
		n := &node{
			runtime: &moduleactortest.Runtime{Clock: clock.RealClock{}, Script: script},
			images:  &moduleactortest.Images{Clock: clock.RealClock{}, Script: flaky},
			cfg:     Config{RootDir: filepath.Join(dir, "root"), PodLogsDir: filepath.Join(dir, "log"), Supervision: actors.DefaultSupervision()},
		}
		n.up(t, s, Start{Pod: pod})
		f(n, &events)
		if n.runtime.Overlaps() != 0 {
			t.Errorf("%d times two guests of a container were alive", n.runtime.Overlaps())
		}
	})
}

func (n *node) up(t *testing.T, s *actors.System, start Start) {
	t.Helper()
	modules := moduleactor.Config{Images: n.images, Runtime: n.runtime, RootDir: n.cfg.RootDir}
	n.parent = &parent{sys: s, spawn: func() (*actor.Props, *actors.Handle) {
		return Props(s, &n.cfg, Deps{Bundles: n.runtime, Module: func(name string) (*actor.Props, *actors.Handle) {
			return moduleactor.Props(s, modules, actors.PodRef{UID: "uid-1", Namespace: "ns", Name: "p"}, name)
		}}, start)
	}}
	props, _ := s.Props(actors.KindNode, "node", actors.PodRef{}, func(*actors.Handle) actor.Actor { return n.parent })
	pid, err := s.SpawnRoot(props, "node", actor.NewOneForOneStrategy(0, 0, actor.DefaultDecider))
	if err != nil {
		t.Fatal(err)
	}
	n.root = pid
	synctest.Wait()
}

func notices(r *actorstest.Recorder) (reasons []actors.Reason) {
	for _, e := range r.Events() {
		if x, ok := e.(actors.Notice); ok {
			reasons = append(reasons, x.Reason)
		}
	}
	return reasons
}

// The whole way of a container with the real module actor: from the pull that fails to the deletion.
func TestBubbleLifeOfAPod(t *testing.T) {
	pod := onePod("c")
	guests := func(s bundle.Spec) moduleactortest.Guest {
		if s.Attempt == 0 {
			return moduleactortest.Guest{RunFor: 2 * time.Second, Exit: bundle.Exit{Code: 3, Reason: bundle.Error}}
		}
		return moduleactortest.Guest{}
	}
	bubble(t, pod, guests, func(n *node, r *actorstest.Recorder) {
		if n.status().Phase != corev1.PodRunning {
			t.Fatalf("phase %s", n.status().Phase)
		}
		<-time.After(3 * time.Second)
		synctest.Wait()
		c := n.status().ContainerStatuses[0]
		if c.RestartCount != 1 || c.State.Running == nil || c.LastTerminationState.Terminated.ExitCode != 3 {
			t.Errorf("after the first ending: %+v", c)
		}
		n.tell(Terminate{Grace: 30 * time.Second})
		<-time.After(time.Minute)
		synctest.Wait()
		want := []actors.Reason{"Pulling", "Pulled", "Created", "Started", "Pulling", "Pulled", "Created", "Started", "Killing"}
		if d := cmp.Diff(want, notices(r)); d != "" {
			t.Errorf("events (-want +got):\n%s", d)
		}
		if n.ended() != 1 || len(n.runtime.Alive()) != 0 || n.status().Phase != corev1.PodFailed {
			t.Errorf("ended %d, alive %v, phase %s", n.ended(), n.runtime.Alive(), n.status().Phase)
		}
		if got := n.phases(); !slices.Equal(got, []corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodFailed}) {
			t.Errorf("phases %v", got)
		}
	})
}

func TestBubblePullBackOff(t *testing.T) {
	pod := onePod("c")
	pod.Spec.Containers[0].Image = "flaky:1"
	bubble(t, pod, nil, func(n *node, _ *actorstest.Recorder) {
		<-time.After(5 * time.Second)
		synctest.Wait()
		w := n.status().ContainerStatuses[0].State.Waiting
		if w == nil || w.Reason != "ImagePullBackOff" || w.Message != `Back-off pulling image "flaky:1": ErrImagePull: no route to host` {
			t.Errorf("waiting %+v", w)
		}
		<-time.After(26 * time.Second) // 10 s and 20 s
		synctest.Wait()
		if c := n.status().ContainerStatuses[0]; c.State.Running == nil || c.RestartCount != 0 {
			t.Errorf("after the third pull: %+v", c)
		}
		if got := n.images.Pulls("flaky:1"); got != 3 {
			t.Errorf("%d pulls, want 3", got)
		}
	})
}

// flaky fails the first two pulls of the image of that name.
func flaky(ref string, nth int) moduleactortest.Pull {
	if ref == "flaky:1" && nth < 2 {
		return moduleactortest.Pull{Reason: image.ErrImagePull, Text: "no route to host"}
	}
	return moduleactortest.Pull{}
}

// Sidecars get their signal only when the mains have ended, in reverse order.
func TestBubbleSidecarsEndLast(t *testing.T) {
	pod := onePod("main")
	always := corev1.ContainerRestartPolicyAlways
	pod.Spec.InitContainers = []corev1.Container{
		{Name: "init", Image: "i:1"}, {Name: "side1", Image: "i:1", RestartPolicy: &always}, {Name: "side2", Image: "i:1", RestartPolicy: &always},
	}
	guests := func(s bundle.Spec) moduleactortest.Guest {
		if s.Container == "init" {
			return moduleactortest.Guest{RunFor: time.Second, Exit: bundle.Exit{Reason: bundle.Completed}}
		}
		return moduleactortest.Guest{Deaf: s.Container == "main"} // it takes KillWait to end it
	}
	bubble(t, pod, guests, func(n *node, r *actorstest.Recorder) {
		<-time.After(10 * time.Second)
		synctest.Wait()
		if n.status().Phase != corev1.PodRunning || len(n.runtime.Alive()) != 3 {
			t.Fatalf("phase %s, alive %v", n.status().Phase, n.runtime.Alive())
		}
		n.tell(Terminate{Grace: 30 * time.Second})
		if len(n.runtime.Alive()) != 3 {
			t.Errorf("alive while main is: %v", n.runtime.Alive())
		}
		<-time.After(time.Minute)
		synctest.Wait()
		var killed []string
		for _, e := range r.Events() {
			if x, ok := e.(actors.Notice); ok && x.Reason == actors.ReasonKilling {
				killed = append(killed, x.Message)
			}
		}
		want := []string{"Stopping container main", "Stopping container side2", "Stopping container side1"}
		if d := cmp.Diff(want, killed); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
		if n.ended() != 1 {
			t.Errorf("ended %d times", n.ended())
		}
	})
}

// A daemon that stops leaves the guests alone; the next one adopts them.
func TestBubbleAdoption(t *testing.T) {
	bubble(t, onePod("a", "b"), nil, func(n *node, _ *actorstest.Recorder) {
		before := n.runtime.Alive()
		if err := n.sys.StopTree(context.Background(), n.root); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, n.runtime.Alive()); d != "" || len(before) != 2 {
			t.Fatalf("guests after the daemon stopped (-want +got):\n%s", d)
		}
		found, errs := LoadCheckpoints(n.cfg.RootDir)
		if len(found) != 1 || len(errs) != 0 {
			t.Fatalf("%d checkpoints, %v", len(found), errs)
		}
		n.up(t, n.sys, Start{Checkpoint: &found[0]})
		<-time.After(time.Minute)
		synctest.Wait()
		if d := cmp.Diff(before, n.runtime.Alive()); d != "" {
			t.Errorf("guests after adoption (-want +got):\n%s", d)
		}
		for _, c := range n.status().ContainerStatuses {
			if c.State.Running == nil || c.RestartCount != 0 || c.ContainerID == "" {
				t.Errorf("status of %s: %+v", c.Name, c)
			}
		}
		n.tell(Terminate{})
		<-time.After(time.Minute)
		synctest.Wait()
		if n.ended() != 1 || len(n.runtime.Alive()) != 0 {
			t.Errorf("ended %d, alive %v", n.ended(), n.runtime.Alive())
		}
	})
}
