package actorstest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wazlet/wazlet/actors"
)

// MaxSteps is how many pieces of work a simulation does before it is taken for an endless loop.
const MaxSteps = 1_000_000

// errOver is what blocked workers get when the simulation ends.
var errOver = errors.New("the simulation is over")

// Simulation runs a System on one goroutine at a time. Actors give way to each other before each message, workers
// wherever they block; who goes on is decided by the seed. Time stands still while anything can run.
//
// All methods must be called from the goroutine of the test, except those that are for actors and workers.
type Simulation struct {
	t      testing.TB
	seed   uint64
	rng    *rand.Rand
	system *actors.System
	start  time.Time
	now    time.Time

	tasks   []*task
	current *task
	timers  []*timer
	order   uint64 // of the creation of timers
	steps   int
	depth   int // of nested Step calls
	over    bool

	observer   actors.Observer
	invariants []func() error
	events     []actors.Event
	trace      []string
}

// task is a coroutine: a wake-up of an actor, or a worker.
type task struct {
	worker  bool
	running bool
	ready   func() bool // nil: always
	resume  func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
}

// Simulate runs f once for each of n seeds, each as a subtest of its own that names its seed. A failing one can be run
// alone with -run.
func Simulate(t *testing.T, n int, o actors.Options, f func(t *testing.T, s *Simulation)) {
	t.Helper()
	for seed := range uint64(n) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { f(t, NewSimulation(t, seed, o)) })
	}
}

// NewSimulation makes a simulation that starts at 2026-01-01. Of o only Logger and Observer are used.
func NewSimulation(t testing.TB, seed uint64, o actors.Options) *Simulation {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &Simulation{
		t: t, seed: seed, start: start, now: start, observer: o.Observer,
		rng: rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // it must be repeatable, not secret
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	s.system = actors.New(actors.Options{
		Logger: o.Logger, Clock: simClock{s}, Observer: s.observe, Dispatcher: dispatcher{s}, Go: s.Go,
	})
	t.Cleanup(func() {
		s.Close()
		if t.Failed() {
			t.Logf("simulation: seed %d, %d steps, %s after the start", s.seed, s.steps, s.now.Sub(s.start))
		}
	})
	return s
}

// System is the system under simulation.
func (s *Simulation) System() *actors.System { return s.system }

// Clock is the simulated clock.
func (s *Simulation) Clock() actors.Clock { return simClock{s} }

// Now is the simulated time.
func (s *Simulation) Now() time.Time { return s.now }

// Rand is the seeded source, for tests that make random plans.
func (s *Simulation) Rand() *rand.Rand { return s.rng }

// Seed is what decides everything.
func (s *Simulation) Seed() uint64 { return s.seed }

// Invariant has check called after each step; an error ends the test.
func (s *Simulation) Invariant(check func() error) { s.invariants = append(s.invariants, check) }

// Events returns everything that was observed so far.
func (s *Simulation) Events() []actors.Event { return slices.Clone(s.events) }

// Trace returns the observed events as text, with the time since the start and without stacks.
func (s *Simulation) Trace() []string { return slices.Clone(s.trace) }

// Steps is how many pieces of work were done.
func (s *Simulation) Steps() int { return s.steps }

func (s *Simulation) observe(e actors.Event) {
	s.events = append(s.events, e)
	if f, ok := e.(actors.Failure); ok {
		f.Stack = ""
		s.trace = append(s.trace, fmt.Sprintf("%s %T%+v", s.now.Sub(s.start), e, f))
	} else {
		s.trace = append(s.trace, fmt.Sprintf("%s %T%+v", s.now.Sub(s.start), e, e))
	}
	if s.observer != nil {
		s.observer(e)
	}
}

// Settle runs until nothing can run at the present moment.
func (s *Simulation) Settle() {
	s.t.Helper()
	s.RunUntil(0, func() bool { return false })
}

// Run lets the time d pass, with everything that happens in it.
func (s *Simulation) Run(d time.Duration) {
	s.t.Helper()
	s.RunUntil(d, func() bool { return false })
}

// RunUntil runs until done returns true, or the time limit has passed and nothing more can run; it tells which.
func (s *Simulation) RunUntil(limit time.Duration, done func() bool) bool {
	s.t.Helper()
	end := s.now.Add(limit)
	for {
		if done() {
			return true
		}
		if s.Step(false) || s.fire(end) {
			continue
		}
		s.now = end
		return false
	}
}

// Step runs one piece of work that is chosen at random, one of a worker when workers is set. It returns false when
// there is none.
func (s *Simulation) Step(workers bool) bool {
	var ready []*task
	for _, t := range s.tasks {
		if !t.running && (t.worker || !workers) && (t.ready == nil || t.ready()) {
			ready = append(ready, t)
		}
	}
	if len(ready) == 0 || s.over {
		return false
	}
	s.run(ready[s.rng.IntN(len(ready))])
	s.steps++
	if s.steps == MaxSteps {
		s.fail("does not come to rest")
	}
	if s.depth == 0 {
		s.check()
	}
	return true
}

// run resumes t until it yields, blocks or ends.
func (s *Simulation) run(t *task) {
	outer := s.current
	s.current, t.running = t, true
	s.depth++
	alive := false
	defer func() {
		s.depth--
		s.current, t.running = outer, false
		if !alive {
			s.tasks = slices.DeleteFunc(s.tasks, func(x *task) bool { return x == t })
		}
	}()
	_, alive = t.resume()
}

func (s *Simulation) check() {
	for _, check := range s.invariants {
		if err := check(); err != nil {
			s.fail(err.Error())
		}
	}
}

func (s *Simulation) fail(why string) {
	s.t.Helper()
	s.t.Fatalf("simulation with seed %d, step %d, %s after the start: %s; the last events:\n%s",
		s.seed, s.steps, s.now.Sub(s.start), why, strings.Join(s.trace[max(0, len(s.trace)-20):], "\n"))
}

// Go runs f as a worker. It must block only in Block and in Clock().Sleep.
func (s *Simulation) Go(f func()) { s.add(true, f) }

func (s *Simulation) add(worker bool, f func()) {
	if s.over {
		return
	}
	t := &task{worker: worker}
	t.resume, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		f()
	})
	s.tasks = append(s.tasks, t)
}

// Block blocks the worker that calls it until ready returns true or ctx is done. It is what fakes wait with.
func (s *Simulation) Block(ctx context.Context, ready func() bool) error {
	t := s.current
	if t == nil || !t.worker {
		panic("actorstest: Block was not called by a worker: an actor must never block")
	}
	for !ready() {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.ready = func() bool { return ctx.Err() != nil || ready() }
		if s.over || !t.yield(struct{}{}) {
			return errOver
		}
		t.ready = nil
	}
	return nil
}

// yield lets another task go first.
func (s *Simulation) yield() {
	if t := s.current; t != nil && !t.worker && !s.over {
		t.yield(struct{}{})
	}
}

// Close ends everything that still runs; the test's cleanup does it too. Blocked workers get an error.
func (s *Simulation) Close() {
	for len(s.tasks) > 0 {
		s.over = true
		t := s.tasks[0]
		s.tasks = s.tasks[1:]
		s.current = t
		t.stop()
	}
	s.over, s.current, s.timers = true, nil, nil
}

// dispatcher hands the simulation to the actors.
type dispatcher struct{ s *Simulation }

// Schedule queues the wake-up of an actor.
func (d dispatcher) Schedule(fn func()) { d.s.add(false, fn) }

// Throughput is of no use here.
func (d dispatcher) Throughput() int { return 1 }

// Step implements actors.Stepper.
func (d dispatcher) Step(workers bool) bool { return d.s.Step(workers) }

// Yield implements actors.Stepper.
func (d dispatcher) Yield() { d.s.yield() }
