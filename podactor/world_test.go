package podactor

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

func (w *world) preparation(prepare) event {
	if !w.calm && w.rng.IntN(8) == 0 {
		return prepared{Err: &prepareError{Err: bundle.ErrBusy}}
	}
	return prepared{}
}

// project has the volumes made anew, which must not happen twice at once, nor when they are being removed.
func (w *world) project(f project) {
	w.log("  project")
	if w.state.Stage == StageTerminating && w.state.Busy || w.state.Stage >= StageFinished || w.state.Stage <= StagePreparing {
		w.fail("volumes are made anew in stage %s", w.state.Stage)
	}
	for _, e := range w.queue {
		if _, ok := e.(projected); ok {
			w.fail("volumes are made anew twice at once")
		}
		if _, ok := e.(prepared); ok {
			w.fail("volumes are made anew while they are made")
		}
	}
	w.queue = append(w.queue, w.projection(f))
}

func (w *world) projection(f project) event {
	e := projected{Gen: f.Gen, RefreshAt: w.now.Add(time.Hour)}
	if !w.calm && w.rng.IntN(4) == 0 {
		e = projected{Gen: f.Gen, Err: &prepareError{Volume: "v", Err: errors.New("no")}}
	}
	return e
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
