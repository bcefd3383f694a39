package podactor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// plan says how an attempt goes: how long its pull and its guest take, and how it ends.
type plan struct {
	pull, run time.Duration
	code      int32
}

// fakeNode is the world of whole-actor tests: the node actor above, module actors and guests below, bundles on disk.
// Guests belong to the node, not to module actors: they survive whatever crashes.
type fakeNode struct {
	t        *testing.T
	sim      *actorstest.Simulation
	sys      *actors.System
	cfg      Config
	plan     func(container string, attempt int) plan
	step     stepFunc
	guests   map[string][]*fakeGuest
	starts   []time.Duration
	statuses []corev1.PodStatus
	ended    int
	crashes  int
	root     *actor.PID
	pod      *actor.PID
	start    Start
	ledger   *ledger
	objects  Objects
}

type fakeGuest struct {
	attempt  int
	began    time.Time
	ends     time.Time
	code     int32
	reported bool
}

func (g *fakeGuest) alive(now time.Time) bool { return now.Before(g.ends) }

func newNode(t *testing.T, seed uint64, pod *corev1.Pod, p func(string, int) plan) *fakeNode {
	t.Helper()
	sim := actorstest.NewSimulation(t, seed, actors.Options{})
	dir := t.TempDir()
	n := &fakeNode{
		t: t, sim: sim, sys: sim.System(), plan: p, step: step, guests: map[string][]*fakeGuest{},
		cfg: Config{
			RootDir: filepath.Join(dir, "root"), PodLogsDir: filepath.Join(dir, "log"), NodeName: "n",
			Supervision: actors.DefaultSupervision(),
		},
		start: Start{Pod: pod},
	}
	sim.Invariant(n.oneGuestEach)
	return n
}

// up spawns the node with its Pod.
func (n *fakeNode) up() {
	n.t.Helper()
	props, _ := n.sys.Props(actors.KindNode, "node", actors.PodRef{}, func(*actors.Handle) actor.Actor { return (*nodeActor)(n) })
	pid, err := n.sys.SpawnRoot(props, "node", actor.NewOneForOneStrategy(0, 0, actor.DefaultDecider))
	if err != nil {
		n.t.Fatal(err)
	}
	n.root = pid
	n.sim.Settle()
}

// down stops all actors, as the end of the daemon does. Guests stay.
func (n *fakeNode) down() {
	n.t.Helper()
	if err := n.sys.StopTree(context.Background(), n.root); err != nil {
		n.t.Fatal(err)
	}
	n.noAccidents()
}

func (n *fakeNode) noAccidents() {
	n.t.Helper()
	if d := cmp.Diff(actors.Counters{}, n.sys.Counters()); d != "" {
		n.t.Errorf("counters (-want +got):\n%s", d)
	}
}

func (n *fakeNode) tell(m any) {
	n.sys.Root().Send(n.pod, m)
	n.sim.Settle()
}

func (n *fakeNode) status() corev1.PodStatus {
	n.t.Helper()
	if len(n.statuses) == 0 {
		n.t.Fatal("no status was told")
	}
	return n.statuses[len(n.statuses)-1]
}

func (n *fakeNode) oneGuestEach() error {
	for name, list := range n.guests {
		alive := 0
		for _, g := range list {
			if g.alive(n.sim.Now()) {
				alive++
			}
		}
		if alive > 1 {
			return fmt.Errorf("%d guests of %s are alive", alive, name)
		}
	}
	return nil
}

func (n *fakeNode) anyAlive() bool {
	for _, list := range n.guests {
		if slices.ContainsFunc(list, func(g *fakeGuest) bool { return g.alive(n.sim.Now()) }) {
			return true
		}
	}
	return false
}

// nodeActor is the parent.
type nodeActor fakeNode

func (a *nodeActor) Receive(ctx actor.Context) {
	n := (*fakeNode)(a)
	switch m := ctx.Message().(type) {
	case *actor.Started:
		l := newLedger(n.sys, &n.cfg, n.start)
		l.step = n.step
		n.ledger = l
		p, _ := props(n.sys, &n.cfg, Deps{Module: n.module, Bundles: fakeBundles{n}, Objects: n.objects}, l)
		pid, err := ctx.SpawnNamed(p, string(l.state.Pod.UID))
		if err != nil {
			panic(err)
		}
		n.pod = pid
	case StatusChanged:
		n.statuses = append(n.statuses, m.Status)
	case Ended:
		n.ended++
	case *actor.Terminated, *actor.Stopping, *actor.Stopped:
	default:
		panic(fmt.Sprintf("node got %T", m))
	}
}

func (a *nodeActor) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any,
) {
	a.crashes++
	sup.RestartChildren(child)
}

// module makes a fake module actor.
func (n *fakeNode) module(name string) (*actor.Props, *actors.Handle) {
	return n.sys.Props(actors.KindModule, name, actors.PodRef{}, func(*actors.Handle) actor.Actor {
		return &fakeModule{node: n, name: name}
	})
}

type fakeModule struct {
	node  *fakeNode
	name  string
	run   *moduleactor.Run
	guest *fakeGuest
}

type (
	pullDone  struct{}
	guestDone struct{}
	panicNow  struct{}
)

func (m *fakeModule) Receive(ctx actor.Context) {
	n := m.node
	switch msg := ctx.Message().(type) {
	case moduleactor.Run:
		if m.run != nil {
			return // under way already
		}
		m.run = &msg
		if msg.Adopt {
			m.adopt(ctx)
			return
		}
		ctx.Send(ctx.Parent(), moduleactor.Pulling{Container: m.name, Attempt: msg.Attempt})
		n.sys.After(ctx.Self(), n.plan(m.name, msg.Attempt).pull, pullDone{})
	case pullDone:
		if n.plan(m.name, m.run.Attempt).run < 0 {
			m.fail(ctx, actors.Exit{Reason: actors.ReasonErrImagePull, NotStarted: true})
			return
		}
		m.enter(ctx)
	case guestDone:
		m.end(ctx)
	case moduleactor.Terminate:
		m.terminate(ctx)
	case panicNow:
		panic("module bug")
	}
}

func (m *fakeModule) terminate(ctx actor.Context) {
	if m.guest == nil {
		m.fail(ctx, actors.Exit{Reason: actors.ReasonErrImagePull, Message: "cancelled", NotStarted: true})
		return
	}
	if now := m.node.sim.Now(); m.guest.alive(now) {
		m.guest.ends, m.guest.code = now, 143
	}
	m.end(ctx)
}

func (m *fakeModule) enter(ctx actor.Context) {
	n, now := m.node, m.node.sim.Now()
	p := n.plan(m.name, m.run.Attempt)
	m.guest = &fakeGuest{attempt: m.run.Attempt, began: now, ends: now.Add(p.run), code: p.code}
	n.guests[m.name] = append(n.guests[m.name], m.guest)
	n.starts = append(n.starts, now.Sub(n.ledger.state.StartTime))
	ctx.Send(ctx.Parent(), moduleactor.Created{Container: m.name, Attempt: m.run.Attempt})
	m.started(ctx)
}

func (m *fakeModule) adopt(ctx actor.Context) {
	list := m.node.guests[m.name]
	if i := slices.IndexFunc(list, func(g *fakeGuest) bool { return g.attempt == m.run.Attempt }); i >= 0 {
		m.guest = list[i]
		m.started(ctx)
		return
	}
	m.fail(ctx, actors.Exit{Reason: actors.ReasonContainerStatusUnknown, Code: 137})
}

func (m *fakeModule) started(ctx actor.Context) {
	now := m.node.sim.Now()
	if !m.guest.alive(now) {
		m.end(ctx)
		return
	}
	ctx.Send(ctx.Parent(), moduleactor.Started{
		Container: m.name, Attempt: m.guest.attempt, StartedAt: m.guest.began, Adopted: m.run.Adopt,
	})
	m.node.sys.After(ctx.Self(), m.guest.ends.Sub(now), guestDone{})
}

func (m *fakeModule) end(ctx actor.Context) {
	m.guest.reported = true
	x := actors.Exit{Reason: actors.ReasonError, Code: m.guest.code, StartedAt: m.guest.began, FinishedAt: m.guest.ends}
	if x.Code == 0 {
		x.Reason = actors.ReasonCompleted
	}
	m.fail(ctx, x)
}

func (m *fakeModule) fail(ctx actor.Context, x actors.Exit) {
	x.Attempt = m.run.Attempt
	if x.FinishedAt.IsZero() {
		x.FinishedAt = m.node.sim.Now()
	}
	actors.Fail(ctx, x)
}

type fakeBundles struct{ n *fakeNode }

func (b fakeBundles) Scan(uid string) ([]bundle.Found, error) {
	var found []bundle.Found
	for name, list := range b.n.guests {
		g := list[len(list)-1]
		f := bundle.Found{ID: bundle.ID{PodUID: uid, Container: name, Attempt: g.attempt}, Alive: g.alive(b.n.sim.Now())}
		f.State = &bundle.State{StartedAt: g.began}
		found = append(found, f)
	}
	return found, nil
}

func (b fakeBundles) RemoveAttempts(string, string, int) error { return nil }

func (b fakeBundles) RemovePod(uid string) error {
	if b.n.anyAlive() {
		return bundle.ErrBusy
	}
	dir, err := bundle.PodDir(b.n.cfg.RootDir, uid)
	return errors.Join(err, os.RemoveAll(dir))
}

func onePod(names ...string) *corev1.Pod {
	p := &corev1.Pod{}
	p.Name, p.Namespace, p.UID = "p", "ns", "uid-1"
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	for _, name := range names {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: name, Image: "img:1"})
	}
	return p
}

func forever(string, int) plan { return plan{run: 1000 * time.Hour} }

func failing(string, int) plan { return plan{run: time.Second, code: 1} }
