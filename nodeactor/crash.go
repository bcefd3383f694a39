package nodeactor

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// clearRetry is how long to wait before what could not be ended or removed is tried again.
const clearRetry = 10 * time.Second

// onEnded lets the actor of a Pod go that has nothing left.
func (t *turn) onEnded(ev ended) {
	p := t.find(ev.uid)
	if p == nil || p.stage != stageLive {
		return
	}
	t.move(p, stageLeaving)
	t.do(stop{p.uid})
}

// onGone goes on when a pod actor has stopped.
func (t *turn) onGone(ev gone) {
	p := t.find(ev.uid)
	if p == nil {
		return
	}
	switch p.stage {
	case stageLeaving:
		t.forget(p)
	case stageFailing:
		t.clear(p)
	case stageLive: // nobody asked it to
		t.onFailed(failed{uid: ev.uid, text: "pod actor stopped", absent: true})
	case stageBackOff:
		p.absent = true
	case stageWaiting, stageFailed, stageClearing:
	}
}

// onFailed answers a crash of a pod actor, which is a bug of ours: the Pod's containers run on, and a new instance adopts
// them after a back-off. A Pod that keeps crashing its actor is given up.
func (t *turn) onFailed(ev failed) {
	p := t.find(ev.uid)
	if p == nil || p.stage != stageLive {
		if p == nil || p.stage == stageLeaving || p.stage == stageFailing {
			t.do(stop{ev.uid})
		}
		return
	}
	sup := t.sup.For(p.wanted.Namespace, p.wanted.Labels).Pod
	p.text, p.absent = ev.text, ev.absent
	p.crashes = recent(append(p.crashes, t.now), t.now.Add(-sup.Window.Duration))
	if len(p.crashes) > sup.MaxCrashes {
		t.giveUp(p, sup)
		return
	}
	if len(p.crashes) == 1 {
		p.history = actors.History{}
	}
	t.move(p, stageBackOff)
	v := actors.Decide(actors.Permanent, sup.Backoff.Backoff(), actors.Exit{NotStarted: true}, p.history, t.now)
	if p.ending { // the delay is there to spare the node, not to keep a Pod that must go
		v.Delay = 0
	}
	p.history, p.dueAt = v.History, t.now.Add(v.Delay)
	t.decided(p, actors.DirectiveRestart, v.Delay)
	t.do(wake{due: due{uid: p.uid, gen: t.await(p)}, after: v.Delay, restart: true})
}

// recent returns the times that are not before since.
func recent(times []time.Time, since time.Time) []time.Time {
	return slices.DeleteFunc(times, func(at time.Time) bool { return at.Before(since) })
}

func (t *turn) decided(p *pod, d actors.Directive, delay time.Duration) {
	t.do(observe{actors.Decision{
		Time: t.now, Child: p.uid, Pod: refOf(p.wanted), Reason: actors.ReasonCrash,
		Directive: d, Delay: delay, Restarts: len(p.crashes),
	}})
}

// giveUp stops the actor for good. The guests, which it can no longer be trusted with, are ended from here.
func (t *turn) giveUp(p *pod, sup actors.PodSupervision) {
	t.decided(p, actors.DirectiveStop, 0)
	t.move(p, stageFailing)
	if sup.OnExceeded == actors.ExitNode {
		t.do(fatal{fmt.Errorf("actor of pod %s/%s (%s): %s", p.wanted.Namespace, p.wanted.Name, p.uid, crashText(p, sup))})
		return // the guests live on: a new daemon tries again
	}
	p.text = crashText(p, sup)
	if p.absent {
		t.clear(p)
		return
	}
	t.do(stop{p.uid})
}

func crashText(p *pod, sup actors.PodSupervision) string {
	return fmt.Sprintf("crashed %d times within %s: %s", len(p.crashes), sup.Window.Duration, p.text)
}

// onDue ends a wait.
func (t *turn) onDue(ev due) {
	p := t.find(ev.uid)
	if p == nil || p.gen != ev.gen {
		return
	}
	switch p.stage {
	case stageBackOff:
		t.revive(p)
	case stageFailing, stageClearing:
		t.clear(p)
	case stageWaiting, stageLive, stageLeaving, stageFailed:
	}
}

// revive restarts a crashed pod actor and brings it up to date: what it was told before may be lost.
func (t *turn) revive(p *pod) {
	t.await(p)
	t.move(p, stageLive)
	if p.absent {
		p.absent = false
		t.do(spawn{uid: p.uid, start: p.start})
	} else {
		t.do(restart{p.uid})
	}
	t.brief(p)
}

// brief tells a pod actor everything it should know.
func (t *turn) brief(p *pod) {
	if t.tuned {
		t.do(tell{p.uid, podactor.Tune{Supervision: t.sup}})
	}
	if p.start.Network != (podactor.Network{}) {
		t.do(tell{p.uid, podactor.Connect{Network: p.start.Network}})
	}
	t.do(tell{p.uid, podactor.Apply{Pod: p.wanted}})
	if p.ending {
		t.do(tell{p.uid, p.terminate()})
	}
}

// clear has the guests ended of a Pod without actor, and its files removed unless it stays as a failed one.
func (t *turn) clear(p *pod) {
	e := sweep{uid: p.uid, gen: t.await(p)}
	if p.stage == stageFailing {
		o := p.verdict()
		e.verdict = &o
	}
	t.do(e)
}

// verdict is how a given-up Pod ends. One that had come to its end before keeps it.
func (p *pod) verdict() podactor.Outcome {
	if s := &p.status; s.Phase == corev1.PodSucceeded || s.Phase == corev1.PodFailed {
		return podactor.Outcome{Phase: s.Phase, Reason: actors.Reason(s.Reason), Message: s.Message}
	}
	return podactor.Outcome{Phase: corev1.PodFailed, Reason: actors.ReasonAgentError, Message: "Pod actor " + p.text}
}

func (t *turn) onCleared(ev cleared) {
	p := t.find(ev.uid)
	if p == nil || p.gen != ev.gen {
		return
	}
	if ev.err != nil {
		t.do(observe{actors.Notice{
			Time: t.now, Pod: actors.PodRef{UID: p.uid, Namespace: refOf(p.wanted).Namespace, Name: refOf(p.wanted).Name},
			Warning: true, Reason: actors.ReasonFailed, Message: ev.err.Error(),
		}})
		t.do(wake{due: due{uid: p.uid, gen: t.await(p)}, after: clearRetry})
		return
	}
	switch p.stage {
	case stageFailing:
		t.fail(p)
	case stageClearing:
		t.forget(p)
	case stageWaiting, stageLive, stageBackOff, stageLeaving, stageFailed:
	}
}

// fail makes a given-up Pod a failed one, or removes it if that was asked for meanwhile.
func (t *turn) fail(p *pod) {
	p.status = failedStatus(p.status, p.verdict(), t.now)
	t.do(publish{p.wanted, p.status})
	t.do(observe{actors.Notice{
		Time: t.now, Pod: refOf(p.wanted), Warning: true, Reason: actors.ReasonAgentError, Message: "Pod actor " + p.text,
	}})
	t.release(p)
	if p.ending {
		t.move(p, stageClearing)
		t.clear(p)
		return
	}
	t.move(p, stageFailed)
}

// onResumed takes everything in hand again after a crash of the node actor, whose last message was lost.
func (t *turn) onResumed(ev resumed) {
	switch t.state {
	case stateStarting:
		t.do(load{})
		return
	case stateStopped:
		t.announceDrained()
		return
	case stateSyncing, stateRunning, stateDraining:
	}
	t.each(func(p *pod) {
		present := ev.present[p.uid]
		switch p.stage {
		case stageLive:
			t.resumeLive(p, present)
		case stageBackOff:
			t.do(wake{due: due{uid: p.uid, gen: t.await(p)}, after: max(0, p.dueAt.Sub(t.now)), restart: true})
		case stageLeaving:
			if !present {
				t.forget(p)
				return
			}
			t.do(stop{p.uid})
		case stageFailing:
			if !present {
				t.clear(p)
				return
			}
			t.do(stop{p.uid})
		case stageClearing:
			t.clear(p)
		case stageWaiting, stageFailed:
		}
	})
	t.admitWaiting()
	t.concludeDrain()
}

func (t *turn) resumeLive(p *pod, present bool) {
	if !present {
		t.do(spawn{uid: p.uid, start: p.start})
	}
	t.brief(p)
}
