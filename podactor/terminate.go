package podactor

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

const (
	// minGrace is the shortest grace of a deletion that has one, minSignalGrace what a container is left when the ones
	// that had to end before it have used up the Pod's: both as in the kubelet.
	minGrace       = time.Second
	minSignalGrace = 2 * time.Second
	// defaultGrace is terminationGracePeriodSeconds where the Pod has none.
	defaultGrace = 30 * time.Second
	// graceSlack is how long after the grace the Pod's guests may take to be gone before it is an incident.
	graceSlack = 10 * time.Second
)

// onTerminated wants the Pod gone. Repeated, it can only shorten the grace.
func (m *machine) onTerminated(e terminated) {
	grace := e.Grace
	if grace > 0 {
		grace = max(grace, minGrace)
	}
	grace = max(grace, 0)
	if m.Stage == StageEnded {
		m.emit(end{})
		return
	}
	if m.Deletion == nil {
		m.Deletion = &Deletion{Grace: grace, Reason: e.Reason, Message: e.Message}
	} else if grace < m.Deletion.Grace {
		m.Deletion = &Deletion{Grace: grace, Reason: m.Deletion.Reason, Message: m.Deletion.Message}
	}
	m.setKillBy(grace)
}

// setKillBy gives all containers until the end of grace, unless they have less already.
func (m *machine) setKillBy(grace time.Duration) {
	by := m.now.Add(grace)
	if !m.KillBy.IsZero() && !by.Before(m.KillBy) {
		return
	}
	m.KillBy, m.Force = by, grace == 0
	m.GraceGen = m.arm(graceExpired, grace+graceSlack)
}

// podGrace is what the Pod itself asks for when it ends by its own doing.
func (m *machine) podGrace() time.Duration {
	if s := m.Pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return max(time.Duration(*s)*time.Second, minGrace)
	}
	return defaultGrace
}

// grace is what is left of the time until by.
func (m *machine) grace(by time.Time) time.Duration {
	if m.Force {
		return 0
	}
	return max(by.Sub(m.now), minSignalGrace)
}

// terminate enters Terminating. Nothing is started after this.
func (m *machine) terminate() {
	m.DeadlineGen, m.PrepareGen, m.RestartingAll = 0, 0, false
	if m.KillBy.IsZero() {
		m.setKillBy(m.podGrace())
	}
	m.become(StageTerminating, m.endReason())
}

func (m *machine) endReason() string {
	switch {
	case m.Deletion != nil && m.Deletion.Reason != "":
		return string(m.Deletion.Reason)
	case m.Deletion != nil:
		return "deleted"
	case m.Outcome.Reason != "":
		return string(m.Outcome.Reason)
	case m.Outcome.Phase == corev1.PodSucceeded:
		return "all containers succeeded"
	default:
		return "a container failed"
	}
}

// windDown ends what is alive, in order, and goes on when nothing is.
func (m *machine) windDown() {
	m.dropWaiting(ModuleExited)
	if m.endGuests() || m.Busy {
		return
	}
	if m.Outcome == nil {
		m.Outcome = m.deletedOutcome()
	}
	if m.Deletion == nil {
		m.GraceGen, m.KillBy = 0, time.Time{}
		m.become(StageFinished, string(m.Outcome.Phase))
		return
	}
	if m.CleanGen == 0 {
		m.Busy = true
		m.emit(cleanup{})
	}
}

// deletedOutcome is the phase of a Pod that was deleted before it came to an end of its own.
func (m *machine) deletedOutcome() *Outcome {
	o := Outcome{Phase: corev1.PodSucceeded, Reason: m.Deletion.Reason, Message: m.Deletion.Message}
	if o.Reason == actors.ReasonTerminated { // it did not come to its end, whatever its containers made of the signal
		o.Phase = corev1.PodFailed
	}
	for i := range m.Containers {
		if c := &m.Containers[i]; c.Role == Main && !c.succeeded() {
			o.Phase = corev1.PodFailed
		}
	}
	return &o
}

// dropWaiting takes every container without a guest out of the game.
func (m *machine) dropWaiting(to ModuleStage) {
	for i := range m.Containers {
		c := &m.Containers[i]
		if c.alive() || c.Stage == to || c.Stage == ModuleExited {
			continue
		}
		c.Gen = m.nextGen() // whatever timer or worker it was waiting for comes too late
		m.moveTo(c, to)
		m.emit(release{c.Name})
	}
}

// leave ends a container for good, because of the Pod and not of its policy.
func (m *machine) leave(c *Container, x actors.Exit) {
	m.decided(c, x, actors.Verdict{Directive: actors.DirectiveStop, History: c.History})
	m.moveTo(c, ModuleExited)
	m.emit(release{c.Name})
}

// endGuests asks what is alive to end and tells whether something still is: init containers and mains first, all at
// once, then one sidecar after the other in reverse order.
func (m *machine) endGuests() bool {
	first := false
	for i := range m.Containers {
		if c := &m.Containers[i]; c.Role != Sidecar && c.alive() {
			first = true
			m.endGuest(c)
		}
	}
	if first {
		return true
	}
	for i := len(m.Containers) - 1; i >= 0; i-- {
		if c := &m.Containers[i]; c.alive() {
			m.endGuest(c)
			return true
		}
	}
	return false
}

// endGuest asks for one guest's end, again only when there is less time than it was told.
func (m *machine) endGuest(c *Container) {
	if !c.KillBy.IsZero() && !m.KillBy.Before(c.KillBy) {
		return
	}
	if c.KillBy.IsZero() && c.Stage >= ModuleStarting {
		m.notice(c, actors.ReasonKilling, "Stopping container "+c.Name)
	}
	c.KillBy = m.KillBy
	switch {
	case c.Attached:
		m.emit(kill{c.Name, m.grace(c.KillBy)})
	case c.Crashed: // do not wait for the back-off of its module actor
		m.adopt(c)
	}
}

// onGraceExpired presses on with whatever is still there.
func (m *machine) onGraceExpired(t timer) {
	if t.Gen != m.GraceGen {
		return
	}
	alive := false
	for i := range m.Containers {
		c := &m.Containers[i]
		if c.Attached && !c.KillBy.IsZero() {
			m.emit(kill{c.Name, 0})
		}
		alive = alive || c.alive()
	}
	if alive {
		m.warn("", actors.ReasonExceededGracePeriod, "Container runtime did not kill the pod within specified grace period.")
		m.GraceGen = m.arm(graceExpired, graceSlack)
	}
}

func (m *machine) onCleaned(e cleaned) {
	m.Busy = false
	if e.Err == nil {
		m.GraceGen = 0
		m.become(StageEnded, "nothing is left")
		m.emit(end{})
		return
	}
	m.warn("", actors.ReasonFailed, fmt.Sprintf("error cleaning up pod: %v", e.Err))
	v := m.retry(m.CleanRetries)
	m.CleanRetries = v.History
	m.CleanGen = m.arm(cleanupDue, v.Delay)
}

// retry is the back-off of the Pod's own work: that of the kubelet's volumes.
func (m *machine) retry(h actors.History) actors.Verdict {
	x := actors.Exit{NotStarted: true, FinishedAt: m.now}
	b := actors.Backoff{Initial: 500 * time.Millisecond, Max: 2*time.Minute + 2*time.Second, Factor: 2}
	return actors.Decide(actors.Permanent, b, x, h, m.now)
}
