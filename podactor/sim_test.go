package podactor

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
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

func (w *world) preparation(prepare) event {
	if !w.calm && w.rng.IntN(8) == 0 {
		return prepared{Err: &prepareError{Err: bundle.ErrBusy}}
	}
	return prepared{}
}

func (w *world) resolution(f resolve) event {
	if !f.Adopt && w.rng.IntN(12) == 0 {
		return resolved{Container: f.Container, Gen: f.Gen, Err: errors.New("no")}
	}
	return resolved{Container: f.Container, Gen: f.Gen, Spec: moduleactor.Spec{Container: f.Container}}
}

func (r *record) living() *guest {
	for _, g := range r.guests {
		if g.alive {
			return g
		}
	}
	return nil
}

// run is where most invariants are: nothing may be started that must not.
func (w *world) run(x moduleactor.Run) {
	name := x.Spec.Container
	r := w.records[name]
	w.log("  run %s #%d adopt=%t", name, x.Attempt, x.Adopt)
	if r.module != nil {
		w.fail("%s is given an attempt while its module actor has one", name)
	}
	r.module = &actorOf{run: x}
	if x.Adopt {
		return
	}
	r.replacing = false
	role := roleOf(w.state.Pod, name)
	switch {
	case w.deleted:
		w.fail("%s is started after the deletion", name)
	case w.phase == corev1.PodSucceeded || w.phase == corev1.PodFailed:
		w.fail("%s is started in a Pod that is %s", name, w.phase)
	case r.living() != nil:
		w.fail("%s is started while its guest is alive", name)
	case slices.ContainsFunc(r.guests, func(g *guest) bool { return g.attempt == x.Attempt }):
		w.fail("attempt %d of %s is started twice", x.Attempt, name)
	case w.now.Before(r.due):
		w.fail("%s is started too early: %s, due %s", name, w.now.Sub(epoch), r.due.Sub(epoch))
	case r.over:
		w.fail("%s is started although its policy forbids", name)
	}
	for _, c := range w.state.Containers {
		if c.Name == name {
			break
		}
		o := w.records[c.Name]
		if c.Role == Init && !o.done {
			w.fail("%s is started before init container %s is done", name, c.Name)
		}
		if c.Role == Sidecar && !o.entered && role == Main {
			w.fail("%s is started before init container (sidecar) %s was", name, c.Name)
		}
	}
}

func (w *world) kill(f kill) {
	w.log("  kill %s %s", f.Container, f.Grace)
	r := w.records[f.Container]
	if r.module == nil {
		w.fail("kill of %s, which has no module actor", f.Container)
		return
	}
	r.module.killed = true
	if roleOf(w.state.Pod, f.Container) == Sidecar && !r.replacing {
		for name, o := range w.records {
			if roleOf(w.state.Pod, name) != Sidecar && o.living() != nil {
				w.fail("sidecar %s does not outlive %s", f.Container, name)
			}
		}
	}
}

// progress lets a module actor do its next thing.
func (w *world) progress(name string, m *actorOf) {
	r := w.records[name]
	n := m.run.Attempt
	if m.run.Adopt {
		w.progressAdopted(name, r, m)
		return
	}
	tell := func(f moduleactor.Fact) {
		m.stage++
		w.feed(reported{f})
	}
	switch {
	case m.stage < 3 && m.killed, m.stage < 2 && w.rng.IntN(6) == 0:
		w.exitNotStarted(name, r, m)
	case m.stage == 0:
		tell(moduleactor.Pulling{Container: name, Attempt: n})
	case m.stage == 1:
		tell(moduleactor.Pulled{Container: name, Attempt: n})
	case m.stage == 2:
		r.guests = append(r.guests, &guest{attempt: n, alive: true})
		r.pull = 0
		tell(moduleactor.Created{Container: name, Attempt: n})
	case m.stage == 3 && !m.killed && w.rng.IntN(10) > 0:
		g := r.living()
		if g == nil {
			w.exit(name, r, m)
			return
		}
		g.entered, g.started, r.entered = true, w.now, true
		tell(moduleactor.Started{Container: name, Attempt: n, StartedAt: w.now})
	case !m.killed && w.rng.IntN(5) > 0: // it goes on running
	default:
		w.exit(name, r, m)
	}
}

func (w *world) progressAdopted(name string, r *record, m *actorOf) {
	i := slices.IndexFunc(r.guests, func(g *guest) bool { return g.attempt == m.run.Attempt })
	switch {
	case i < 0: // there is nothing to adopt
		r.module = nil
		x := actors.Exit{
			Reason: actors.ReasonContainerStatusUnknown, Code: 137, Attempt: m.run.Attempt, StartedAt: w.now, FinishedAt: w.now,
		}
		r.guests = append(r.guests, &guest{attempt: m.run.Attempt, started: w.now, finished: w.now, code: 137})
		w.expect(name, r, x)
		w.feed(exited{name, x})
	case r.guests[i].entered && m.stage == 0 && r.guests[i].alive:
		m.stage++
		w.feed(reported{moduleactor.Started{Container: name, Attempt: m.run.Attempt, StartedAt: r.guests[i].started, Adopted: true}})
	case r.guests[i].alive && !m.killed && w.rng.IntN(5) > 0:
	default:
		w.exit(name, r, m)
	}
}

func (w *world) endGuest(g *guest, code int32) {
	g.alive, g.finished, g.code = false, w.now, code
	if g.started.IsZero() {
		g.started = w.now
	}
}

// exit ends the guest, unless it has ended by itself, and reports it.
func (w *world) exit(name string, r *record, m *actorOf) {
	g := r.guests[slices.IndexFunc(r.guests, func(g *guest) bool { return g.attempt == m.run.Attempt })]
	if g.alive {
		w.now = w.now.Add(time.Duration(w.rng.IntN(5)) * time.Second)
		code := int32(w.rng.IntN(2))
		if m.killed && w.rng.IntN(3) > 0 {
			code = 143
		}
		w.endGuest(g, code)
	}
	r.module = nil
	x := actors.Exit{Reason: actors.ReasonError, Code: g.code, Attempt: g.attempt, StartedAt: g.started, FinishedAt: g.finished}
	w.expect(name, r, x)
	w.feed(exited{name, x})
}

func (w *world) exitNotStarted(name string, r *record, m *actorOf) {
	r.module = nil
	r.pull = min(max(2*r.pull, 10*time.Second), 300*time.Second)
	if r.replacing {
		r.pull, r.delay, r.replacing = 0, 0, false
	}
	r.due = w.now.Add(r.pull)
	w.feed(exited{name, actors.Exit{
		Reason: actors.ReasonErrImagePull, NotStarted: true, Attempt: m.run.Attempt, FinishedAt: w.now,
	}})
}

// expect is the oracle: Kubernetes' rules, written a second time.
func (w *world) expect(name string, r *record, x actors.Exit) {
	role := roleOf(w.state.Pod, name)
	r.pull = 0
	r.done = r.done || (role == Init && x.Code == 0)
	if r.replacing {
		r.replacing, r.delay, r.due = false, 0, time.Time{}
		r.done = false
		return
	}
	policy := w.state.Pod.Spec.RestartPolicy
	if role == Init && policy == corev1.RestartPolicyAlways {
		policy = corev1.RestartPolicyOnFailure
	}
	if role == Sidecar {
		policy = corev1.RestartPolicyAlways
	}
	r.over = policy == corev1.RestartPolicyNever || (policy == corev1.RestartPolicyOnFailure && x.Code == 0)
	if x.FinishedAt.Sub(x.StartedAt) > 600*time.Second {
		r.delay = 0
	}
	r.due = x.FinishedAt.Add(r.delay)
	r.delay = min(max(2*r.delay, 10*time.Second), 300*time.Second)
}

// crashModule loses the module actor, not the guest.
func (w *world) crashModule(name string) {
	w.records[name].module = nil
	w.feed(crashed{name, "bug"})
}

// restart loses the pod actor with its module actors, timers and workers; daemon also what was not in the checkpoint.
func (w *world) restart(daemon bool) {
	for _, r := range w.records {
		r.module = nil
	}
	w.queue, w.timers, w.stale = nil, nil, nil
	if daemon {
		var c Checkpoint
		if err := json.Unmarshal(w.saved, &c); err != nil {
			w.fail("checkpoint: %v", err)
			return
		}
		if err := c.validate("uid"); err != nil {
			w.fail("checkpoint: %v", err)
		}
		w.state = c.State
		w.state.Supervision = actors.DefaultSupervision()
	}
	w.feed(resumed{})
}

func (w *world) delete(grace time.Duration) {
	w.deleted = true
	w.feed(terminated{Grace: grace})
}

func (w *world) changeImage() {
	if w.state.Outcome != nil || w.deleted {
		return
	}
	p := w.state.Pod.DeepCopy()
	c := &w.state.Containers[w.rng.IntN(len(w.state.Containers))]
	specOf(p, c.Name).Image += "x"
	r := w.records[c.Name]
	switch {
	case c.alive(), w.state.Stage == StagePreparing && c.Stage >= ModuleCreated && c.Stage <= ModuleRunning:
		r.replacing = true
	case c.Stage == ModuleBackOff || c.Stage == ModuleCreated:
		r.due, r.delay, r.pull = time.Time{}, 0, 0
	}
	w.feed(applied{p})
}

func (w *world) next() pending {
	return slices.MinFunc(w.timers, func(a, b pending) int { return a.at.Compare(b.at) })
}

func (w *world) fireNext() {
	p := w.next()
	w.timers = slices.DeleteFunc(w.timers, func(q pending) bool { return q == p })
	if p.at.After(w.now) {
		w.now = p.at
	}
	w.feed(fired{p.timer})
}

// check holds after every step.
func (w *world) check() {
	for name, r := range w.records {
		n := 0
		for _, g := range r.guests {
			if g.alive {
				n++
			}
		}
		if n > 1 {
			w.fail("%d guests of %s are alive", n, name)
		}
	}
	p := deriveStatus(&w.state, Config{}, status{}, w.now)
	if (w.phase == corev1.PodSucceeded || w.phase == corev1.PodFailed) && p.Phase != w.phase {
		w.fail("the phase was %s and is %s", w.phase, p.Phase)
	}
	w.phase = p.Phase
	if p.Phase == corev1.PodSucceeded || p.Phase == corev1.PodFailed {
		for name, r := range w.records {
			if r.living() != nil {
				w.fail("phase %s while a guest of %s is alive", p.Phase, name)
			}
		}
	}
	for _, c := range slices.Concat(p.InitContainerStatuses, p.ContainerStatuses) {
		if (c.State.Running != nil) != (c.Started != nil && *c.Started) {
			w.fail("%s: started does not say whether it runs", c.Name)
		}
	}
}

func (w *world) atEnd() {
	if !w.ended || w.state.Stage != StageEnded {
		w.fail("the Pod did not end: stage %s", w.state.Stage)
	}
	for name, r := range w.records {
		if r.living() != nil || r.module != nil {
			w.fail("something of %s is left at the end", name)
		}
	}
}
