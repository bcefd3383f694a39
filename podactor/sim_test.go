package podactor

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

var (
	simSeeds = flag.Int("sim.seeds", 200, "how many random schedules to run")
	simFirst = flag.Uint64("sim.first", 1, "the first seed")
)

// stepFunc is the machine, or a mutation of it.
type stepFunc func(State, event, time.Time) (State, []effect)

// TestSimulation runs the machine against a world that answers in random order, with random endings, crashes of module
// actors, of the pod actor and of the daemon, and checks the invariants after each step.
func TestSimulation(t *testing.T) {
	last := *simFirst + uint64(*simSeeds)
	for seed := *simFirst; seed < last; seed++ {
		if trace, err := simulate(seed, step); err != nil {
			t.Fatalf("seed %d: %v\nrun it alone: go test -run TestSimulation -sim.first=%d -sim.seeds=1\n%s", seed, err, seed, trace)
		}
	}
}

// The invariants are worth something only if they notice a broken machine.
func TestSimulationCatchesMutations(t *testing.T) {
	mutations := map[string]struct {
		step stepFunc
		want string
	}{
		"no back-off": {func(s State, e event, now time.Time) (State, []effect) {
			next, out := step(s, e, now)
			for i, f := range out {
				if a, ok := f.(after); ok && a.Timer.Kind == retryDue {
					out[i] = after{a.Timer, 0}
				}
			}
			return next, out
		}, "too early"},
		"mains do not wait": {func(s State, e event, now time.Time) (State, []effect) {
			if _, ok := e.(prepared); ok {
				s.Initialized = true
			}
			return step(s, e, now)
		}, "before init container"},
		"a crash starts a second guest": {func(s State, e event, now time.Time) (State, []effect) {
			next, out := step(s, e, now)
			for i, f := range out {
				if r, ok := f.(run); ok {
					r.Run.Adopt = false
					out[i] = r
				}
			}
			return next, out
		}, "alive"},
		"a deletion is forgotten": {func(s State, e event, now time.Time) (State, []effect) {
			if d, ok := e.(terminated); ok && d.Grace > 0 {
				return s, nil
			}
			return step(s, e, now)
		}, "stuck"},
		"sidecars go at once": {func(s State, e event, now time.Time) (State, []effect) {
			next, out := step(s, e, now)
			if next.Stage == StageTerminating && s.Stage != StageTerminating {
				for _, c := range next.Containers {
					if c.Role == Sidecar && c.Attached {
						out = append(out, kill{c.Name, 0})
					}
				}
			}
			return next, out
		}, "outlive"},
	}
	for name, m := range mutations {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= 400; seed++ {
				if _, err := simulate(seed, m.step); err != nil {
					if !strings.Contains(err.Error(), m.want) {
						t.Fatalf("seed %d: caught as %q, want %q", seed, err, m.want)
					}
					return
				}
			}
			t.Fatal("not caught in 400 seeds")
		})
	}
}

// guest is one attempt in the world: a bundle on disk.
type guest struct {
	attempt  int
	alive    bool
	entered  bool
	started  time.Time
	finished time.Time
	code     int32
}

// actorOf is a module actor that has an attempt.
type actorOf struct {
	run    moduleactor.Run
	killed bool
	stage  int // how many facts it has told
}

// record is what the invariants remember of a container, independently of the machine.
type record struct {
	guests []*guest
	module *actorOf
	// due is the earliest time of the next start by policy, delay and pull the oracle's back-off.
	due         time.Time
	delay, pull time.Duration
	over        bool // must not be started again
	done        bool // init: exited with 0
	entered     bool // some attempt reached _start
	replacing   bool
}

type world struct {
	rng     *rand.Rand
	step    stepFunc
	state   State
	now     time.Time
	saved   []byte // the last checkpoint
	records map[string]*record
	queue   []event // answers that may arrive now, in any order
	timers  []pending
	stale   []timer // timers that were replaced; they may fire all the same
	trace   []string
	phase   corev1.PodPhase
	deleted bool
	calm    bool // no more accidents: everything must come to its end
	ended   bool
	err     error
}

func simulate(seed uint64, step stepFunc) (trace string, err error) {
	rng := rand.New(rand.NewPCG(seed, 7))
	w := &world{rng: rng, step: step, now: epoch, records: map[string]*record{}}
	pod := randomPod(rng)
	for _, c := range containersOf(pod) {
		w.records[c.Name] = &record{}
	}
	w.state = newState(pod, actors.DefaultSupervision(), w.now)
	w.feed(began{})
	for n := 30 + rng.IntN(150); n > 0 && w.err == nil; n-- {
		w.act()
	}
	w.calm = true
	w.delete(time.Duration(rng.IntN(40)) * time.Second)
	for n := 0; n < 2000 && w.err == nil && !w.ended; n++ {
		w.act()
	}
	if w.err == nil {
		w.atEnd()
	}
	return strings.Join(w.trace, "\n"), w.err
}

func randomPod(rng *rand.Rand) *corev1.Pod {
	p := &corev1.Pod{}
	p.Name, p.Namespace, p.UID = "p", "ns", "uid"
	policies := []corev1.RestartPolicy{corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}
	p.Spec.RestartPolicy = policies[rng.IntN(3)]
	if rng.IntN(2) == 0 {
		p.Spec.Volumes = []corev1.Volume{configVolume("cfg"), downwardVolume("metadata.labels")}
	}
	for i := range rng.IntN(4) {
		c := corev1.Container{Name: fmt.Sprintf("init%d", i), Image: "img:1"}
		if rng.IntN(2) == 0 {
			always := corev1.ContainerRestartPolicyAlways
			c.Name, c.RestartPolicy = fmt.Sprintf("side%d", i), &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	for i := range 1 + rng.IntN(3) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("main%d", i), Image: "img:1"})
	}
	if rng.IntN(4) == 0 {
		s := int64(1 + rng.IntN(3000))
		p.Spec.ActiveDeadlineSeconds = &s
	}
	grace := int64(rng.IntN(60))
	p.Spec.TerminationGracePeriodSeconds = &grace
	return p
}

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *world) log(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%8s ", w.now.Sub(epoch).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// act lets one thing happen.
func (w *world) act() {
	var acts []func()
	add := func(weight int, f func()) {
		for range weight {
			acts = append(acts, f)
		}
	}
	for i := range w.queue {
		add(4, func() {
			e := w.queue[i]
			w.queue = slices.Delete(w.queue, i, i+1)
			w.feed(w.fresh(e))
		})
	}
	for _, c := range w.state.Containers {
		if m := w.records[c.Name].module; m != nil {
			add(4, func() { w.progress(c.Name, m) })
			if !w.calm {
				add(1, func() { w.crashModule(c.Name) })
			}
		}
	}
	if len(w.timers) > 0 {
		add(2, w.fireNext)
	}
	if len(w.stale) > 0 {
		add(1, func() { w.feed(fired{w.stale[w.rng.IntN(len(w.stale))]}) })
	}
	if !w.calm {
		add(1, w.accident)
	}
	if len(acts) == 0 {
		w.fail("stuck: nothing can happen in stage %s", w.state.Stage)
		return
	}
	acts[w.rng.IntN(len(acts))]()
}

// accident is what happens rarely.
func (w *world) accident() {
	switch w.rng.IntN(25) {
	case 0:
		w.restart(false)
	case 1:
		w.restart(true)
	case 2:
		w.delete(time.Duration(w.rng.IntN(40)) * time.Second)
	case 3:
		w.changeImage()
	case 4:
		w.feed(tuned{actors.DefaultSupervision()})
	case 6:
		w.feed(refreshed{"ConfigMap", "ns", "cfg"})
	case 7:
		p := w.state.Pod.DeepCopy()
		p.Labels = map[string]string{"l": strconv.Itoa(w.rng.IntN(3))}
		w.feed(applied{p})
	case 5: // a guest ends while nobody looks
		for _, r := range w.records {
			if g := r.living(); g != nil && r.module == nil {
				w.endGuest(g, 1)
				return
			}
		}
	default:
		w.now = w.now.Add(time.Duration(w.rng.IntN(900)) * time.Second)
		for len(w.timers) > 0 && !w.next().at.After(w.now) && w.err == nil {
			w.fireNext()
		}
	}
}

// fresh makes the answer of a scan at the time it is given.
func (w *world) fresh(e event) event {
	p, ok := e.(prepared)
	if !ok || p.Err != nil {
		return e
	}
	for _, c := range w.state.Containers {
		r := w.records[c.Name]
		if len(r.guests) == 0 {
			continue
		}
		g := r.guests[len(r.guests)-1]
		f := bundle.Found{ID: bundle.ID{PodUID: "uid", Container: c.Name, Attempt: g.attempt}, Alive: g.alive}
		if g.entered {
			f.State = &bundle.State{StartedAt: g.started}
		}
		p.Found = append(p.Found, f)
	}
	return p
}

func (w *world) feed(e event) {
	if w.ended || w.err != nil {
		return
	}
	w.log("%T %+v", e, brief(e))
	before := w.state
	next, effects := w.step(before, e, w.now)
	w.state = next
	if durable(&before, &next) {
		w.save()
	}
	for _, f := range effects {
		w.carryOut(f)
	}
	w.check()
}

func brief(e event) any {
	switch e := e.(type) {
	case applied:
		return "image"
	case resolved:
		return e.Container
	case tuned:
		return ""
	default:
		return e
	}
}

func (w *world) save() {
	data, err := json.Marshal(Checkpoint{Version: checkpointVersion, State: w.state})
	if err != nil {
		w.fail("checkpoint: %v", err)
	}
	w.saved = data
}

func (w *world) carryOut(f effect) {
	switch f := f.(type) {
	case prepare:
		w.queue = append(w.queue, w.preparation(f))
	case project:
		w.project(f)
	case resolve:
		w.queue = append(w.queue, w.resolution(f))
	case run:
		w.run(f.Run)
	case kill:
		w.kill(f)
	case after:
		w.timers = slices.DeleteFunc(w.timers, func(p pending) bool {
			same := p.timer.Kind == f.Timer.Kind && p.timer.Container == f.Timer.Container
			if same {
				w.stale = append(w.stale, p.timer)
			}
			return same
		})
		w.timers = append(w.timers, pending{w.now.Add(f.Delay), f.Timer})
	case cleanup:
		for name, r := range w.records {
			if r.living() != nil {
				w.fail("cleanup while a guest of %s is alive", name)
			}
		}
		if w.rng.IntN(4) == 0 {
			w.queue = append(w.queue, cleaned{errors.New("busy")})
		} else {
			w.queue = append(w.queue, cleaned{})
		}
	case end:
		w.ended = true
	case observe:
		if x, ok := f.Event.(actors.Failure); ok {
			w.fail("the machine is broken: %s", x.Reason)
		}
	case release:
	}
}
