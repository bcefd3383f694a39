package podactor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// Reasons of conditions, the kubelet's.
const (
	condPodCompleted     = "PodCompleted"
	condPodFailed        = "PodFailed"
	condNotReady         = "ContainersNotReady"
	condNotInitialized   = "ContainersNotInitialized"
	condGatesNotReady    = "ReadinessGatesNotReady"
	condAllRestarting    = "RestartingAllContainers"
	unreadyFormat        = "containers with unready status: [%s]"
	incompleteFormat     = "containers with incomplete status: [%s]"
	gateWithoutCondition = "corresponding condition of pod readiness gate %q does not exist."
	gateNotTrue          = "the status of pod readiness gate %q is not \"True\", but %v"
)

// conditions derives the Pod's conditions from the rest of its status p. Conditions of earlier that did not change keep
// their lastTransitionTime.
func (s *State) conditions(p *corev1.PodStatus, earlier []corev1.PodCondition, now time.Time) []corev1.PodCondition {
	containersReady := s.containersReady(p)
	list := []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: boolStatus(s.readyToStart())},
		s.initializedCondition(p),
		s.readyCondition(containersReady),
		containersReady,
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
	}
	if s.RestartingAll {
		list = append(list, corev1.PodCondition{
			Type: corev1.AllContainersRestarting, Status: corev1.ConditionTrue, Reason: condAllRestarting,
		})
	}
	if s.Infeasible && !s.terminal() {
		list = append(list, corev1.PodCondition{
			Type: corev1.PodResizePending, Status: corev1.ConditionTrue, Reason: corev1.PodReasonInfeasible, Message: infeasibleText,
		})
	}
	if s.terminal() && s.Outcome.Reason == actors.ReasonTerminated {
		list = append(list, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
			Reason: corev1.PodReasonTerminationByKubelet, Message: s.Outcome.Message,
		})
	}
	for i := range list {
		c := &list[i]
		c.ObservedGeneration = s.Pod.Generation
		c.LastTransitionTime = *apiTime(now)
		for j := range earlier {
			if e := &earlier[j]; e.Type == c.Type && e.Status == c.Status {
				c.LastTransitionTime = e.LastTransitionTime
			}
		}
	}
	return list
}

// readyToStart stands for the Pod's sandbox: there from the time the volumes are until the Pod is over.
func (s *State) readyToStart() bool { return s.Prepared && !s.terminal() }

func (s *State) initializedCondition(p *corev1.PodStatus) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	var incomplete []string
	for i := range p.InitContainerStatuses {
		st := &p.InitContainerStatuses[i]
		done := st.Ready
		if roleOf(s.Pod, st.Name) == Sidecar {
			done = st.Started != nil && *st.Started
		}
		if !done {
			incomplete = append(incomplete, st.Name)
		}
	}
	switch {
	case p.Phase == corev1.PodSucceeded:
		c.Reason = condPodCompleted
	case len(incomplete) > 0 && !s.anyMainStarted():
		c.Status, c.Reason = corev1.ConditionFalse, condNotInitialized
		c.Message = fmt.Sprintf(incompleteFormat, strings.Join(incomplete, " "))
	}
	return c
}

func (s *State) containersReady(p *corev1.PodStatus) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}
	var unready []string
	for _, list := range [][]corev1.ContainerStatus{p.InitContainerStatuses, s.inOrder(p.ContainerStatuses)} {
		for i := range list {
			if !list[i].Ready && roleOf(s.Pod, list[i].Name) != Init {
				unready = append(unready, list[i].Name)
			}
		}
	}
	switch {
	case p.Phase == corev1.PodSucceeded:
		c.Reason = condPodCompleted
	case p.Phase == corev1.PodFailed:
		c.Reason = condPodFailed
	case len(unready) > 0:
		c.Reason, c.Message = condNotReady, fmt.Sprintf(unreadyFormat, strings.Join(unready, " "))
	default:
		c.Status = corev1.ConditionTrue
	}
	return c
}

// inOrder sorts statuses as in the Pod, which is the order of names in messages.
func (s *State) inOrder(list []corev1.ContainerStatus) []corev1.ContainerStatus {
	place := make(map[string]int, len(s.Containers))
	for i := range s.Containers {
		place[s.Containers[i].Name] = i
	}
	return slices.SortedFunc(slices.Values(list), func(a, b corev1.ContainerStatus) int { return place[a.Name] - place[b.Name] })
}

// readyCondition is ContainersReady and the readiness gates.
func (s *State) readyCondition(containers corev1.PodCondition) corev1.PodCondition {
	c := containers
	c.Type = corev1.PodReady
	if c.Status != corev1.ConditionTrue {
		return c
	}
	var open []string
	for _, g := range s.Pod.Spec.ReadinessGates {
		i := slices.IndexFunc(s.Pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == g.ConditionType })
		switch {
		case i < 0:
			open = append(open, fmt.Sprintf(gateWithoutCondition, string(g.ConditionType)))
		case s.Pod.Status.Conditions[i].Status != corev1.ConditionTrue:
			open = append(open, fmt.Sprintf(gateNotTrue, string(g.ConditionType), s.Pod.Status.Conditions[i].Status))
		}
	}
	if len(open) > 0 {
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, condGatesNotReady, strings.Join(open, ", ")
	}
	return c
}

func boolStatus(b bool) corev1.ConditionStatus {
	if b {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}
