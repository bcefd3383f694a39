package podactor

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/actors"
)

// maxMessages bounds the termination messages of one Pod, all containers together, as the kubelet does.
const maxMessages = 12 << 10

// status is what was shown last. Told says that the parent has it.
type status struct {
	corev1.PodStatus
	told bool
}

// deriveStatus makes the Pod's status from the machine's state. It is never stored: the last one is needed only for the
// lastTransitionTime of conditions that did not change.
func deriveStatus(s *State, cfg Config, shown status, now time.Time) corev1.PodStatus {
	p := corev1.PodStatus{
		ObservedGeneration: s.Pod.Generation,
		QOSClass:           qosClass(s.Pod),
		StartTime:          apiTime(s.StartTime),
		Phase:              s.phase(),
	}
	if s.terminal() {
		p.Reason, p.Message = string(s.Outcome.Reason), s.Outcome.Message
	}
	if s.rejected() {
		return p
	}
	p.AllocatedResources, p.Resources = podResources(s.Pod)
	setAddresses(&p, s.Pod, s.HostIP, s.PodIP)
	limit := maxMessages / max(1, len(s.Containers))
	for i := range s.Containers {
		c := s.containerStatus(&s.Containers[i], cfg, limit)
		if s.Containers[i].Role == Main {
			p.ContainerStatuses = append(p.ContainerStatuses, c)
		} else {
			p.InitContainerStatuses = append(p.InitContainerStatuses, c)
		}
	}
	slices.SortFunc(p.ContainerStatuses, func(a, b corev1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) })
	p.Conditions = s.conditions(&p, shown.Conditions, now)
	return p
}

// rejected tells whether the Pod was refused by the node, which it stays.
func (s *State) rejected() bool {
	return s.Outcome != nil && !s.Prepared && strings.HasPrefix(s.Outcome.Message, rejectedText)
}

// terminal tells whether the Pod has its outcome and nothing of it runs any more. Before that the phase is held back, so
// that nobody takes the Pod's place while it is still at work.
func (s *State) terminal() bool {
	if s.Outcome == nil {
		return false
	}
	for i := range s.Containers {
		// After a restart nobody is attached yet: then the last known stage counts.
		if c := &s.Containers[i]; c.alive() || (c.Stage >= ModuleCreated && c.Stage <= ModuleRunning) {
			return false
		}
	}
	return true
}

// phase is the kubelet's computation over what the machine knows.
func (s *State) phase() corev1.PodPhase {
	if s.terminal() {
		return s.Outcome.Phase
	}
	pendingInit, waiting, up := false, false, false
	for i := range s.Containers {
		c := &s.Containers[i]
		switch {
		case c.Role == Init:
			pendingInit = pendingInit || !c.succeeded()
		case c.Role == Sidecar:
			pendingInit = pendingInit || (!s.anyMainStarted() && !c.Started)
		case c.Stage == ModuleRunning || c.Last != nil:
			up = true
		default:
			waiting = true
		}
	}
	if (pendingInit && !s.RestartingAll && !s.anyMainStarted()) || waiting || !up {
		return corev1.PodPending
	}
	return corev1.PodRunning
}

func (s *State) anyMainStarted() bool {
	return slices.ContainsFunc(s.Containers, func(c Container) bool {
		return c.Role == Main && (c.Started || c.Last != nil)
	})
}

// containerStatus shows one container; messages are cut to limit bytes.
func (s *State) containerStatus(c *Container, cfg Config, limit int) corev1.ContainerStatus {
	spec := specOf(s.Pod, c.Name)
	out := corev1.ContainerStatus{Name: c.Name, Image: spec.Image, RestartCount: int32(c.restarts()), VolumeMounts: mountStatuses(spec)}
	out.State, out.LastTerminationState = s.containerStates(c, limit)
	running := out.State.Running != nil
	out.Started = &running
	out.Ready = running && c.Role != Init
	if t := out.State.Terminated; t != nil && c.Role == Init {
		out.Ready = t.ExitCode == 0
	}
	switch {
	case running || c.alive():
		out.ContainerID, out.ImageID = c.ContainerID, c.ImageID
	case c.Last != nil:
		out.ContainerID, out.ImageID = c.Last.ContainerID, c.Last.ImageID
	}
	if out.ContainerID != "" || c.Last != nil { // it was created
		out.Resources, out.AllocatedResources = spec.Resources.DeepCopy(), spec.Resources.Requests.DeepCopy()
		out.User = cfg.User
	}
	return out
}

// restarts is the number of the attempt that runs, or of the last one that did.
func (c *Container) restarts() int {
	switch {
	case c.Stage == ModuleRunning:
		return c.Attempt
	case c.Last != nil:
		return c.Last.Attempt
	default:
		return 0
	}
}

// containerStates are the state and the one before it.
func (s *State) containerStates(c *Container, limit int) (state, last corev1.ContainerState) {
	before := func(x *actors.Exit) (last corev1.ContainerState) {
		if x != nil {
			last.Terminated = terminatedState(x, limit)
		}
		return last
	}
	waiting := func(r actors.Reason, text string) {
		state.Waiting = &corev1.ContainerStateWaiting{Reason: string(r), Message: text}
	}
	switch {
	case c.Stage == ModuleRunning:
		state.Running = &corev1.ContainerStateRunning{StartedAt: *apiTime(c.StartedAt)}
		return state, before(c.Last)
	case c.Last != nil && (c.Stage == ModuleExited || c.Waiting == ""):
		// Over for good, or between two attempts without a reason to wait: the last ending is what there is to see.
		state.Terminated = terminatedState(c.Last, limit)
		return state, before(c.Previous)
	case s.terminal() && s.evidence():
		// A container of a Pod that is over must not look as if it were about to start.
		state.Terminated = &corev1.ContainerStateTerminated{
			Reason: string(actors.ReasonContainerStatusUnknown), ExitCode: 137,
			Message: "The container could not be located when the pod was terminated",
		}
	case c.Waiting != "" && c.Stage != ModuleExited:
		waiting(c.Waiting, c.WaitingText)
	case len(s.Pod.Spec.InitContainers) > 0:
		waiting(actors.ReasonPodInitializing, s.waitText())
	default:
		waiting(actors.ReasonContainerCreating, s.waitText())
	}
	return state, before(c.Last)
}

// evidence tells whether the Pod got as far as its mains: then a container without a state was lost.
func (s *State) evidence() bool {
	return s.anyMainStarted() || (s.Initialized && len(s.Pod.Spec.InitContainers) > 0)
}

func terminatedState(x *actors.Exit, limit int) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{
		ExitCode: x.Code, Reason: string(x.Reason), Message: cut(x.Message, limit),
		StartedAt: *apiTime(x.StartedAt), FinishedAt: *apiTime(x.FinishedAt), ContainerID: x.ContainerID,
	}
}

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

// apiTime is a time as the API shows it: UTC, in seconds.
func apiTime(t time.Time) *metav1.Time {
	if t.IsZero() {
		return &metav1.Time{}
	}
	return &metav1.Time{Time: t.UTC().Truncate(time.Second)}
}

// sameStatus compares as an API server would.
func sameStatus(a, b *corev1.PodStatus) bool { return apiequality.Semantic.DeepEqual(a, b) }
