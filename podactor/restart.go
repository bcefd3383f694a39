package podactor

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// onExited handles the ending of the current attempt. A module actor that ends another one while it was given this one
// will not run it: that is as bad as a crash.
func (m *machine) onExited(e exited) {
	c := m.container(e.Container)
	switch {
	case c == nil || !c.Attached:
	case e.Exit.Attempt != c.Attempt:
		m.onCrashed(crashed{e.Container, fmt.Sprintf("module actor ended attempt %d instead of %d", e.Exit.Attempt, c.Attempt)})
	default:
		m.ended(c, e.Exit)
	}
}

// ended takes note of how an attempt ended and decides what becomes of the container.
func (m *machine) ended(c *Container, x actors.Exit) {
	if x.NotStarted && c.Adopting {
		x = lostExit(c, m.now)
	}
	c.Attached, c.Adopting, c.Crashed = false, false, false
	c.KillBy = time.Time{}
	if !x.NotStarted {
		c.Previous, c.Last = c.Last, &x
		// The fact Started may have been overtaken. One that never entered _start has no time between the two.
		c.Started = c.Started || (x.StartedAt.Before(x.FinishedAt) && !x.StartedAt.IsZero() && x.Reason != actors.ReasonStartError)
	}
	switch {
	case m.ending():
		m.leave(c, x)
	case m.RestartingAll:
		m.count(c, x)
		m.moveTo(c, ModuleIdle)
	case c.Replace:
		m.replaced(c, x)
	default:
		m.supervise(c, x)
	}
}

// lostExit is the ending of an attempt that should have been there to be taken over. It is never "not started": its
// number is used up.
func lostExit(c *Container, now time.Time) actors.Exit {
	x := actors.Exit{
		Reason: actors.ReasonContainerStatusUnknown, Code: 137,
		Message: "The container could not be located when the pod was recovered",
		Attempt: c.Attempt, StartedAt: c.StartedAt, FinishedAt: now, ContainerID: c.ContainerID, ImageID: c.ImageID,
	}
	if c.Crashed {
		x.Reason, x.Message = actors.ReasonCrash, "The container was lost when its module actor crashed"
	}
	if x.StartedAt.IsZero() {
		x.StartedAt = now
	}
	return x
}

// supervise asks actors.Decide, the one place where restarts are decided, and does what it says.
func (m *machine) supervise(c *Container, x actors.Exit) {
	policy, all := restartPolicy(m.Pod, c.Role, m.spec(c), x)
	sup := m.params()
	backoff := sup.Module.Backoff.Backoff()
	if x.NotStarted {
		backoff = sup.Image.Backoff.Backoff()
	}
	v := actors.Decide(policy, backoff, x, c.History, m.now)
	c.History = v.History
	m.decided(c, x, v)
	if v.Directive == actors.DirectiveStop {
		m.moveTo(c, ModuleExited)
		m.emit(release{c.Name})
		return
	}
	m.count(c, x)
	c.RetryAt = time.Time{}
	if v.Delay > 0 {
		c.RetryAt = m.now.Add(v.Delay)
	}
	m.explain(c, x)
	switch {
	case all:
		m.RestartingAll = true
		m.moveTo(c, ModuleIdle)
	case v.Delay > 0:
		m.backOff(c)
	default:
		m.start(c)
	}
}

// count gives the next attempt its number. One that never started is tried again under the same number.
func (m *machine) count(c *Container, x actors.Exit) {
	if !x.NotStarted {
		c.Attempt = x.Attempt + 1
	}
}

// onTuned takes other parameters over. A wait that is longer than the new maximum is cut to it: whoever lowers the maximum
// does it for the containers that wait.
func (m *machine) onTuned(e tuned) {
	m.Supervision = e.Supervision
	for i := range m.Containers {
		c := &m.Containers[i]
		longest := m.longestWait(c)
		if c.Stage == ModuleBackOff && c.RetryAt.After(m.now.Add(longest)) {
			c.RetryAt = m.now.Add(longest)
			if m.Scanned { // before that nothing may be started; recover arms what is left
				m.await(c)
			}
		}
	}
}

// longestWait is the most that a container waits for its next attempt.
func (m *machine) longestWait(c *Container) time.Duration {
	sup := m.params()
	if c.History.Pull > 0 {
		return sup.Image.Backoff.Max.Duration
	}
	return sup.Module.Backoff.Max.Duration
}

// backOff waits until RetryAt.
func (m *machine) backOff(c *Container) {
	m.moveTo(c, ModuleBackOff)
	m.await(c)
}

func (m *machine) await(c *Container) {
	c.Gen = m.nextGen()
	delay := c.RetryAt.Sub(m.now)
	m.emit(after{timer{retryDue, c.Name, c.Gen}, delay})
	if pullErrorBacksOff(c.Waiting) {
		m.emit(after{timer{pullErrorShown, c.Name, c.Gen}, min(pullErrorFor, delay/2)})
	}
}

func (m *machine) onRetryDue(t timer) {
	c := m.container(t.Container)
	switch {
	case c == nil || c.Gen != t.Gen || m.ending() && !c.Adopting:
	case c.Stage == ModuleBackOff:
		c.RetryAt = time.Time{}
		m.start(c)
	case c.Adopting && !c.Attached:
		m.adopt(c)
	}
}

// onCrashed takes the attempt over again with a new incarnation of its module actor. The guest, if there is one, was not
// harmed by our bug, and a second one beside it must not be.
func (m *machine) onCrashed(e crashed) {
	c := m.container(e.Container)
	if c == nil || !c.Attached {
		return
	}
	x := actors.Exit{
		Reason: actors.ReasonCrash, Code: 137, Message: e.Text,
		Attempt: c.Attempt, StartedAt: c.AttachedAt, FinishedAt: m.now,
	}
	v := actors.Decide(actors.Permanent, m.params().Module.Backoff.Backoff(), x, c.Crashes, m.now)
	c.Crashes = v.History
	c.Attached, c.Adopting, c.Crashed = false, true, true
	m.decided(c, x, v)
	if v.Delay <= 0 {
		m.adopt(c)
		return
	}
	c.Gen = m.nextGen()
	m.emit(after{timer{retryDue, c.Name, c.Gen}, v.Delay})
}

// restartPolicy translates the Pod's words into a supervisor's for one ending: the first restart rule that matches, then
// the container's own policy, then the Pod's. all says that the whole Pod starts over.
func restartPolicy(p *corev1.Pod, role Role, c *corev1.Container, x actors.Exit) (policy actors.Restart, all bool) {
	if c != nil && !x.NotStarted {
		for i := range c.RestartPolicyRules {
			if r := &c.RestartPolicyRules[i]; ruleMatches(r, x.Code) {
				switch r.Action {
				case corev1.ContainerRestartRuleActionRestart:
					return actors.Permanent, false
				case corev1.ContainerRestartRuleActionRestartAllContainers:
					return actors.Permanent, true
				}
			}
		}
	}
	if role == Sidecar {
		return actors.Permanent, false
	}
	word := p.Spec.RestartPolicy
	if c != nil && c.RestartPolicy != nil {
		word = corev1.RestartPolicy(*c.RestartPolicy)
	}
	switch {
	case word == corev1.RestartPolicyNever:
		return actors.Temporary, false
	case word == corev1.RestartPolicyOnFailure, role == Init:
		return actors.Transient, false
	default:
		return actors.Permanent, false
	}
}

func ruleMatches(r *corev1.ContainerRestartRule, code int32) bool {
	if r.ExitCodes == nil {
		return false
	}
	in := slices.Contains(r.ExitCodes.Values, code)
	switch r.ExitCodes.Operator {
	case corev1.ContainerRestartRuleOnExitCodesOpIn:
		return in
	case corev1.ContainerRestartRuleOnExitCodesOpNotIn:
		return !in
	default:
		return false
	}
}

// restartAll ends every container as at the end of the Pod, then lets all of them start over, init containers first.
func (m *machine) restartAll() {
	if m.KillBy.IsZero() {
		m.setKillBy(m.podGrace())
	}
	m.dropWaiting(ModuleIdle)
	if m.endGuests() {
		return
	}
	for i := range m.Containers {
		c := &m.Containers[i]
		if c.Stage == ModuleExited {
			m.moveTo(c, ModuleIdle)
			if c.Last != nil {
				c.Attempt = c.Last.Attempt + 1
			}
		}
		if c.Role == Sidecar { // the ones after it wait for it again
			c.Started = false
		}
	}
	m.RestartingAll, m.KillBy, m.GraceGen = false, time.Time{}, 0
	if m.Initialized && len(m.Pod.Spec.InitContainers) > 0 {
		m.Initialized = false
		m.become(StageInitializing, "all containers are restarted")
	}
	m.advance()
}

// decided makes the supervisor's verdict visible.
func (m *machine) decided(c *Container, x actors.Exit, v actors.Verdict) {
	m.emit(observe{actors.Decision{
		Time: m.now, Pod: m.ref(), Container: c.Name, Reason: x.Reason, Code: x.Code,
		Directive: v.Directive, Delay: v.Delay, Restarts: v.History.Restarts,
	}})
}
