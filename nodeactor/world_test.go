package nodeactor_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/nodeactor"
	"github.com/wazlet/wazlet/podactor"
)

// world is everything outside the actors: guests, which outlive them, and what the test wants. It judges what the actors
// do; the first violation ends the simulation.
type world struct {
	sim  *actorstest.Simulation
	root string
	disk nodeactor.Disk

	guests  map[bundle.ID]*guest
	pods    map[string]*corev1.Pod // every Pod that was ever applied, by UID
	deleted map[string]time.Time   // when it stopped being wanted
	phases  map[string]corev1.PodPhase
	ips     map[string]string    // the addresses of Pods, as last told
	ending  map[string]time.Time // when the pod actor went to Terminating
	last    map[string]ending    // by pod and container
	// upset says that something besides the restart policy delayed the container since its last end, calmAt when the
	// actor of a Pod is back at the latest.
	upset  map[string]bool
	calmAt map[string]time.Time
	// spent says that an attempt of the container was spent without a guest, so that its back-off is longer than known here.
	spent map[string]bool
	// givenUp are Pods that the API knows as failed since some time.
	givenUp map[string]bool

	nodeCrashes bool
	violation   error
	stats       map[string]int
}

// ending is how the last attempt of a container ended, and what its back-off is since.
type ending struct {
	exit  bundle.Exit
	delay time.Duration // of the restart that follows
	ran   int           // attempts
}

// guest is one attempt.
type guest struct {
	id      bundle.ID
	state   *bundle.State
	exit    *bundle.Exit
	begun   time.Time
	dying   bool
	watcher *actor.PID
	serial  uint64 // of the watcher's incarnation
}

func newWorld(sim *actorstest.Simulation, root string) *world {
	w := &world{
		sim: sim, root: root, disk: nodeactor.NewDisk(nil, root, ""),
		guests: map[bundle.ID]*guest{}, pods: map[string]*corev1.Pod{}, deleted: map[string]time.Time{},
		phases: map[string]corev1.PodPhase{}, ips: map[string]string{}, ending: map[string]time.Time{}, last: map[string]ending{},
		upset: map[string]bool{}, calmAt: map[string]time.Time{}, spent: map[string]bool{},
		givenUp: map[string]bool{}, stats: map[string]int{},
	}
	sim.Invariant(func() error { return w.violation })
	return w
}

func (w *world) violated(format string, args ...any) {
	if w.violation == nil {
		w.violation = fmt.Errorf(format, args...)
	}
}

func key(id bundle.ID) string { return id.PodUID + "/" + id.Container }

// start is where a container starts; nothing is more closely watched.
func (w *world) start(id bundle.ID) *guest {
	now, pod := w.sim.Now(), w.pods[id.PodUID]
	if w.guests[id] != nil {
		w.violated("%s was started twice", id)
	}
	for _, g := range w.guests {
		other := w.pods[g.id.PodUID]
		if g.exit != nil {
			continue
		}
		if key(g.id) == key(id) {
			w.violated("%s starts while %s is alive", id, g.id)
		}
		if g.id.PodUID != id.PodUID && other.Name == pod.Name {
			w.violated("%s starts while %s of the same name is alive", id, g.id)
		}
	}
	if at, ok := w.deleted[id.PodUID]; ok && at.Before(now) {
		w.violated("%s starts %s after the deletion of its pod", id, now.Sub(at))
	}
	if p := w.phases[id.PodUID]; p == corev1.PodSucceeded || p == corev1.PodFailed {
		w.violated("%s starts in a pod that is %s", id, p)
	}
	w.checkRoom(id, pod)
	w.checkOrder(id, pod)
	w.checkRestart(id, pod)
	w.checkAddress(id.PodUID)
	g := &guest{id: id, begun: now}
	w.guests[id] = g
	w.stats["starts"]++
	w.upset[key(id)] = false
	return g
}

// capacity is how many CPUs the node has for Pods.
const capacity = 6

func cpus(pod *corev1.Pod) int64 { return pod.Spec.Containers[0].Resources.Requests.Cpu().Value() }

// admit is the node's rule for Pods it has not seen.
func (w *world) admit(pod *corev1.Pod, others []*corev1.Pod) *podactor.Rejection {
	used := int64(0)
	for _, o := range others {
		used += cpus(o)
	}
	if used+cpus(pod) <= capacity {
		return nil
	}
	w.stats["out of cpu"]++
	return &podactor.Rejection{Reason: "OutOfcpu", Message: fmt.Sprintf("%d are used", used)}
}

// checkRoom wants no more in use than there is, however the node lost and found its Pods.
func (w *world) checkRoom(id bundle.ID, pod *corev1.Pod) {
	used, seen := cpus(pod), map[string]bool{id.PodUID: true}
	for _, g := range w.guests {
		if g.exit == nil && !seen[g.id.PodUID] {
			seen[g.id.PodUID] = true
			used += cpus(w.pods[g.id.PodUID])
		}
	}
	if used > capacity {
		w.violated("%s starts with %d CPUs in use of %d", id, used, capacity)
	}
}

// checkAddress wants the address of a Pod that runs for itself.
func (w *world) checkAddress(uid string) {
	for _, g := range w.guests {
		if other := g.id.PodUID; g.exit == nil && other != uid && w.ips[uid] != "" && w.ips[other] == w.ips[uid] {
			w.violated("pod %s runs on address %s, which %s has", uid, w.ips[uid], g.id)
		}
	}
}

// noteAddress follows the address that a status tells.
func (w *world) noteAddress(uid, ip string) {
	if ip == "" {
		return
	}
	alive := len(w.alive(uid)) > 0
	if before := w.ips[uid]; alive && before != "" && before != ip {
		w.violated("pod %s runs on address %s and is said to have %s", uid, before, ip)
	}
	w.ips[uid] = ip
	w.stats["addresses"]++
	if alive {
		w.checkAddress(uid)
	}
}

// checkOrder wants every init container done before a main starts.
func (w *world) checkOrder(id bundle.ID, pod *corev1.Pod) {
	for _, c := range pod.Spec.InitContainers {
		if c.Name == id.Container {
			return
		}
		done := w.last[id.PodUID+"/"+c.Name]
		if done.ran == 0 || done.exit.Code != 0 {
			w.violated("%s starts before init container %s is done (%+v)", id, c.Name, done)
		}
	}
}

// checkRestart wants the restart that the policy permits, no sooner than the back-off says, and no later unless
// something else came between.
func (w *world) checkRestart(id bundle.ID, pod *corev1.Pod) {
	last := w.last[key(id)]
	if last.ran == 0 {
		return
	}
	init := slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == id.Container })
	policy := pod.Spec.RestartPolicy
	switch {
	case policy == corev1.RestartPolicyNever:
		w.violated("%s: restarted in spite of policy Never", id)
	case last.exit.Code == 0 && (policy == corev1.RestartPolicyOnFailure || init):
		w.violated("%s: restarted after success", id)
	}
	due := last.exit.FinishedAt.Add(last.delay)
	switch now := w.sim.Now(); {
	case now.Before(due):
		w.violated("%s: restarted %s after its end, want %s", id, now.Sub(last.exit.FinishedAt), last.delay)
	case now.After(due.Add(pullTime)) && w.calm(id, last.exit.FinishedAt):
		w.violated("%s: restarted only %s after its end, want %s", id, now.Sub(last.exit.FinishedAt), last.delay)
	}
}

// pullTime is the longest that a pull takes.
const pullTime = 3 * time.Second

// end ends a guest.
func (w *world) end(g *guest, code int32, reason bundle.ExitReason) {
	if g.exit != nil {
		return
	}
	now := w.sim.Now()
	x := bundle.Exit{Code: code, Reason: reason, StartedAt: g.begun, FinishedAt: now}
	g.exit = &x
	last := w.last[key(g.id)]
	switch {
	case last.ran == 0 || now.Sub(g.begun) > 10*time.Minute:
		last.delay = 0
	case last.delay == 0:
		last.delay = 10 * time.Second
	default:
		last.delay = min(2*last.delay, 5*time.Minute)
	}
	last.exit, last.ran = x, last.ran+1
	w.last[key(g.id)] = last
	if g.watcher != nil {
		w.sim.System().Root().Send(g.watcher, guestEnded{g.id, g.serial})
	}
}

// kill is what SIGTERM does.
func (w *world) kill(g *guest) {
	if g.dying || g.exit != nil {
		return
	}
	g.dying = true
	w.sim.Clock().AfterFunc(time.Duration(w.sim.Rand().IntN(3))*time.Second, func() { w.end(g, 143, bundle.Killed) })
}

// alive lists the guests of a Pod that run; of all Pods if uid is empty.
func (w *world) alive(uid string) []string {
	var out []string
	for _, g := range w.guests {
		if g.exit == nil && (uid == "" || g.id.PodUID == uid) {
			out = append(out, g.id.String())
		}
	}
	slices.Sort(out)
	return out
}

// forget drops the memory of a Pod that is gone: what comes under its UID is another life.
func (w *world) forget(uid string) {
	delete(w.phases, uid)
	delete(w.ips, uid)
	delete(w.ending, uid)
	for k := range w.last {
		if k[:len(uid)+1] == uid+"/" {
			delete(w.last, k)
		}
	}
}

// disturb notes that the Pod's actor is not there, or all of them if uid is empty: endings may be answered late.
func (w *world) disturb(uid string) { w.calmAt[uid] = w.sim.Now().Add(time.Minute) }

func (w *world) calm(id bundle.ID, since time.Time) bool {
	return !since.Before(w.calmAt[""]) && !since.Before(w.calmAt[id.PodUID]) && !w.upset[key(id)] && !w.spent[key(id)]
}

// onStatus is the node's.
func (w *world) onStatus(pod *corev1.Pod, s corev1.PodStatus) {
	uid := string(pod.UID)
	before := w.phases[uid]
	if (before == corev1.PodSucceeded || before == corev1.PodFailed) && s.Phase != before {
		w.violated("pod %s was %s and became %s", uid, before, s.Phase)
	}
	w.phases[uid] = s.Phase
	w.noteAddress(uid, s.PodIP)
	for _, c := range s.ContainerStatuses {
		if c.State.Waiting != nil && strings.Contains(c.State.Waiting.Message, "no free address") {
			w.stats["waits for an address"]++
		}
	}
	if s.Reason == string(actors.ReasonAgentError) {
		w.stats["given up"]++
		if alive := w.alive(uid); len(alive) > 0 {
			w.violated("pod %s was given up with %v alive", uid, alive)
		}
	}
	if s.Reason == string(actors.ReasonOutOfPods) {
		w.stats["rejected"]++
	}
	if w.nodeCrashes && w.sim.Rand().IntN(100) == 0 {
		w.stats["node crashes"]++
		w.disturb("")
		panic("injected crash of the node actor")
	}
}

func (w *world) onEnded(pod *corev1.Pod) {
	uid := string(pod.UID)
	if alive := w.alive(uid); len(alive) > 0 {
		w.violated("pod %s is gone with %v alive", uid, alive)
	}
	w.stats["ended"]++
	w.forget(uid)
}

// bundles is the world as a pod actor's disk.
type bundles struct{ *world }

func (b bundles) Scan(uid string) ([]bundle.Found, error) {
	latest := map[string]bundle.Found{}
	for id, g := range b.guests {
		if f, ok := latest[id.Container]; id.PodUID != uid || (ok && f.ID.Attempt > id.Attempt) {
			continue
		}
		f := bundle.Found{ID: id, Alive: g.exit == nil, State: g.state, Exit: g.exit}
		if p := b.guests[bundle.ID{PodUID: uid, Container: id.Container, Attempt: id.Attempt - 1}]; p != nil {
			f.Previous = p.exit
		}
		latest[id.Container] = f
	}
	return slices.SortedFunc(maps.Values(latest), func(x, y bundle.Found) int {
		return cmp.Compare(x.ID.Container, y.ID.Container)
	}), nil
}

func (b bundles) RemoveAttempts(uid, container string, keep int) error {
	latest := -1
	for id := range b.guests {
		if id.PodUID == uid && id.Container == container {
			latest = max(latest, id.Attempt)
		}
	}
	for id, g := range b.guests {
		if id.PodUID == uid && id.Container == container && id.Attempt <= latest-keep && g.exit != nil {
			delete(b.guests, id)
		}
	}
	return nil
}

func (b bundles) RemovePod(uid string) error {
	if alive := b.alive(uid); len(alive) > 0 {
		return fmt.Errorf("remove pod %s: %v: %w", uid, alive, bundle.ErrBusy)
	}
	maps.DeleteFunc(b.guests, func(id bundle.ID, _ *guest) bool { return id.PodUID == uid })
	if err := bundle.RemovePod(b.root, uid); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// disk is the world as the node actor's disk: real checkpoints, simulated guests.
type disk struct{ *world }

func (d disk) Recover() nodeactor.Remains { return d.disk.Recover() }

func (d disk) End(ctx context.Context, uid string, _ time.Duration) error {
	for _, id := range slices.SortedFunc(maps.Keys(d.guests), func(a, b bundle.ID) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Attempt, b.Attempt))
	}) {
		if id.PodUID == uid {
			d.kill(d.guests[id])
		}
	}
	return d.sim.Block(ctx, func() bool { return len(d.alive(uid)) == 0 })
}

func (d disk) Remove(uid string) error { return bundles(d).RemovePod(uid) }

func (d disk) Fail(uid string, verdict podactor.Outcome, now time.Time) error {
	return d.disk.Fail(uid, verdict, now)
}

// module is a module actor that is driven by messages alone: its guest lives in the world.
type module struct {
	w      *world
	sys    *actors.System
	serial uint64
	run    *moduleactor.Run
	guest  *guest
	doomed bool
}

type (
	pullDone   struct{}
	entryDone  struct{}
	guestEnded struct {
		id     bundle.ID
		serial uint64
	}
)

func (guestEnded) IgnoreDeadLetterLogging() {}

func (w *world) moduleProps(pod actors.PodRef, container string) (*actor.Props, *actors.Handle) {
	sys := w.sim.System()
	var serial uint64
	return sys.Props(actors.KindModule, container, pod, func(*actors.Handle) actor.Actor {
		w.stats["incarnations"]++
		serial = uint64(w.stats["incarnations"]) //nolint:gosec // it counts
		return &module{w: w, sys: sys, serial: serial}
	})
}

func (m *module) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case moduleactor.Run:
		m.onRun(ctx, msg)
	case moduleactor.Terminate:
		m.onTerminate(ctx)
	case pullDone:
		m.onPulled(ctx)
	case entryDone:
		m.onEntered(ctx)
	case guestEnded:
		if m.guest != nil && msg.id == m.guest.id && msg.serial == m.serial {
			m.fail(ctx, m.exit())
		}
	case *actor.Stopping, *actor.Restarting:
		if m.guest != nil && m.guest.serial == m.serial {
			m.guest.watcher = nil
		}
	}
}

func (m *module) id() bundle.ID {
	return bundle.ID{PodUID: m.run.Spec.Pod.UID, Container: m.run.Spec.Container, Attempt: m.run.Attempt}
}

func (m *module) chance(percent int) bool { return m.w.sim.Rand().IntN(100) < percent }

func (m *module) onRun(ctx actor.Context, msg moduleactor.Run) {
	if m.run != nil {
		m.w.violated("%s was told to run twice", m.id())
		return
	}
	m.run = &msg
	if m.chance(1) {
		m.w.stats["module crashes"]++
		m.w.spent[key(m.id())] = true
		panic("injected crash of a module actor")
	}
	if msg.Adopt {
		m.adopt(ctx)
		return
	}
	if at, ok := m.w.ending[msg.Spec.Pod.UID]; ok && at.Before(m.w.sim.Now()) {
		m.w.violated("%s was told to run while its pod was terminating", m.id())
	}
	ctx.Send(ctx.Parent(), moduleactor.Pulling{Container: msg.Spec.Container, Attempt: msg.Attempt, Remote: true})
	m.sys.After(ctx.Self(), time.Duration(m.w.sim.Rand().Int64N(int64(pullTime))), pullDone{})
}

func (m *module) adopt(ctx actor.Context) {
	m.guest = m.w.guests[m.id()]
	if m.guest == nil {
		m.w.spent[key(m.id())] = true
		m.fail(ctx, actors.Exit{Reason: actors.ReasonContainerStatusUnknown, Code: 137, Attempt: m.run.Attempt, FinishedAt: m.w.sim.Now()})
		return
	}
	m.w.stats["adoptions"]++
	m.guest.watcher, m.guest.serial = ctx.Self(), m.serial
	if m.guest.state == nil {
		m.sys.After(ctx.Self(), time.Second, entryDone{})
	} else {
		m.tellStarted(ctx, true)
	}
	if m.guest.exit != nil {
		ctx.Send(ctx.Self(), guestEnded{m.id(), m.serial})
	}
}

func (m *module) onPulled(ctx actor.Context) {
	if m.chance(15) {
		m.w.upset[key(m.id())] = true
		m.fail(ctx, actors.Exit{Reason: actors.ReasonErrImagePull, NotStarted: true, Attempt: m.run.Attempt, FinishedAt: m.w.sim.Now()})
		return
	}
	ctx.Send(ctx.Parent(), moduleactor.Pulled{Container: m.run.Spec.Container, Attempt: m.run.Attempt})
	m.guest = m.w.start(m.id())
	m.guest.watcher, m.guest.serial = ctx.Self(), m.serial
	ctx.Send(ctx.Parent(), moduleactor.Created{Container: m.run.Spec.Container, Attempt: m.run.Attempt})
	g, w := m.guest, m.w
	runs := []time.Duration{time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute}
	code := int32(w.sim.Rand().IntN(2)) //nolint:gosec // 0 or 1
	w.sim.Clock().AfterFunc(runs[w.sim.Rand().IntN(len(runs))], func() {
		w.end(g, code, map[int32]bundle.ExitReason{0: bundle.Completed, 1: bundle.Error}[code])
	})
	m.sys.After(ctx.Self(), 500*time.Millisecond, entryDone{})
}

func (m *module) onEntered(ctx actor.Context) {
	if m.guest.exit != nil {
		return
	}
	if m.guest.state == nil {
		m.guest.state = &bundle.State{PID: 1, StartedAt: m.guest.begun}
	}
	m.tellStarted(ctx, m.run.Adopt)
	if m.chance(1) {
		m.w.stats["module crashes"]++
		m.w.upset[key(m.id())] = true
		panic("injected crash of a module actor with a guest")
	}
}

func (m *module) tellStarted(ctx actor.Context, adopted bool) {
	ctx.Send(ctx.Parent(), moduleactor.Started{
		Container: m.run.Spec.Container, Attempt: m.run.Attempt, StartedAt: m.guest.state.StartedAt, Adopted: adopted,
	})
}

func (m *module) onTerminate(ctx actor.Context) {
	if m.guest != nil {
		m.w.kill(m.guest)
		return
	}
	if m.run == nil {
		return // it was for the attempt before
	}
	m.fail(ctx, actors.Exit{
		Reason: actors.ReasonErrImagePull, Code: 137, NotStarted: true, Attempt: m.run.Attempt, FinishedAt: m.w.sim.Now(),
	})
}

func (m *module) exit() actors.Exit {
	e := m.guest.exit
	x := actors.Exit{
		Reason: actors.ReasonError, Code: e.Code, Attempt: m.run.Attempt, StartedAt: e.StartedAt, FinishedAt: e.FinishedAt,
	}
	if e.Code == 0 {
		x.Reason = actors.ReasonCompleted
	}
	return x
}

func (m *module) fail(ctx actor.Context, x actors.Exit) {
	if m.doomed {
		return
	}
	m.doomed = true
	actors.Fail(ctx, x)
}
