package nodeactor

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// machine is everything that the node actor knows. Only step changes it, and at the very end, so that a panic leaves it
// as it was.
type machine struct {
	node
	pods  map[string]*pod       // never changed in place
	held  map[netip.Addr]string // the addresses of Pods, and whose they are
	names map[podName]int       // how many Pods have a name
}

// podName is what only one Pod at a time may run under.
type podName struct{ namespace, name string }

func nameOfPod(p *corev1.Pod) podName { return podName{p.Namespace, p.Name} }

// node is what there is besides the Pods.
type node struct {
	state   state
	maxPods int
	admits  func(pod *corev1.Pod, others []*corev1.Pod) *podactor.Rejection // nil: everything
	sup     actors.Supervision
	tuned   bool // sup is not what the daemon began with, so new pod actors must be told
	early   []event
	orphans []string // UIDs of directories that no checkpoint explains; nil after the first Resync
	drains  []chan<- struct{}
	network Network
	lastIP  netip.Addr // the address that was given last
	seq     uint64     // source of orders and generations
	Tally
}

// pod is one Pod as its node sees it.
type pod struct {
	uid   string
	stage stage
	order uint64 // of arrival

	// wanted is the Pod as it was last applied; nil for an orphan. Next is to be started when this one is gone.
	wanted, next *corev1.Pod
	status       corev1.PodStatus
	start        podactor.Start // what its actor begins with

	// ip is the address that nobody else may have; none after the Pod has ended.
	ip netip.Addr

	here bool // an earlier daemon ran it, so there is room for it

	unwanted bool // neither the API nor a manifest has it any more

	ending bool // Terminate was sent, with grace and why
	grace  time.Duration
	why    podactor.Rejection

	gen     uint64 // of what is waited for: a timer, or the disk
	dueAt   time.Time
	absent  bool // crashed so badly that there is no actor to restart
	crashes []time.Time
	history actors.History
	text    string // of the last crash
}

func newMachine(
	maxPods int, admits func(*corev1.Pod, []*corev1.Pod) *podactor.Rejection, network Network, sup actors.Supervision,
) machine {
	return machine{
		node: node{state: stateStarting, maxPods: maxPods, admits: admits, network: network, sup: sup},
		pods: map[string]*pod{}, held: map[netip.Addr]string{}, names: map[podName]int{},
	}
}

// turn is one step: what becomes of the node, the Pods that change, and what is to be done.
type turn struct {
	node
	before map[string]*pod
	after  map[string]*pod       // nil: forgotten
	held   map[netip.Addr]string // before; holder knows better
	given  map[netip.Addr]string
	names  map[podName]int // before
	added  map[podName]int // in this turn, whatever became of them
	room   []*corev1.Pod   // what active found; nil once a Pod may have changed
	now    time.Time
	out    []effect
}

// step is the machine's transition function. It knows no clock and does nothing itself.
func (m *machine) step(ev event, now time.Time) []effect {
	t := &turn{
		node: m.node, before: m.pods, after: map[string]*pod{}, held: m.held, given: map[netip.Addr]string{},
		names: m.names, added: map[podName]int{}, now: now,
	}
	t.on(ev)
	m.node = t.node
	m.hold(t.after)
	for uid, p := range t.after {
		if p == nil {
			delete(m.pods, uid)
			continue
		}
		m.pods[uid] = p
	}
	return t.out
}

// hold brings the addresses and names up to date, before the Pods are.
func (m *machine) hold(after map[string]*pod) {
	for uid := range after {
		if p := m.pods[uid]; p != nil {
			delete(m.held, p.ip)
			m.count(p, -1)
		}
	}
	for uid, p := range after {
		if p == nil {
			continue
		}
		m.count(p, 1)
		if p.ip.IsValid() {
			m.held[p.ip] = uid
		}
	}
}

func (m *machine) count(p *pod, by int) {
	if p.wanted == nil {
		return
	}
	name := nameOfPod(p.wanted)
	if m.names[name] += by; m.names[name] == 0 {
		delete(m.names, name)
	}
}

func (t *turn) on(ev event) {
	if t.state == stateStarting && waitsForRecovery(ev) {
		t.early = append(slices.Clip(t.early), ev)
		return
	}
	switch ev := ev.(type) {
	case Apply:
		t.onApply(ev)
	case Remove:
		t.onRemove(ev)
	case Resync:
		t.onResync(ev)
	case Connect:
		t.onConnect(ev)
	case Tune:
		t.onTune(ev)
	case Drain:
		t.onDrain(ev)
	case Refresh:
		t.onRefresh(ev)
	case recovered:
		t.onRecovered(ev)
	case changed:
		t.onChanged(ev)
	case ended:
		t.onEnded(ev)
	case failed:
		t.onFailed(ev)
	case gone:
		t.onGone(ev)
	case due:
		t.onDue(ev)
	case cleared:
		t.onCleared(ev)
	case resumed:
		t.onResumed(ev)
	}
}

func waitsForRecovery(ev event) bool {
	switch ev.(type) {
	case Apply, Remove, Resync, Drain:
		return true
	case Connect, Tune, Refresh, recovered, changed, ended, failed, gone, due, cleared, resumed:
	}
	return false
}

// find returns the turn's own copy of a Pod, nil when it is not known.
func (t *turn) find(uid string) *pod {
	if p, seen := t.after[uid]; seen {
		t.room = nil
		return p
	}
	known, ok := t.before[uid]
	if !ok {
		return nil
	}
	t.room = nil
	p := *known
	p.crashes = slices.Clone(p.crashes)
	t.after[uid] = &p
	return &p
}

// known goes over every Pod in no order. They are to be read only; find gives one that may be changed.
func (t *turn) known() iter.Seq[*pod] {
	return func(yield func(*pod) bool) {
		for uid, p := range t.before {
			if _, changed := t.after[uid]; !changed && !yield(p) {
				return
			}
		}
		for _, p := range t.after {
			if p != nil && !yield(p) {
				return
			}
		}
	}
}

// all is known in the order of arrival.
func (t *turn) all() []*pod { return t.inOrder(func(*pod) bool { return true }) }

// inOrder is those of known that are wanted, in the order of arrival.
func (t *turn) inOrder(want func(p *pod) bool) []*pod {
	var out []*pod
	for p := range t.known() {
		if want(p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *pod) int { return cmp.Compare(a.order, b.order) })
	return out
}

// empty tells whether there is no Pod.
func (t *turn) empty() bool {
	for range t.known() {
		return false
	}
	return true
}

// each calls f with every Pod, ready to be changed, in the order of arrival.
func (t *turn) each(f func(p *pod)) {
	for _, p := range t.all() {
		f(t.find(p.uid))
	}
}

func (t *turn) add(uid string, wanted *corev1.Pod) *pod {
	t.seq++
	p := &pod{uid: uid, order: t.seq, wanted: wanted}
	if wanted != nil {
		t.added[nameOfPod(wanted)]++
	}
	t.after[uid] = p
	return p
}

func (t *turn) forget(p *pod) {
	t.after[p.uid], t.room = nil, nil
	if p.wanted != nil {
		t.do(forgotten{p.wanted})
	}
	if p.next != nil && t.state != stateDraining {
		t.again(p.next)
		t.admit(t.add(p.uid, p.next))
	}
	t.connectWaiting()
	t.admitWaiting()
	t.concludeDrain()
}

func (t *turn) do(e effect) { t.out = append(t.out, e) }

func (t *turn) become(next state, why string) {
	mustReach(edges(t.state), t.state, next)
	t.do(moved{from: t.state, to: next, why: why})
	t.state = next
}

func (t *turn) move(p *pod, next stage) {
	mustReach(podEdges(p.stage), p.stage, next)
	p.stage = next
}

// await makes a new generation, so that nothing that was waited for before counts.
func (t *turn) await(p *pod) uint64 {
	t.seq++
	p.gen = t.seq
	return p.gen
}

func (t *turn) onChanged(ev changed) {
	p := t.find(ev.uid)
	if p == nil || p.stage == stageFailing || p.stage == stageFailed || p.stage == stageClearing {
		return
	}
	p.status = ev.status
	t.do(publish{p.wanted, ev.status})
	if isOver(ev.status) {
		t.release(p)
	}
}

func (t *turn) onTune(ev Tune) {
	t.sup, t.tuned = ev.Supervision, true
	for _, p := range t.all() {
		if p.stage == stageLive {
			t.do(tell{p.uid, podactor.Tune(ev)})
		}
	}
}

// onRefresh passes on what may matter to a Pod. A Pod without an actor reads everything anew when it has one.
func (t *turn) onRefresh(ev Refresh) {
	for _, p := range t.all() {
		if p.stage == stageLive && p.wanted != nil && p.wanted.Namespace == ev.Namespace {
			t.do(tell{p.uid, podactor.Refresh(ev)})
		}
	}
}

// onRecovered takes over the Pods of an earlier daemon, and then the commands that came too early.
func (t *turn) onRecovered(ev recovered) {
	if t.state != stateStarting {
		return
	}
	for _, err := range ev.left.Errs {
		t.do(observe{actors.Notice{Time: t.now, Warning: true, Reason: actors.ReasonFailed, Message: err.Error()}})
	}
	t.orphans = slices.Clone(ev.left.Orphans)
	for i := range ev.left.Checkpoints {
		t.recover(&ev.left.Checkpoints[i])
	}
	t.reconnect()
	for _, p := range t.all() {
		t.spawn(p)
	}
	t.become(stateSyncing, "recovered")
	early := t.early
	t.early = nil
	for _, e := range early {
		t.on(e)
	}
}

func (t *turn) recover(c *podactor.Checkpoint) {
	wanted := c.Pod()
	p := t.add(string(wanted.UID), wanted)
	if o := c.State.Outcome; o != nil {
		p.status = corev1.PodStatus{Phase: o.Phase, Reason: string(o.Reason), Message: o.Message}
	}
	if d := c.State.Deletion; d != nil {
		p.ending, p.grace, p.why = true, d.Grace, podactor.Rejection{Reason: d.Reason, Message: d.Message}
	}
	p.start.Checkpoint = c
	t.move(p, stageLive)
}

func (t *turn) spawn(p *pod) {
	t.do(spawn{uid: p.uid, start: p.start})
	if t.tuned {
		t.do(tell{p.uid, podactor.Tune{Supervision: t.sup}})
	}
}

// uids returns the UIDs of a list of Pods.
func uids(list []*corev1.Pod) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, p := range list {
		set[string(p.UID)] = true
	}
	return set
}
