package podactor

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor/volume"
)

// onApplied takes over what may change in a Pod that exists: metadata, the images of its containers,
// activeDeadlineSeconds, the grace, and the conditions of readiness gates. Everything else stays as it was.
func (m *machine) onApplied(e applied) {
	old := m.Pod
	if next := merge(old, e.Pod); !apiequality.Semantic.DeepEqual(old, next) {
		m.Pod = next // otherwise a repetition, which must not cost a checkpoint
	}
	m.takeOutcome(&e.Pod.Status)
	if m.ending() || m.Stage == StageRejected {
		return
	}
	m.refuseResize(e.Pod)
	if changedMetadata(old, m.Pod) && volume.Downward(m.Pod) {
		m.project()
	}
	if !equalInt(old.Spec.ActiveDeadlineSeconds, m.Pod.Spec.ActiveDeadlineSeconds) && m.Stage != StageAdmitting {
		m.armDeadline()
	}
	for i := range m.Containers {
		c := &m.Containers[i]
		if specOf(old, c.Name).Image != m.image(c) {
			m.redefine(c)
		}
	}
}

// takeOutcome ends a Pod that the API knows as ended. Whoever said so has given it up: what it was for may be done by another
// one already, and a terminal phase never changes again.
func (m *machine) takeOutcome(said *corev1.PodStatus) {
	if m.Outcome != nil || (said.Phase != corev1.PodSucceeded && said.Phase != corev1.PodFailed) {
		return
	}
	m.Outcome = &Outcome{Phase: said.Phase, Reason: actors.Reason(said.Reason), Message: said.Message}
}

// merge makes the Pod that results; it changes neither.
func merge(old, wanted *corev1.Pod) *corev1.Pod {
	p := old.DeepCopy()
	wanted.ObjectMeta.DeepCopyInto(&p.ObjectMeta)
	p.UID = old.UID
	p.Spec.ActiveDeadlineSeconds = copyInt(wanted.Spec.ActiveDeadlineSeconds)
	p.Spec.TerminationGracePeriodSeconds = copyInt(wanted.Spec.TerminationGracePeriodSeconds)
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if c := specOf(wanted, list[i].Name); c != nil {
				list[i].Image = c.Image
			}
		}
	}
	mergeGates(p, wanted)
	return p
}

// mergeGates takes over the conditions of the readiness gates, which others write. The rest of the status is ours.
func mergeGates(p, wanted *corev1.Pod) {
	for _, g := range p.Spec.ReadinessGates {
		is := func(c corev1.PodCondition) bool { return c.Type == g.ConditionType }
		p.Status.Conditions = slices.DeleteFunc(p.Status.Conditions, is)
		if i := slices.IndexFunc(wanted.Status.Conditions, is); i >= 0 {
			p.Status.Conditions = append(p.Status.Conditions, wanted.Status.Conditions[i])
		}
	}
}

// redefine replaces the container's attempt by one with the new image, with a fresh back-off: the old one was about the
// old image. A container that is over stays so.
func (m *machine) redefine(c *Container) {
	switch {
	case m.Stage == StagePreparing && !c.alive():
		m.redefineUnscanned(c)
	case c.alive():
		if c.Replace {
			return
		}
		c.Replace = true
		if c.KillBy.IsZero() {
			m.notice(c, actors.ReasonKilling, fmt.Sprintf("Container %s definition changed, will be restarted", c.Name))
			c.KillBy = m.now.Add(m.podGrace())
			if c.Attached {
				m.emit(kill{c.Name, m.podGrace()})
			}
		}
	case c.Stage == ModuleBackOff || c.Stage == ModuleCreated:
		m.replaced(c, actors.Exit{NotStarted: true, Attempt: c.Attempt})
	}
}

// redefineUnscanned is redefine while it is not known what is alive: nothing may be started yet.
func (m *machine) redefineUnscanned(c *Container) {
	switch c.Stage {
	case ModuleBackOff:
		c.History = actors.History{Restarts: c.History.Restarts}
		c.Waiting, c.WaitingText, c.RetryAt = "", "", m.now
	case ModuleCreated, ModulePulling, ModulePreparing, ModuleStarting, ModuleRunning:
		c.Replace = true
	case ModuleIdle, ModuleExited:
	}
}

// replaced starts the container anew whatever its policy says.
func (m *machine) replaced(c *Container, x actors.Exit) {
	c.Replace = false
	m.count(c, x)
	c.History = actors.History{Restarts: c.History.Restarts}
	c.Waiting, c.WaitingText = "", ""
	if !x.NotStarted {
		c.History.Restarts++
		m.decided(c, x, actors.Verdict{Directive: actors.DirectiveRestart, History: c.History})
	}
	c.RetryAt = time.Time{}
	m.start(c)
}

func equalInt(a, b *int64) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

func copyInt(v *int64) *int64 {
	if v == nil {
		return nil
	}
	n := *v
	return &n
}
