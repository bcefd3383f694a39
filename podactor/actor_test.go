package podactor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

func (n *fakeNode) decisions() (delays []time.Duration) {
	for _, e := range n.sim.Events() {
		if d, ok := e.(actors.Decision); ok {
			delays = append(delays, d.Delay)
		}
	}
	return delays
}

func TestFortyMinutesOfCrashLoopBackOff(t *testing.T) {
	n := newNode(t, 1, onePod("c"), failing)
	n.up()
	n.sim.Run(40 * time.Minute)
	var want []time.Duration
	at := time.Duration(0)
	for i := 0; at <= 40*time.Minute; i++ {
		want = append(want, at)
		delay := min(5*time.Second<<i, 300*time.Second) // 0, 10, 20, ...
		if i == 0 {
			delay = 0
		}
		at += time.Second + delay
	}
	if d := cmp.Diff(want, n.starts); d != "" {
		t.Errorf("starts since the Pod's start (-want +got):\n%s", d)
	}
	c := n.status().ContainerStatuses[0]
	if c.State.Waiting == nil || c.State.Waiting.Message != "back-off 5m0s restarting failed container=c pod=p_ns(uid-1)" {
		t.Errorf("state %+v", c.State)
	}
	if int(c.RestartCount) != len(want)-1 {
		t.Errorf("restartCount %d, want %d", c.RestartCount, len(want)-1)
	}
	for _, i := range n.sys.Registry().Snapshot() {
		if i.Kind == actors.KindModule && (i.NextRestart == nil || int(i.Restarts) != len(want)-1) {
			t.Errorf("the registry shows %d restarts, next at %v", i.Restarts, i.NextRestart)
		}
	}
	n.down()
}

// A crash of the pod actor loses neither the count nor the delay, and no guest.
func TestPodActorCrashKeepsLedger(t *testing.T) {
	n := newNode(t, 1, onePod("crashing", "steady"), func(name string, attempt int) plan {
		if name == "steady" {
			return forever(name, attempt)
		}
		return failing(name, attempt)
	})
	armed := false
	n.step = func(s State, e event, now time.Time) (State, []effect) {
		if _, ok := e.(tuned); ok && armed {
			armed = false
			panic("pod bug")
		}
		return step(s, e, now)
	}
	n.up()
	n.sim.Run(5 * time.Second) // ended at 1 s and 2 s, due at 12 s
	armed = true
	n.tell(Tune{actors.DefaultSupervision()})
	if n.crashes != 1 {
		t.Fatalf("%d crashes of the pod actor, want 1", n.crashes)
	}
	if got := n.status(); got.Phase != corev1.PodRunning || got.ContainerStatuses[0].RestartCount != 1 {
		t.Errorf("after the crash: phase %s, %+v", got.Phase, got.ContainerStatuses[0])
	}
	n.sim.Run(30 * time.Second) // the next at 33 s
	want := []time.Duration{0, 0, time.Second, 12 * time.Second, 33 * time.Second}
	if d := cmp.Diff(want, n.starts); d != "" {
		t.Errorf("starts (-want +got):\n%s", d)
	}
	if g := n.guests["steady"]; len(g) != 1 || !g[0].alive(n.sim.Now()) {
		t.Errorf("the steady guest did not survive: %d incarnations", len(g))
	}
	n.down()
}

// A worker's panic is a bug, too, and is survived the same way.
func TestModuleActorCrashHarmsNoGuest(t *testing.T) {
	n := newNode(t, 3, onePod("c"), forever)
	n.up()
	n.sys.Root().Send(n.sys.Engine().NewLocalPID(n.pod.GetId()+"/c"), panicNow{})
	n.sim.Run(time.Minute)
	if g := n.guests["c"]; len(g) != 1 || !g[0].alive(n.sim.Now()) {
		t.Fatalf("%d incarnations", len(g))
	}
	if c := n.status().ContainerStatuses[0]; c.RestartCount != 0 || c.State.Running == nil {
		t.Errorf("status %+v", c)
	}
	n.tell(Terminate{Grace: 30 * time.Second})
	if n.anyAlive() || n.ended == 0 {
		t.Error("the guest was not ended by the second incarnation of its module actor")
	}
	n.down()
}

func TestDeleteDuringBackOff(t *testing.T) {
	n := newNode(t, 1, onePod("c"), failing)
	n.up()
	n.sim.Run(5 * time.Second)
	gen := n.ledger.state.Containers[0].Gen
	n.tell(Terminate{Grace: 30 * time.Second})
	n.tell(timer{retryDue, "c", gen}) // as if it had been on its way
	n.sim.Run(time.Hour)
	if len(n.starts) != 2 {
		t.Errorf("%d starts, want the 2 before the deletion", len(n.starts))
	}
	if n.ended != 1 {
		t.Errorf("Ended was told %d times, want 1", n.ended)
	}
	if n.status().Phase != corev1.PodFailed {
		t.Errorf("phase %s", n.status().Phase)
	}
	if _, err := os.Stat(filepath.Join(n.cfg.RootDir, "pods", "uid-1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the Pod's directory is left: %v", err)
	}
	n.down()
}

func TestDeleteWhilePulling(t *testing.T) {
	n := newNode(t, 2, onePod("a", "b"), func(string, int) plan { return plan{pull: time.Minute, run: time.Hour} })
	n.up()
	n.sim.Run(time.Second)
	n.tell(Terminate{Grace: 30 * time.Second})
	n.sim.Run(time.Hour)
	if len(n.starts) != 0 || n.ended != 1 {
		t.Errorf("%d starts, %d times Ended; want 0 and 1", len(n.starts), n.ended)
	}
	n.down()
}

// A new daemon finds the checkpoint and the guests, and restarts nothing.
func TestDaemonRestart(t *testing.T) {
	n := newNode(t, 1, onePod("c", "done"), func(name string, _ int) plan {
		if name == "done" {
			return plan{run: time.Second, code: 1}
		}
		return plan{run: time.Hour, code: 3}
	})
	n.up()
	n.sim.Run(5 * time.Second)
	started := n.status().StartTime
	n.down()

	n.sim.Run(3 * time.Second)
	found, errs := LoadCheckpoints(n.cfg.RootDir)
	if len(found) != 1 || len(errs) != 0 {
		t.Fatalf("%d checkpoints, errors %v", len(found), errs)
	}
	n.start = Start{Checkpoint: &found[0]}
	n.up()
	got := n.status()
	if got.Phase != corev1.PodRunning || !got.StartTime.Equal(started) || got.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("after the restart: %+v", got)
	}
	if d := cmp.Diff([]time.Duration{0, 0, time.Second}, n.starts); d != "" {
		t.Errorf("starts (-want +got):\n%s", d)
	}
	n.sim.Run(5 * time.Second)
	if d := cmp.Diff([]time.Duration{0, 0, time.Second, 12 * time.Second}, n.starts); d != "" {
		t.Errorf("starts after the back-off (-want +got):\n%s", d)
	}
	n.down()

	n.sim.Run(2 * time.Hour) // the other guest ends while nobody looks
	found, _ = LoadCheckpoints(n.cfg.RootDir)
	n.start = Start{Checkpoint: &found[0]}
	n.up()
	last := n.status().ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 3 || last.FinishedAt.Sub(started.Time) != time.Hour {
		t.Errorf("the missed ending is shown as %+v", last)
	}
	n.tell(Terminate{})
	n.sim.Run(time.Minute)
	if n.ended != 1 || n.anyAlive() {
		t.Errorf("Ended %d times, alive %t", n.ended, n.anyAlive())
	}
	n.down()
}

// A Pod that is over stays over, in this daemon and in the next.
func TestFinishedPodNeverRunsAgain(t *testing.T) {
	pod := onePod("c")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	n := newNode(t, 1, pod, func(string, int) plan { return plan{run: time.Second} })
	n.up()
	n.sim.Run(time.Minute)
	if n.status().Phase != corev1.PodSucceeded {
		t.Fatalf("phase %s", n.status().Phase)
	}
	n.down()
	found, _ := LoadCheckpoints(n.cfg.RootDir)
	n.start = Start{Checkpoint: &found[0]}
	n.up()
	n.sim.Run(time.Hour)
	if len(n.starts) != 1 || n.status().Phase != corev1.PodSucceeded || n.ended != 0 {
		t.Errorf("%d starts, phase %s, Ended %d times", len(n.starts), n.status().Phase, n.ended)
	}
	n.down()
}

// A checkpoint that cannot be written is reported, keeps nothing from running, and is written as soon as it can be.
func TestCheckpointFailureIsReportedAndRetried(t *testing.T) {
	n := newNode(t, 1, onePod("c"), forever)
	if err := os.WriteFile(n.cfg.RootDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.up()
	n.sim.Run(time.Minute)
	failures := 0
	for _, e := range n.sim.Events() {
		if x, ok := e.(actors.Notice); ok && x.Warning && strings.HasPrefix(x.Message, "write checkpoint: ") {
			failures++
		}
		if _, ok := e.(actors.Failure); ok {
			t.Errorf("reported as a crash of an actor: %+v", e)
		}
	}
	if failures < 2 || len(n.starts) != 1 {
		t.Errorf("%d failures reported, %d starts", failures, len(n.starts))
	}
	if err := os.Remove(n.cfg.RootDir); err != nil {
		t.Fatal(err)
	}
	n.sim.Run(saveRetry)
	if found, errs := LoadCheckpoints(n.cfg.RootDir); len(found) != 1 || len(errs) != 0 {
		t.Errorf("%d checkpoints, errors %v", len(found), errs)
	}
	n.down()
}

func TestRejectedPodRunsNothing(t *testing.T) {
	n := newNode(t, 1, onePod("c"), forever)
	n.start.Reject = &Rejection{Reason: actors.ReasonOutOfPods, Message: "no room"}
	n.up()
	n.sim.Run(time.Hour)
	if s := n.status(); len(n.starts) != 0 || s.Phase != corev1.PodFailed || s.Reason != "OutOfpods" {
		t.Errorf("%d starts, status %+v", len(n.starts), s)
	}
	n.tell(Terminate{Grace: time.Second})
	if n.ended != 1 {
		t.Errorf("Ended %d times", n.ended)
	}
	n.down()
}

// Whatever is tuned holds from the next decision on, and a wait is never longer than the new maximum.
func TestTuneChangesNextDelay(t *testing.T) {
	n := newNode(t, 1, onePod("c"), failing)
	n.up()
	n.sim.Run(15 * time.Second)
	sup := actors.DefaultSupervision()
	sup.Module.Backoff.Max.Duration = 3 * time.Second
	n.tell(Tune{sup})
	want := []time.Duration{0, 10 * time.Second, 20 * time.Second}
	if d := cmp.Diff(want, n.decisions()); d != "" {
		t.Errorf("delays (-want +got):\n%s", d)
	}
	n.sim.Run(10 * time.Second)
	want = append(want, 3*time.Second, 3*time.Second)
	if d := cmp.Diff(want, n.decisions()[:5]); d != "" {
		t.Errorf("delays (-want +got):\n%s", d)
	}
	n.down()
}

// Random schedules of the whole actor with crashes at random places: never two guests of a container, and a deleted Pod
// leaves nothing. oneGuestEach is checked after each step.
func TestActorUnderCrashes(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			pod := onePod("a", "b")
			always := corev1.ContainerRestartPolicyAlways
			pod.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "i"}, {Name: "side", Image: "i", RestartPolicy: &always}}
			n := newNode(t, seed, pod, func(name string, attempt int) plan {
				switch {
				case name == "init" && attempt > 0:
					return plan{run: time.Second}
				case attempt%4 == 3:
					return plan{pull: time.Second, run: time.Hour}
				default:
					return plan{pull: time.Second, run: time.Duration(attempt%3) * time.Second, code: int32(attempt % 2)}
				}
			})
			crash := true
			n.step = func(s State, e event, now time.Time) (State, []effect) {
				if crash && n.sim.Rand().IntN(25) == 0 {
					panic("pod bug")
				}
				return step(s, e, now)
			}
			n.up()
			for range 20 {
				n.sim.Run(time.Duration(n.sim.Rand().IntN(20)) * time.Second)
				if i := n.sim.Rand().IntN(8); i < 4 {
					name := []string{"a", "b", "init", "side"}[i]
					n.sys.Root().Send(n.sys.Engine().NewLocalPID(n.pod.GetId()+"/"+name), panicNow{})
				}
			}
			crash = false
			n.tell(Terminate{Grace: 5 * time.Second})
			n.sim.Run(time.Hour)
			if n.ended == 0 || n.anyAlive() {
				t.Errorf("Ended %d times, alive %t, stage %s", n.ended, n.anyAlive(), n.ledger.state.Stage)
			}
			n.down()
		})
	}
}

// What the next daemon could not find is not started: nothing goes on before there is a checkpoint.
func TestNothingStartsBeforeItsCheckpoint(t *testing.T) {
	for seed := range uint64(20) {
		n := newNode(t, seed, onePod("c"), forever)
		n.step = func(s State, e event, now time.Time) (State, []effect) {
			if _, ok := e.(prepared); ok {
				if _, err := LoadCheckpoint(n.cfg.RootDir, "uid-1"); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
			return step(s, e, now)
		}
		n.up()
		if len(n.starts) != 1 {
			t.Errorf("seed %d: %d starts", seed, len(n.starts))
		}
		n.down()
	}
}
