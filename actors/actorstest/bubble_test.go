package actorstest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
)

func delays(events []actors.Event) []time.Duration {
	var out []time.Duration
	for _, e := range events {
		if d, ok := e.(actors.Decision); ok {
			out = append(out, d.Delay/time.Second)
		}
	}
	return out
}

// Half an hour of CrashLoopBackOff on real goroutines, in no time.
func TestBubbleRunsBackoffInNoTime(t *testing.T) {
	var r actorstest.Recorder
	actorstest.Bubble(t, actors.Options{Observer: r.Observe}, func(t *testing.T, s *actors.System) {
		spawnBoss(t, s, 1)
		<-time.After(30 * time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]time.Duration{0, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300}, delays(r.Events())); d != "" {
			t.Errorf("delays in seconds (-want +got):\n%s", d)
		}
	})
}

func TestSimulationRunsBackoff(t *testing.T) {
	actorstest.Simulate(t, 5, actors.Options{}, func(t *testing.T, s *actorstest.Simulation) {
		spawnBoss(t, s.System(), 1)
		s.Run(30 * time.Minute)
		if d := cmp.Diff([]time.Duration{0, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300}, delays(s.Events())); d != "" {
			t.Errorf("delays in seconds (-want +got):\n%s", d)
		}
	})
}

func TestRecorder(t *testing.T) {
	var r actorstest.Recorder
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r.Observe(actors.Transition{Actor: "a", To: "Running"})
	if got, err := r.WaitForState(ctx, "a", "Running"); err != nil || got.Actor != "a" {
		t.Errorf("a past event: %v, %v", got, err)
	}
	go func() {
		r.Observe(actors.DeadLetter{Target: "x"})
		r.Observe(actors.Transition{Actor: "b", To: "Running"})
	}()
	if got, err := r.WaitForState(ctx, "b", "Running"); err != nil || got.Actor != "b" {
		t.Errorf("a future event: %v, %v", got, err)
	}
	if n := len(r.Events()); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
	gone, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	if _, err := r.WaitForState(gone, "c", "Running"); err == nil {
		t.Error("waiting for what never happens ended without an error")
	}
}
