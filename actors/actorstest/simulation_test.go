package actorstest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
)

// boss supervises n jobs with Kubernetes' back-off, as a pod actor does its modules.
type boss struct {
	sys     *actors.System
	jobs    int
	history map[string]actors.History
}

type due struct{ child *actor.PID }

func (b *boss) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		for i := range b.jobs {
			name := fmt.Sprintf("job%d", i)
			props, _ := b.sys.Props(actors.KindModule, name, actors.PodRef{}, func(*actors.Handle) actor.Actor {
				return &job{sys: b.sys, pace: time.Duration(i+1) * time.Second}
			})
			if _, err := ctx.SpawnNamed(props, name); err != nil {
				panic(err)
			}
		}
	case due:
		ctx.(actor.Supervisor).RestartChildren(m.child)
	}
}

func (b *boss) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any,
) {
	x, _ := reason.(actors.Exit)
	now := b.sys.Clock().Now()
	backoff := actors.DefaultSupervision().Module.Backoff.Backoff()
	v := actors.Decide(actors.Permanent, backoff, x, b.history[child.GetId()], now)
	b.history[child.GetId()] = v.History
	b.sys.Observe(actors.Decision{
		Time: now, Child: child.GetId(), Reason: x.Reason, Code: x.Code, Directive: v.Directive,
		Delay: v.Delay, Restarts: v.History.Restarts,
	})
	b.sys.After(sup.(actor.Context).Self(), v.Delay, due{child})
}

// job works for its pace and fails.
type job struct {
	sys    *actors.System
	pace   time.Duration
	worker *actors.Worker
}

type worked struct{}

func (j *job) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		j.worker = j.sys.Go(ctx.Self(), func(context.Context) any {
			j.sys.Clock().Sleep(j.pace)
			return worked{}
		})
	case worked:
		actors.Fail(ctx, actors.Exit{Reason: actors.ReasonError, Code: 1, FinishedAt: j.sys.Clock().Now()})
	case *actor.Stopping, *actor.Restarting:
		j.worker.Stop(time.Second)
	}
}

type resumeAll struct{}

func (*resumeAll) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any,
) {
	sup.ResumeChildren(child)
}

func spawnBoss(t *testing.T, s *actors.System, jobs int) *actor.PID {
	t.Helper()
	props, _ := s.Props(actors.KindPod, "boss", actors.PodRef{}, func(*actors.Handle) actor.Actor {
		return &boss{sys: s, jobs: jobs, history: map[string]actors.History{}}
	})
	pid, err := s.SpawnRoot(props, "boss", &resumeAll{})
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func traceOf(t *testing.T, seed uint64) ([]string, int) {
	t.Helper()
	s := actorstest.NewSimulation(t, seed, actors.Options{})
	defer s.Close()
	pid := spawnBoss(t, s.System(), 3)
	s.Run(2 * time.Minute)
	if err := s.System().StopTree(t.Context(), pid); err != nil {
		t.Fatal(err)
	}
	return s.Trace(), s.Steps()
}

func TestSameSeedSameTrace(t *testing.T) {
	want, steps := traceOf(t, 7)
	if len(want) < 12 {
		t.Fatalf("the trace has only %d events: %q", len(want), want)
	}
	runs := traceRuns
	if testing.Short() {
		runs = 20
	}
	for range runs {
		got, n := traceOf(t, 7)
		if d := cmp.Diff(want, got); d != "" || n != steps {
			t.Fatalf("%d steps, then %d (-first +later):\n%s", steps, n, d)
		}
	}
}

// Two jobs of the same pace end at the same moment; which one is first must depend on the seed.
func TestSeedsDiffer(t *testing.T) {
	orders := map[string]bool{}
	for seed := range uint64(20) {
		s := actorstest.NewSimulation(t, seed, actors.Options{})
		order := ""
		for _, name := range []string{"a", "b", "c"} {
			s.Go(func() {
				s.Clock().Sleep(time.Second)
				order += name
			})
		}
		s.Run(time.Second)
		orders[order] = true
	}
	if len(orders) != 6 {
		t.Errorf("20 seeds gave %d orders of 3 simultaneous workers, want all 6", len(orders))
	}
}

func TestTimePassesOnlyInRun(t *testing.T) {
	s := actorstest.NewSimulation(t, 1, actors.Options{})
	var fired []time.Duration
	start := s.Now()
	for _, d := range []time.Duration{3 * time.Second, time.Second, 2 * time.Second, 0} {
		s.Clock().AfterFunc(d, func() { fired = append(fired, s.Now().Sub(start)) })
	}
	stopped := s.Clock().AfterFunc(time.Second, func() { t.Error("a stopped timer fired") })
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop must return true once")
	}
	s.Settle()
	s.Run(2 * time.Second)
	if d := cmp.Diff([]time.Duration{0, time.Second, 2 * time.Second}, fired); d != "" {
		t.Errorf("fired (-want +got):\n%s", d)
	}
	if got := s.Clock().Since(start); got != 2*time.Second {
		t.Errorf("%s passed, want 2s", got)
	}
}

// A timer that is due loses against nobody: Stop at the same moment may come too late.
func TestLateTimers(t *testing.T) {
	late, inTime := 0, 0
	for seed := range uint64(50) {
		s := actorstest.NewSimulation(t, seed, actors.Options{})
		fired := false
		var victim interface{ Stop() bool }
		s.Clock().AfterFunc(time.Second, func() {
			if !victim.Stop() && !fired {
				late++
			} else {
				inTime++
			}
		})
		victim = s.Clock().AfterFunc(time.Second, func() { fired = true })
		s.Run(time.Second)
		if !fired {
			t.Error("the timer was due and did not fire")
		}
	}
	if late == 0 || inTime == 0 {
		t.Errorf("Stop was too late %d times and after the fact %d times; both must happen", late, inTime)
	}
}

func TestBlock(t *testing.T) {
	s := actorstest.NewSimulation(t, 1, actors.Options{})
	open := false
	var first, second error = errors.New("never returned"), nil
	ctx, cancel := context.WithCancel(t.Context())
	s.Go(func() { first = s.Block(ctx, func() bool { return open }) })
	s.Go(func() { second = s.Block(ctx, func() bool { return false }) })
	s.Settle()
	open = true
	s.Settle()
	if first != nil || second != nil {
		t.Errorf("Block returned %v and %v, want nil and not yet", first, second)
	}
	cancel()
	s.Settle()
	if !errors.Is(second, context.Canceled) {
		t.Errorf("Block returned %v after cancel", second)
	}
}

func TestCloseEndsBlockedWorkers(t *testing.T) {
	s := actorstest.NewSimulation(t, 1, actors.Options{})
	var err error
	s.Go(func() { err = s.Block(context.Background(), func() bool { return false }) })
	s.Settle()
	s.Close()
	if err == nil {
		t.Error("the blocked worker was not ended")
	}
}

func TestWorkerStopStepsTheWorker(t *testing.T) {
	for seed := range uint64(20) {
		s := actorstest.NewSimulation(t, seed, actors.Options{})
		ended := false
		w := s.System().Go(s.System().Engine().NewLocalPID("nobody"), func(ctx context.Context) any {
			_ = s.Block(ctx, func() bool { return false })
			ended = true
			return nil
		})
		s.Settle()
		if !w.Stop(time.Second) || !ended {
			t.Fatalf("seed %d: Stop returned before the worker ended", seed)
		}
		stuck := s.System().Go(s.System().Engine().NewLocalPID("nobody"), func(ctx context.Context) any {
			_ = s.Block(context.WithoutCancel(ctx), func() bool { return false })
			return nil
		})
		s.Settle()
		if stuck.Stop(time.Second) || s.System().Counters().LeakedWorkers != 1 {
			t.Fatalf("seed %d: a worker that ignores its context must be counted as leaked", seed)
		}
	}
}

type hello struct{ reply chan<- string }

// Whoever would wait in real time steps the simulation instead, and never waits for ever.
func TestAskAndStopStepTheSimulation(t *testing.T) {
	actorstest.Simulate(t, 10, actors.Options{}, func(t *testing.T, s *actorstest.Simulation) {
		sys := s.System()
		props, _ := sys.Props(actors.KindPod, "a", actors.PodRef{}, func(*actors.Handle) actor.Actor {
			return actor.ReceiveFunc(func(ctx actor.Context) {
				switch m := ctx.Message().(type) {
				case hello:
					m.reply <- "hello"
				case string:
					sys.Go(ctx.Self(), func(context.Context) any { panic("boom") })
				}
			})
		})
		pid, err := sys.SpawnRoot(props, "a", &resumeAll{})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(pid *actor.PID) (string, error) {
			return actors.Ask(t.Context(), sys, pid, func(c chan<- string) any { return hello{c} })
		}
		if got, err := ask(pid); got != "hello" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := ask(sys.Engine().NewLocalPID("nobody")); !errors.Is(err, actors.ErrNoActor) {
			t.Errorf("of nobody: %v", err)
		}
		sys.Root().Send(pid, "work")
		if err := sys.StopTree(t.Context(), pid); err != nil {
			t.Error(err)
		}
	})
}

// A tree that waits for something outside the simulation is a bug of the test; it must not hang.
func TestStopOfAStuckSimulation(t *testing.T) {
	s := actorstest.NewSimulation(t, 1, actors.Options{})
	pid := spawnBoss(t, s.System(), 1)
	s.Settle()
	s.Close() // nothing runs any more
	err := s.System().StopTree(t.Context(), pid)
	want := "stop boss: nothing is left to run that could bring it about; still running: boss/job0, boss"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// fatal records what a simulation does to its test.
type fatal struct {
	testing.TB
	said string
}

func (f *fatal) Helper()        {}
func (f *fatal) Cleanup(func()) {}
func (f *fatal) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

func TestBrokenInvariantNamesTheSeed(t *testing.T) {
	f := &fatal{TB: t}
	s := actorstest.NewSimulation(f, 42, actors.Options{})
	defer s.Close()
	s.Invariant(func() error { return errors.New("two of them") })
	s.Go(func() {})
	func() {
		defer func() { _ = recover() }()
		s.Settle()
	}()
	if want := "simulation with seed 42, step 1, 0s after the start: two of them"; len(f.said) < len(want) ||
		f.said[:len(want)] != want {
		t.Errorf("got %q, want %q ...", f.said, want)
	}
}

func TestSimulate(t *testing.T) {
	var seeds []uint64
	actorstest.Simulate(t, 3, actors.Options{}, func(_ *testing.T, s *actorstest.Simulation) {
		seeds = append(seeds, s.Seed())
	})
	if d := cmp.Diff([]uint64{0, 1, 2}, seeds); d != "" {
		t.Errorf("seeds (-want +got):\n%s", d)
	}
}
