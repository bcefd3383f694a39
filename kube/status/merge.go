package status

import (
	"cmp"
	"slices"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/kube/source"
)

// maxMessages bounds the termination messages of one Pod, all containers together.
const maxMessages = 12 << 10

// owned tells whether a condition is the node's to write, and to remove.
func owned(t corev1.PodConditionType) bool {
	switch t {
	case corev1.PodScheduled, corev1.PodReady, corev1.PodInitialized, corev1.ContainersReady,
		corev1.PodReadyToStartContainers, corev1.PodResizeInProgress, corev1.PodResizePending, corev1.AllContainersRestarting:
		return true
	default:
		return false
	}
}

func terminal(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }

// merge returns the status that a Pod of the API should have: what the node says of it, within what the API already has. It
// modifies neither. Merging again changes nothing.
func merge(live *corev1.Pod, e *entry, now metav1.Time) corev1.PodStatus {
	was := &live.Status
	s := *e.status.DeepCopy()
	if !e.known {
		s = *was.DeepCopy()
	}
	if e.ended && !source.IsMirror(live) {
		finish(live, &s)
	}
	keepForeign(&s, was)
	s.ObservedGeneration = generation(live, e, s.ObservedGeneration)
	keepTerminated(live, &s)
	normalize(live, &s)
	if terminal(was.Phase) && (s.Phase != was.Phase || was.Reason != "" || was.Message != "") {
		s.Phase, s.Reason, s.Message = was.Phase, was.Reason, was.Message
	}
	mergeStart(&s, was, now)
	mergeConditions(&s, was, now)
	return s
}

// keepForeign keeps what others write, what never changes, and addresses that the node has let go of already.
func keepForeign(s, was *corev1.PodStatus) {
	w := was.DeepCopy()
	s.ResourceClaimStatuses = w.ResourceClaimStatuses
	s.ExtendedResourceClaimStatus = w.ExtendedResourceClaimStatus
	s.NodeAllocatableResourceClaimStatuses = w.NodeAllocatableResourceClaimStatuses
	s.NominatedNodeName, s.Resize = w.NominatedNodeName, w.Resize
	if s.Resources == nil {
		s.Resources = w.Resources
	}
	if s.AllocatedResources == nil {
		s.AllocatedResources = w.AllocatedResources
	}
	s.QOSClass = cmp.Or(w.QOSClass, s.QOSClass)
	s.Phase = cmp.Or(s.Phase, w.Phase)
	if s.HostIP == "" {
		s.HostIP, s.HostIPs = w.HostIP, w.HostIPs
	}
	if s.PodIP == "" {
		s.PodIP, s.PodIPs = w.PodIP, w.PodIPs
	}
}

// generation is the version of the Pod's spec that the status is about. The one of a mirror is its own: the static Pod has
// none, and both say the same.
func generation(live *corev1.Pod, e *entry, said int64) int64 {
	g := cmp.Or(said, e.pod.Generation)
	if source.IsMirror(live) {
		g = live.Generation
	}
	return max(g, live.Status.ObservedGeneration)
}

// mergeStart keeps the start time once there is one. A Pod that still waits for its turn has none.
func mergeStart(s, was *corev1.PodStatus, now metav1.Time) {
	switch {
	case was.StartTime != nil && !was.StartTime.IsZero():
		s.StartTime = was.StartTime.DeepCopy()
	case s.StartTime != nil && !s.StartTime.IsZero():
	case s.Phase == corev1.PodPending:
		s.StartTime = nil
	default:
		s.StartTime = &now
	}
}

// mergeConditions keeps the conditions of others, in their order, and puts the node's in place of its earlier ones.
func mergeConditions(s, was *corev1.PodStatus, now metav1.Time) {
	if terminal(s.Phase) {
		unready(s)
	}
	ours := s.Conditions
	s.Conditions = nil
	for i := range was.Conditions {
		w := &was.Conditions[i]
		said := conditionOf(ours, w.Type)
		switch {
		case said != nil && sends(said.Type, s, was):
			s.Conditions = append(s.Conditions, stamp(*said, w, s.ObservedGeneration, now))
		case !owned(w.Type), w.Type == corev1.PodScheduled: // a Pod is not unscheduled because its node has not looked at it
			s.Conditions = append(s.Conditions, *w.DeepCopy())
		}
	}
	for i := range ours {
		if c := &ours[i]; conditionOf(was.Conditions, c.Type) == nil && sends(c.Type, s, was) {
			s.Conditions = append(s.Conditions, stamp(*c, nil, s.ObservedGeneration, now))
		}
	}
}

// sends tells whether a condition that the node states is sent. DisruptionTarget is shared with those who evict: the node
// writes it together with the terminal phase only.
func sends(t corev1.PodConditionType, s, was *corev1.PodStatus) bool {
	if t == corev1.DisruptionTarget {
		return terminal(s.Phase) && !terminal(was.Phase)
	}
	return owned(t)
}

// stamp dates a condition: from when its status last changed.
func stamp(c corev1.PodCondition, was *corev1.PodCondition, generation int64, now metav1.Time) corev1.PodCondition {
	c.ObservedGeneration = generation
	switch {
	case was != nil && was.Status == c.Status && !was.LastTransitionTime.IsZero():
		c.LastTransitionTime = was.LastTransitionTime
	case c.LastTransitionTime.IsZero():
		c.LastTransitionTime = now
	}
	return c
}

// unready takes the readiness from a Pod that is over.
func unready(s *corev1.PodStatus) {
	ready, containers := conditionOf(s.Conditions, corev1.PodReady), conditionOf(s.Conditions, corev1.ContainersReady)
	isTrue := func(c *corev1.PodCondition) bool { return c != nil && c.Status == corev1.ConditionTrue }
	if !isTrue(ready) && !isTrue(containers) {
		return
	}
	reason := "PodCompleted"
	if s.Phase == corev1.PodFailed {
		reason = "PodFailed"
	}
	for _, c := range []*corev1.PodCondition{ready, containers} {
		if c != nil {
			*c = corev1.PodCondition{Type: c.Type, Status: corev1.ConditionFalse, Reason: reason}
		}
	}
}

func conditionOf(list []corev1.PodCondition, t corev1.PodConditionType) *corev1.PodCondition {
	if i := slices.IndexFunc(list, func(c corev1.PodCondition) bool { return c.Type == t }); i >= 0 {
		return &list[i]
	}
	return nil
}

// normalize makes a status as the API stores it: times in seconds, lists sorted, messages bounded.
func normalize(pod *corev1.Pod, s *corev1.PodStatus) {
	if s.StartTime != nil {
		seconds(s.StartTime)
	}
	for i := range s.Conditions {
		seconds(&s.Conditions[i].LastProbeTime)
		seconds(&s.Conditions[i].LastTransitionTime)
	}
	limit := maxMessages / max(1, len(pod.Spec.InitContainers)+len(pod.Spec.Containers)+len(pod.Spec.EphemeralContainers))
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			normalizeState(&list[i].State, limit)
			normalizeState(&list[i].LastTerminationState, limit)
		}
	}
	byName := func(a, b corev1.ContainerStatus) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortStableFunc(s.ContainerStatuses, byName)
	slices.SortStableFunc(s.EphemeralContainerStatuses, byName)
	place := func(c corev1.ContainerStatus) int {
		return slices.IndexFunc(pod.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == c.Name })
	}
	slices.SortStableFunc(s.InitContainerStatuses, func(a, b corev1.ContainerStatus) int { return cmp.Compare(place(a), place(b)) })
}

func normalizeState(s *corev1.ContainerState, limit int) {
	if s.Running != nil {
		seconds(&s.Running.StartedAt)
	}
	if t := s.Terminated; t != nil {
		seconds(&t.StartedAt)
		seconds(&t.FinishedAt)
		t.Message = cut(t.Message, limit)
	}
}

func seconds(t *metav1.Time) { *t = t.Rfc3339Copy() }

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// onlyGeneration tells whether b says nothing but that a newer version of the spec was seen.
func onlyGeneration(a, b corev1.PodStatus) bool {
	b = *b.DeepCopy()
	b.ObservedGeneration = a.ObservedGeneration
	for i := range b.Conditions {
		if c := conditionOf(a.Conditions, b.Conditions[i].Type); c != nil {
			b.Conditions[i].ObservedGeneration = c.ObservedGeneration
		}
	}
	return apiequality.Semantic.DeepEqual(a, b)
}

// creating tells whether s says of no container more than that it is about to be created.
func creating(s corev1.PodStatus) bool {
	if s.Phase != corev1.PodPending || len(s.ContainerStatuses) == 0 {
		return false
	}
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range list {
			w := list[i].State.Waiting
			if w == nil || w.Message != "" || w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
				return false
			}
		}
	}
	return true
}
