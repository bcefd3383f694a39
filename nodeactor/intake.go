package nodeactor

import (
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
	case p == nil && over(ev.Pod) && !slices.Contains(t.orphans, uid):
		// It ended before this node's state begins. Whoever deletes it waits for the node to say that nothing is left.
		if ev.Pod.DeletionTimestamp != nil {
			t.do(forgotten{ev.Pod})
		}
		return
	case t.state == stateDraining || t.state == stateStopped:
		if p == nil {
			t.refuse(ev.Pod)
			return
		}
	case p == nil:
		p = t.add(uid, ev.Pod)
		p.here = t.claimOrphan(uid)
		t.admit(p)
	default:
		t.update(p, ev.Pod)
	}
	if ev.Pod.DeletionTimestamp != nil {
		t.end(uid, deletionGrace(ev.Pod))
	}
}

// over tells whether the API knows a Pod as ended. Such a Pod never runs again, also on a node that has lost its state.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// update takes over a newer version of a known Pod.
func (t *turn) update(p *pod, wanted *corev1.Pod) {
	t.added[nameOfPod(wanted)]++ // should it have another name
	p.unwanted = false
	switch {
	case p.stage == stageWaiting && over(wanted): // somebody has given it up before its turn came
		p.wanted = wanted
		t.forget(p)
	case p.ending || p.stage == stageLeaving || p.stage == stageClearing:
		switch {
		case wanted.DeletionTimestamp == nil && !over(wanted):
			p.next = wanted // it was removed and is wanted again: once more, from the beginning
		case p.stage == stageLive && wanted.Generation > p.wanted.Generation: // which its status tells
			p.wanted = wanted
			t.do(tell{p.uid, podactor.Apply{Pod: wanted}})
		}
	case p.stage == stageLive:
		p.wanted = wanted
		t.do(tell{p.uid, podactor.Apply{Pod: wanted}})
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
	p.start = podactor.Start{Pod: p.wanted}
	if !p.here && p.wanted.DeletionTimestamp == nil {
		p.start.Reject = t.rejection(p)
	}
	if p.start.Reject == nil {
		t.seat(p)
		t.connect(p)
	}
	t.spawn(p)
}

// nameTaken tells whether a Pod with the same namespace and name and another UID is not gone yet: a static Pod that was
// changed is another Pod, which must not run beside the one it replaces. Of several that wait, the first one goes first.
func (t *turn) nameTaken(p *pod) bool {
	if name := nameOfPod(p.wanted); t.names[name]+t.added[name] <= 1 { // it alone
		return false
	}
	for o := range t.known() {
		if o.uid != p.uid && o.wanted != nil && (o.stage != stageWaiting || o.order < p.order) && sameName(o.wanted, p.wanted) {
			return true
		}
	}
	return false
}

func sameName(a, b *corev1.Pod) bool { return a.Namespace == b.Namespace && a.Name == b.Name }

// admitWaiting starts what waited for a name that is free now.
func (t *turn) admitWaiting() {
	if t.state == stateDraining {
		return
	}
	for _, o := range t.inOrder(func(o *pod) bool { return o.stage == stageWaiting }) {
		if !t.nameTaken(o) {
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
	p.unwanted = true
	t.end(ev.UID, ev.Grace)
}

// end ends a Pod, if there is one, for good.
func (t *turn) end(uid string, grace *time.Duration) {
	if p := t.find(uid); p != nil {
		p.next = nil
		t.leave(p, grace, podactor.Rejection{})
	}
}

// leave ends a Pod and forgets it; why is for its status, if it is not an ordinary deletion.
func (t *turn) leave(p *pod, grace *time.Duration, why podactor.Rejection) {
	switch p.stage {
	case stageWaiting:
		t.forget(p)
	case stageFailed:
		t.move(p, stageClearing)
		t.clear(p)
	case stageLive, stageBackOff, stageFailing:
		t.terminate(p, grace, why)
	case stageLeaving, stageClearing:
	}
}

// terminate asks the Pod to end. Asked again it can only become sooner.
func (t *turn) terminate(p *pod, grace *time.Duration, why podactor.Rejection) {
	g := podGrace(p.wanted)
	if grace != nil {
		g = *grace
	}
	first := !p.ending
	if p.ending {
		g, why = min(g, p.grace), p.why
	}
	p.ending, p.grace, p.why = true, g, why
	switch {
	case p.stage == stageLive:
		t.do(tell{p.uid, p.terminate()})
	case p.stage == stageBackOff && first: // see onFailed
		t.revive(p)
	}
}

// terminate is what the Pod's actor is told, or was.
func (p *pod) terminate() podactor.Terminate {
	return podactor.Terminate{Grace: p.grace, Reason: p.why.Reason, Message: p.why.Message}
}

// onResync makes the node's Pods those of the list.
func (t *turn) onResync(ev Resync) {
	if t.state == stateDraining || t.state == stateStopped {
		for _, p := range ev.Pods {
			t.onApply(Apply{Pod: p})
		}
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
	t.Orphans++
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
