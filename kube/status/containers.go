package status

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// The last words on a container that nobody can find any more.
const (
	reasonUnknown  = "ContainerStatusUnknown"
	messageUnknown = "The container could not be located when the pod was terminated"
	exitUnknown    = 137
)

// finish makes the status of a Pod that has ended final: nothing of it waits or runs, and its phase is terminal. What
// ended unseen has failed.
func finish(pod *corev1.Pod, s *corev1.PodStatus) {
	if initialized(pod, s) {
		for i := range s.ContainerStatuses {
			lose(&s.ContainerStatuses[i])
		}
	}
	for i := range attempted(s.InitContainerStatuses) {
		lose(&s.InitContainerStatuses[i])
	}
	if !terminal(s.Phase) {
		s.Phase = corev1.PodFailed
	}
}

func lose(c *corev1.ContainerStatus) {
	if c.State.Terminated != nil {
		return
	}
	t := &corev1.ContainerStateTerminated{
		Reason: reasonUnknown, Message: messageUnknown, ExitCode: exitUnknown, ContainerID: c.ContainerID,
	}
	if r := c.State.Running; r != nil {
		t.StartedAt = r.StartedAt
	}
	c.State = corev1.ContainerState{Terminated: t}
	c.Ready, c.Started = false, new(bool)
}

// initialized tells whether the Pod ever got past its init containers: only then a main that waits was lost.
func initialized(pod *corev1.Pod, s *corev1.PodStatus) bool {
	if len(pod.Spec.InitContainers) == 0 {
		return true
	}
	for i := range s.ContainerStatuses {
		if c := &s.ContainerStatuses[i]; c.LastTerminationState.Terminated != nil || c.State.Waiting == nil {
			return true
		}
	}
	last := &pod.Spec.InitContainers[len(pod.Spec.InitContainers)-1]
	i := slices.IndexFunc(s.InitContainerStatuses, func(c corev1.ContainerStatus) bool { return c.Name == last.Name })
	if i < 0 {
		return false
	}
	c := &s.InitContainerStatuses[i]
	if sidecar(last) {
		return c.State.Running != nil && c.Started != nil && *c.Started
	}
	return succeeded(c.State.Terminated) || succeeded(c.LastTerminationState.Terminated)
}

func succeeded(t *corev1.ContainerStateTerminated) bool { return t != nil && t.ExitCode == 0 }

// attempted is the list up to the last container that was ever tried, but never empty: the first one is always due.
func attempted(list []corev1.ContainerStatus) []corev1.ContainerStatus {
	for i := len(list) - 1; i > 0; i-- {
		if list[i].State.Waiting == nil || list[i].LastTerminationState.Terminated != nil {
			return list[:i+1]
		}
	}
	return list[:min(1, len(list))]
}

// keepTerminated keeps the end of a container that the API knows to be over for good: a node that lost its state must not
// make others believe that it runs again.
func keepTerminated(live *corev1.Pod, s *corev1.PodStatus) {
	if restartsAll(&live.Spec) {
		return
	}
	keep := func(was, now []corev1.ContainerStatus, spec []corev1.Container) {
		for i := range now {
			w := slices.IndexFunc(was, func(c corev1.ContainerStatus) bool { return c.Name == now[i].Name })
			c := slices.IndexFunc(spec, func(c corev1.Container) bool { return c.Name == now[i].Name })
			if w < 0 || c < 0 || was[w].State.Terminated == nil || now[i].State.Terminated != nil {
				continue
			}
			if !mayRestart(&live.Spec, &spec[c], was[w].State.Terminated.ExitCode) {
				now[i] = *was[w].DeepCopy()
			}
		}
	}
	keep(live.Status.InitContainerStatuses, s.InitContainerStatuses, live.Spec.InitContainers)
	keep(live.Status.ContainerStatuses, s.ContainerStatuses, live.Spec.Containers)
}

// restartsAll tells whether any container of the Pod may leave its end behind.
func restartsAll(spec *corev1.PodSpec) bool {
	if spec.RestartPolicy == corev1.RestartPolicyAlways || spec.RestartPolicy == "" {
		return true
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, r := range c.RestartPolicyRules {
			if r.Action == corev1.ContainerRestartRuleActionRestartAllContainers {
				return true
			}
		}
	}
	return false
}

// mayRestart tells whether the container may run again after this exit: its own rules first, then its policy, then the
// Pod's.
func mayRestart(spec *corev1.PodSpec, c *corev1.Container, code int32) bool {
	for i := range c.RestartPolicyRules {
		if matches(&c.RestartPolicyRules[i], code) {
			return true
		}
	}
	policy := spec.RestartPolicy
	if c.RestartPolicy != nil {
		policy = corev1.RestartPolicy(*c.RestartPolicy)
	}
	return policy == corev1.RestartPolicyAlways || (policy == corev1.RestartPolicyOnFailure && code != 0)
}

func matches(r *corev1.ContainerRestartRule, code int32) bool {
	if r.ExitCodes == nil {
		return false
	}
	listed := slices.Contains(r.ExitCodes.Values, code)
	switch r.ExitCodes.Operator {
	case corev1.ContainerRestartRuleOnExitCodesOpIn:
		return listed
	case corev1.ContainerRestartRuleOnExitCodesOpNotIn:
		return !listed
	default:
		return false
	}
}

func sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
