package nodeactor_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/moduleactortest"
	"github.com/wazlet/wazlet/nodeactor"
	"github.com/wazlet/wazlet/nodeactor/podcidr"
	"github.com/wazlet/wazlet/podactor"
)

var (
	simSeeds = flag.Int("sim.seeds", 200, "how many seeds TestSimulation runs")
	simSeed  = flag.Int64("sim.seed", -1, "the one seed that TestSimulation runs")
	simTrace = flag.Bool("sim.trace", false, "print every event of TestSimulation")
)

func TestMain(m *testing.M) {
	moduleactortest.Shim()
	goleak.VerifyTestMain(m)
}

// TestSimulation runs the whole tree, with module actors that are fakes, under random orders of events, and checks what
// must hold after each step. A seed that fails can be run again with -sim.seed.
func TestSimulation(t *testing.T) {
	seeds := make([]uint64, 0, *simSeeds)
	for n := range uint64(*simSeeds) { //nolint:gosec // it is not negative
		seeds = append(seeds, n)
	}
	if *simSeed >= 0 {
		seeds = []uint64{uint64(*simSeed)}
	}
	total := map[string]int{}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			d := newDriver(t, seed)
			defer func() {
				if *simTrace || (t.Failed() && len(seeds) == 1) {
					t.Log(strings.Join(d.sim.Trace(), "\n"))
				}
				if t.Failed() {
					t.Logf("run it again with: go test ./nodeactor -run TestSimulation -sim.seed %d", seed)
				}
			}()
			d.play()
			for k, n := range d.world.stats {
				total[k] += n
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d seeds: %v", len(seeds), total)
	if len(seeds) >= 100 {
		for _, k := range []string{"starts", "adoptions", "ended", "given up", "rejected", "out of cpu", "ended by the API", "addresses", "waits for an address", "node crashes", "module crashes", "pod crashes", "daemon restarts"} {
			if total[k] == 0 {
				t.Errorf("no seed had %s: the simulation has lost its point", k)
			}
		}
	}
}

// TestSimulationReplays runs some seeds twice: a failure that cannot be seen again is worth little.
func TestSimulationReplays(t *testing.T) {
	for seed := range uint64(10) {
		var traces [2][]string
		for i := range traces {
			t.Run(fmt.Sprintf("seed=%d,run=%d", seed, i), func(t *testing.T) {
				d := newDriver(t, seed)
				d.play()
				traces[i] = d.sim.Trace()
			})
		}
		for i := range min(len(traces[0]), len(traces[1])) {
			if traces[0][i] != traces[1][i] {
				t.Fatalf("seed %d: event %d was\n%s\nand became\n%s", seed, i, traces[0][i], traces[1][i])
			}
		}
	}
}

// driver is the source of a simulation's commands.
type driver struct {
	t      *testing.T
	sim    *actorstest.Simulation
	world  *world
	rng    *rand.Rand
	sup    actors.Supervision
	node   *actor.PID
	wanted map[string]*corev1.Pod
	serial int
	victim string // the Pod whose actor crashes all the time
}

func newDriver(t *testing.T, seed uint64) *driver {
	t.Helper()
	sup := actors.DefaultSupervision()
	sup.Node.MaxResumes = 1000
	var w *world
	sim := actorstest.NewSimulation(t, seed, actors.Options{Observer: func(e actors.Event) {
		if tr, ok := e.(actors.Transition); ok && tr.Kind == actors.KindPod && tr.To == podactor.StageTerminating.String() {
			w.ending[tr.Pod.UID] = w.sim.Now()
		}
	}})
	w = newWorld(sim, memoryDir(t))
	d := &driver{t: t, sim: sim, world: w, rng: sim.Rand(), sup: sup, wanted: map[string]*corev1.Pod{}}
	w.nodeCrashes = d.rng.IntN(3) == 0
	d.spawn()
	return d
}

// memoryDir is a directory in memory, where there is one: checkpoints are synced to disk each time.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "wazlet-sim-") //nolint:usetesting // t.TempDir is on disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (d *driver) spawn() {
	d.t.Helper()
	sys := d.sim.System()
	pods := &podactor.Config{RootDir: d.world.root, PodLogsDir: d.world.root + "/logs", NodeName: "node", Supervision: d.sup}
	node, err := nodeactor.Spawn(sys, nodeactor.Config{
		RootDir: d.world.root, NodeName: "node", MaxPods: 4, Network: d.network(), Supervision: d.sup,
		OnStatus: d.world.onStatus, OnEnded: d.world.onEnded, Admit: d.world.admit,
	}, nodeactor.Deps{
		Disk:  disk{d.world},
		Fatal: func(err error) { d.world.violated("fatal: %v", err) },
		Pod: func(start podactor.Start) (*actor.Props, *actors.Handle) {
			pod := start.Pod
			if pod == nil {
				pod = start.Checkpoint.Pod()
			}
			ref := actors.PodRef{UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name}
			return podactor.Props(sys, pods, podactor.Deps{
				Bundles: bundles{d.world},
				Module:  func(c string) (*actor.Props, *actors.Handle) { return d.world.moduleProps(ref, c) },
			}, start)
		},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.node = node
}

// network is one with room for all Pods, one without, or none at all, until the next one.
func (d *driver) network() nodeactor.Network {
	d.t.Helper()
	n := d.rng.IntN(10)
	if n == 0 {
		return nodeactor.Network{Problem: "not now"}
	}
	text := "10.0.0.0/29"
	if n < 4 {
		text = "10.1.0.0/30"
	}
	cidr, err := podcidr.Parse(text)
	if err != nil {
		d.t.Fatal(err)
	}
	return nodeactor.Network{CIDR: cidr}
}

func (d *driver) send(m nodeactor.Command) { d.sim.System().Root().Send(d.node, m) }

// play is one random life of a node.
func (d *driver) play() {
	d.t.Helper()
	for range 40 {
		d.act()
		if d.victim != "" && d.rng.IntN(2) == 0 {
			d.crash(d.victim)
		}
		pauses := []time.Duration{0, time.Second, 20 * time.Second, 2 * time.Minute}
		d.sim.Run(time.Duration(d.rng.Int64N(int64(pauses[d.rng.IntN(len(pauses))]) + 1)))
	}
	d.finish()
}

func (d *driver) act() {
	switch n := d.rng.IntN(100); {
	case n < 35:
		d.apply()
	case n < 50:
		d.remove()
	case n < 65:
		d.resync()
	case n < 80:
		d.crash(d.any())
	case n < 84:
		d.victim = d.any()
	case n < 88:
		d.send(nodeactor.Tune{Supervision: d.sup})
	case n < 94:
		d.restartDaemon()
	case n < 97:
		d.giveUp(d.any())
	default:
		d.send(nodeactor.Connect{Network: d.network()})
	}
}

// apply adds a Pod, changes one or replaces one.
func (d *driver) apply() {
	if uid := d.any(); uid != "" && d.rng.IntN(4) == 0 {
		d.want(d.wanted[uid])
		return
	}
	d.serial++
	uid := fmt.Sprintf("uid-%d", d.serial)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Namespace: "ns", Name: fmt.Sprintf("pod-%d", d.rng.IntN(6))},
		Spec: corev1.PodSpec{
			RestartPolicy: []corev1.RestartPolicy{
				corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever,
			}[d.rng.IntN(3)],
			Containers: []corev1.Container{{Name: "main", Image: "r/i:t", ImagePullPolicy: corev1.PullAlways}},
		},
	}
	if d.rng.IntN(3) == 0 {
		pod.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "r/i:t", ImagePullPolicy: corev1.PullAlways}}
	}
	if d.rng.IntN(3) == 0 {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "second", Image: "r/i:t", ImagePullPolicy: corev1.PullAlways})
	}
	pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewQuantity(d.rng.Int64N(4), resource.DecimalSI),
	}
	d.want(pod)
}

// giveUp is somebody who writes a terminal phase into the API. The Pod stays wanted.
func (d *driver) giveUp(uid string) {
	if uid == "" {
		return
	}
	d.world.stats["ended by the API"]++
	pod := d.wanted[uid].DeepCopy()
	pod.Status.Phase = corev1.PodFailed
	d.world.givenUp[uid] = true
	d.want(pod)
}

func (d *driver) want(pod *corev1.Pod) {
	uid := string(pod.UID)
	d.wanted[uid], d.world.pods[uid] = pod, pod
	delete(d.world.deleted, uid)
	d.send(nodeactor.Apply{Pod: pod.DeepCopy()})
}

func (d *driver) remove() {
	uid := d.any()
	if uid == "" {
		return
	}
	grace := time.Duration(d.rng.IntN(30)) * time.Second
	d.drop(uid)
	d.send(nodeactor.Remove{UID: uid, Grace: &grace})
}

// drop makes a Pod unwanted. Often enough it will be wanted again under the same UID.
func (d *driver) drop(uid string) {
	delete(d.wanted, uid)
	d.world.deleted[uid] = d.sim.Now()
}

func (d *driver) resync() {
	if uid := d.any(); uid != "" && d.rng.IntN(2) == 0 {
		d.drop(uid)
	}
	if d.rng.IntN(4) == 0 { // one that was removed is back
		for _, uid := range slices.Sorted(maps.Keys(d.world.deleted)) {
			d.wanted[uid] = d.world.pods[uid]
			delete(d.world.deleted, uid)
			break
		}
	}
	d.sendResync()
}

func (d *driver) sendResync() {
	var list []*corev1.Pod
	for _, uid := range slices.Sorted(maps.Keys(d.wanted)) {
		list = append(list, d.wanted[uid].DeepCopy())
	}
	for uid := range d.world.pods {
		if _, ok := d.wanted[uid]; !ok {
			if _, ok := d.world.deleted[uid]; !ok {
				d.world.deleted[uid] = d.sim.Now()
			}
		}
	}
	d.send(nodeactor.Resync{Pods: list})
}

func (d *driver) any() string {
	if len(d.wanted) == 0 {
		return ""
	}
	return slices.Sorted(maps.Keys(d.wanted))[d.rng.IntN(len(d.wanted))]
}

// crash has a bug in a pod actor.
func (d *driver) crash(uid string) {
	if h := d.sim.System().Registry().Lookup(nodeactor.Name + "/" + uid); h != nil {
		d.world.stats["pod crashes"]++
		d.world.disturb(uid)
		d.sim.System().Root().Send(h.PID(), actors.Crash{Value: "injected"})
	}
}

// restartDaemon stops all actors, at whatever point they are, and starts the next daemon. Commands that were under way
// are lost, as they are when a process ends.
func (d *driver) restartDaemon() {
	d.world.stats["daemon restarts"]++
	if err := d.sim.System().StopTree(context.Background(), d.node); err != nil {
		d.t.Fatal(err)
	}
	for uid := range d.world.deleted {
		delete(d.world.phases, uid) // what it came to by its deletion need not have reached the disk
	}
	clear(d.world.deleted)
	clear(d.world.ending)
	d.world.disturb("")
	d.spawn()
	d.sim.Run(time.Duration(d.rng.IntN(3)) * time.Second)
	d.sendResync()
}

// finish drains the node: nothing may be left.
func (d *driver) finish() {
	d.t.Helper()
	d.world.nodeCrashes = false
	d.sendResync()
	d.sim.Run(10 * time.Minute)
	for uid := range d.world.givenUp {
		if alive := d.world.alive(uid); len(alive) > 0 {
			d.t.Errorf("the API says that pod %s has failed, and %v are alive", uid, alive)
		}
	}
	done := make(chan struct{})
	for uid := range d.world.pods {
		if _, ok := d.world.deleted[uid]; !ok {
			d.world.deleted[uid] = d.sim.Now()
		}
	}
	d.send(nodeactor.Drain{Done: done})
	drained := d.sim.RunUntil(10*time.Minute, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	if !drained {
		d.t.Errorf("not drained; left: %v", d.left())
		return
	}
	d.sim.Settle()
	if left := d.left(); len(left) > 0 {
		d.t.Errorf("left after a drain: %v", left)
	}
	if err := d.sim.System().StopTree(context.Background(), d.node); err != nil {
		d.t.Error(err)
	}
	if diff := cmp.Diff(actors.Counters{}, d.sim.System().Counters()); diff != "" {
		d.t.Errorf("counters that must be zero (-want +got):\n%s", diff)
	}
}

// left is everything that should not be there once the node is drained.
func (d *driver) left() []string {
	out := d.world.alive("")
	for _, i := range d.sim.System().Registry().Snapshot() {
		if i.ID != nodeactor.Name {
			out = append(out, fmt.Sprintf("actor %s (%s)", i.ID, i.State))
		}
	}
	pods, err := bundle.Pods(d.world.root)
	if err != nil {
		out = append(out, err.Error())
	}
	for _, uid := range pods {
		out = append(out, "directory "+uid)
	}
	return out
}
