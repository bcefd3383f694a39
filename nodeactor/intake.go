package nodeactor

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// defaultGrace is terminationGracePeriodSeconds where a Pod does not say; an API server would have filled it in.
const defaultGrace = 30 * time.Second

func (t *turn) onApply(ev Apply) {
	uid := string(ev.Pod.UID)
	switch p := t.find(uid); {
	case t.state == stateDraining || t.state == stateStopped:
		t.do(observe{actors.Notice{
			Time: t.now, Pod: refOf(ev.Pod), Warning: true, Reason: actors.ReasonNodeShutdown,
			Message: "Pod was not taken: the node is being drained",
		}})
	case p == nil && over(ev.Pod) && !slices.Contains(t.orphans, uid):
		// It ended before this node's state begins. Whoever deletes it waits for the node to say that nothing is left.
		if ev.Pod.DeletionTimestamp != nil {
			t.do(forgotten{ev.Pod})
		}
		return
	case p == nil:
		p = t.add(uid, ev.Pod)
		p.here = t.claimOrphan(uid)
		t.admit(p)
	default:
		t.update(p, ev.Pod)
	}
	if ev.Pod.DeletionTimestamp != nil {
		t.onRemove(Remove{UID: uid, Grace: deletionGrace(ev.Pod)})
	}
}

// over tells whether the API knows a Pod as ended. Such a Pod never runs again, also on a node that has lost its state.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// update takes over a newer version of a known Pod.
func (t *turn) update(p *pod, wanted *corev1.Pod) {
	switch {
	case p.ending || p.stage == stageLeaving || p.stage == stageClearing:
		if wanted.DeletionTimestamp == nil {
			p.next = wanted // it was removed and is wanted again: once more, from the beginning
		}
	case p.stage == stageLive:
		p.wanted = wanted
		t.do(tell{p.uid, podactor.Apply{Pod: wanted.DeepCopy()}})
	default: // its actor will be told when it has one that listens
		p.wanted = wanted
	}
}

// admit decides what becomes of a Pod that has no actor yet.
func (t *turn) admit(p *pod) {
	if t.nameTaken(p) {
		t.move(p, stageWaiting)
		p.status = corev1.PodStatus{Phase: corev1.PodPending}
		t.do(publish{p.wanted, p.status})
		return
	}
	t.move(p, stageLive)
	p.start = podactor.Start{Pod: p.wanted.DeepCopy()}
	if used := t.active(p); t.maxPods > 0 && used >= t.maxPods && !p.here {
		p.start.Reject = &podactor.Rejection{Reason: actors.ReasonOutOfPods, Message: fmt.Sprintf(
			"Node didn't have enough resource: pods, requested: 1, used: %d, capacity: %d", used, t.maxPods)}
	}
	t.spawn(p)
}

// nameTaken tells whether a Pod with the same namespace and name and another UID is not gone yet: a static Pod that was
// changed is another Pod, which must not run beside the one it replaces. Of several that wait, the first one goes first.
func (t *turn) nameTaken(p *pod) bool {
	for o := range t.known() {
		if o.uid != p.uid && o.wanted != nil && (o.stage != stageWaiting || o.order < p.order) && sameName(o.wanted, p.wanted) {
			return true
		}
	}
	return false
}

func sameName(a, b *corev1.Pod) bool { return a.Namespace == b.Namespace && a.Name == b.Name }

// active counts the Pods other than p that may have a container running, now or later.
func (t *turn) active(p *pod) int {
	n := 0
	for o := range t.known() {
		switch {
		case o.uid == p.uid, o.start.Reject != nil:
		case o.stage == stageWaiting, o.stage == stageLeaving, o.stage == stageFailed, o.stage == stageClearing:
		case o.status.Phase == corev1.PodSucceeded, o.status.Phase == corev1.PodFailed:
		default:
			n++
		}
	}
	return n
}

// admitWaiting starts what waited for a name that is free now.
func (t *turn) admitWaiting() {
	if t.state == stateDraining {
		return
	}
	for _, o := range t.all() {
		if o.stage == stageWaiting && !t.nameTaken(o) {
			t.admit(t.find(o.uid))
		}
	}
}

func (t *turn) onRemove(ev Remove) {
	p := t.find(ev.UID)
	if p == nil {
		t.clearOrphan(ev.UID)
		return
	}
	p.next = nil
	switch p.stage {
	case stageWaiting:
		t.forget(p)
	case stageFailed:
		t.move(p, stageClearing)
		t.clear(p)
	case stageLive, stageBackOff, stageFailing:
		t.terminate(p, ev.Grace)
	case stageLeaving, stageClearing:
	}
}

// terminate asks the Pod to end. Asked again it can only become sooner.
func (t *turn) terminate(p *pod, grace *time.Duration) {
	g := podGrace(p.wanted)
	if grace != nil {
		g = *grace
	}
	first := !p.ending
	if p.ending {
		g = min(g, p.grace)
	}
	p.ending, p.grace = true, g
	switch {
	case p.stage == stageLive:
		t.do(tell{p.uid, podactor.Terminate{Grace: g}})
	case p.stage == stageBackOff && first: // see onFailed
		t.revive(p)
	}
}

// onResync makes the node's Pods those of the list.
func (t *turn) onResync(ev Resync) {
	if t.state == stateDraining || t.state == stateStopped {
		return
	}
	if t.state == stateSyncing {
		t.become(stateRunning, "first complete list")
	}
	wanted := uids(ev.Pods)
	for _, p := range t.all() {
		if !wanted[p.uid] && !p.ending {
			t.onRemove(Remove{UID: p.uid})
		} else if !wanted[p.uid] {
			t.find(p.uid).next = nil
		}
	}
	for _, uid := range t.orphans {
		if !wanted[uid] {
			t.clearOrphan(uid)
		}
	}
	list := slices.Clone(ev.Pods)
	slices.SortStableFunc(list, func(a, b *corev1.Pod) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	for _, p := range list {
		t.onApply(Apply{Pod: p})
	}
	t.orphans = nil
}

// clearOrphan ends and removes what nobody explains. It is a Pod until then, so that one with its UID can wait for it.
func (t *turn) clearOrphan(uid string) {
	if !t.claimOrphan(uid) {
		return
	}
	p := t.add(uid, nil)
	t.move(p, stageClearing)
	t.clear(p)
}

// claimOrphan tells whether the UID is an orphan's, which it is no more.
func (t *turn) claimOrphan(uid string) bool {
	n := len(t.orphans)
	t.orphans = slices.DeleteFunc(slices.Clone(t.orphans), func(o string) bool { return o == uid })
	return len(t.orphans) < n
}

// onDrain ends all Pods and refuses new ones.
func (t *turn) onDrain(ev Drain) {
	if !slices.Contains(t.drains, ev.Done) {
		t.drains = append(slices.Clip(t.drains), ev.Done)
	}
	if t.state == stateStopped {
		t.announceDrained()
		return
	}
	if t.state != stateDraining {
		t.become(stateDraining, "drain")
		t.each(func(p *pod) { t.onRemove(Remove{UID: p.uid}) })
		for _, uid := range t.orphans {
			t.clearOrphan(uid)
		}
	}
	t.concludeDrain()
}

// concludeDrain ends a drain when no Pod is left.
func (t *turn) concludeDrain() {
	if t.state == stateDraining && len(t.all()) == 0 {
		t.become(stateStopped, "no pod is left")
		t.announceDrained()
	}
}

func (t *turn) announceDrained() {
	for _, done := range t.drains {
		t.do(drained{done})
	}
}

func podGrace(p *corev1.Pod) time.Duration {
	if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(max(0, *s)) * time.Second
	}
	return defaultGrace
}

// deletionGrace is what an API server grants; nil when it does not say.
func deletionGrace(p *corev1.Pod) *time.Duration {
	if p.DeletionGracePeriodSeconds == nil {
		return nil
	}
	d := time.Duration(max(0, *p.DeletionGracePeriodSeconds)) * time.Second
	return &d
}

func refOf(p *corev1.Pod) actors.PodRef {
	if p == nil {
		return actors.PodRef{}
	}
	return actors.PodRef{UID: string(p.UID), Namespace: p.Namespace, Name: p.Name}
}
