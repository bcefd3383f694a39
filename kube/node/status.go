package node

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// The kubelet's limits for status.images.
const (
	maxImages         = 50
	maxNamesEachImage = 5
)

// observation is everything that a status is made of.
type observation struct {
	addresses   []corev1.NodeAddress
	addressErr  error
	machine     Machine
	machineErr  error
	pressure    Pressure
	pressureErr error
	images      []corev1.ContainerImage
	notReady    error
}

// observe asks everybody.
func (c Config) observe() observation {
	var o observation
	o.addresses, o.addressErr = c.Addresses()
	o.machine, o.machineErr = c.Machine()
	if c.Pressure != nil {
		o.pressure, o.pressureErr = c.Pressure()
	}
	if c.Images != nil {
		o.images = c.Images()
	}
	if c.Ready != nil {
		o.notReady = c.Ready()
	}
	return o
}

// event is a Node Event that a change of the status calls for.
type event struct{ kind, reason, message string }

// status returns the Node with the observation in its status, and what has happened. The Node given is not changed.
func (c Config) status(old *corev1.Node, o observation, now time.Time) (*corev1.Node, []event) {
	node := old.DeepCopy()
	if node.Labels == nil {
		node.Labels = map[string]string{}
	}
	for _, key := range []string{corev1.LabelOSStable, corev1.LabelArchStable} { // the scheduler relies on them
		node.Labels[key] = c.labels()[key]
	}
	s := &node.Status
	if o.addressErr == nil {
		s.Addresses = append(slices.Clone(o.addresses), corev1.NodeAddress{Type: corev1.NodeHostName, Address: c.Hostname})
	}
	if o.machineErr == nil {
		c.resources(s, o.machine)
	}
	events := c.info(&s.NodeInfo, o)
	s.DaemonEndpoints.KubeletEndpoint.Port = c.Port
	s.Images = largest(o.images)
	s.RuntimeHandlers = c.RuntimeHandlers
	s.DeclaredFeatures = c.DeclaredFeatures
	supplementalGroups := false
	s.Features = &corev1.NodeFeatures{SupplementalGroupsPolicy: &supplementalGroups}
	return node, append(events, c.conditions(s, o, now)...)
}

// resources fills in capacity and allocatable. Resources of others, such as device plugins' or those that an administrator
// has patched in, stay.
func (c Config) resources(s *corev1.NodeStatus, m Machine) {
	capacity := corev1.ResourceList{}
	maps.Copy(capacity, s.Capacity)
	for name, n := range map[corev1.ResourceName]uint64{
		corev1.ResourceMemory: m.MemoryBytes, corev1.ResourceEphemeralStorage: m.DiskBytes,
	} {
		delete(capacity, name)
		if n > 0 {
			capacity[name] = *resource.NewQuantity(int64(n), resource.BinarySI)
		}
	}
	delete(capacity, corev1.ResourceCPU)
	if m.CPUs > 0 {
		capacity[corev1.ResourceCPU] = *resource.NewQuantity(int64(m.CPUs), resource.DecimalSI)
	}
	capacity[corev1.ResourcePods] = *resource.NewQuantity(int64(c.MaxPods), resource.DecimalSI)
	s.Capacity = capacity

	s.Allocatable = corev1.ResourceList{}
	for name, total := range capacity {
		left := total.DeepCopy()
		if reserved, ok := c.Reserved[name]; ok {
			left.Sub(reserved)
		}
		if left.Sign() < 0 {
			left.Set(0)
		}
		s.Allocatable[name] = left
	}
}

func (c Config) info(info *corev1.NodeSystemInfo, o observation) []event {
	var events []event
	info.OperatingSystem, info.Architecture = OS, Architecture
	info.KubeletVersion = c.KubeletVersion
	info.ContainerRuntimeVersion = "wazlet://" + c.Version
	if o.machineErr != nil {
		return nil
	}
	m := o.machine
	if info.BootID != "" && info.BootID != m.BootID {
		events = append(events, event{
			corev1.EventTypeWarning, "Rebooted", fmt.Sprintf("Node %s has been rebooted, boot id: %s", c.NodeName, m.BootID),
		})
	}
	info.MachineID, info.SystemUUID, info.BootID = m.MachineID, m.SystemUUID, m.BootID
	info.KernelVersion, info.OSImage = m.KernelVersion, m.OSImage
	info.Swap = nil
	if m.SwapBytes > 0 {
		swap := int64(m.SwapBytes)
		info.Swap = &corev1.NodeSwapStatus{Capacity: &swap}
	}
	return events
}

// largest are the images that the scheduler should know of.
func largest(images []corev1.ContainerImage) []corev1.ContainerImage {
	images = slices.Clone(images)
	slices.SortStableFunc(images, func(a, b corev1.ContainerImage) int { return cmp.Compare(b.SizeBytes, a.SizeBytes) })
	images = images[:min(len(images), maxImages)]
	for i := range images {
		images[i].Names = slices.Clone(images[i].Names[:min(len(images[i].Names), maxNamesEachImage)])
	}
	return images
}

// conditions updates the node's own conditions and leaves those of others, Ready being the last.
func (c Config) conditions(s *corev1.NodeStatus, o observation, now time.Time) []event {
	own := []corev1.NodeCondition{
		pressure(corev1.NodeMemoryPressure, o.pressure.Memory, "KubeletHasInsufficientMemory",
			"kubelet has insufficient memory available", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		pressure(corev1.NodeDiskPressure, o.pressure.Disk, "KubeletHasDiskPressure", "kubelet has disk pressure",
			"KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		pressure(corev1.NodePIDPressure, o.pressure.PID, "KubeletHasInsufficientPID",
			"kubelet has insufficient PID available", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		ready(s.Capacity, o),
	}
	var events []event
	var out []corev1.NodeCondition
	for _, old := range s.Conditions {
		if !slices.ContainsFunc(own, func(n corev1.NodeCondition) bool { return n.Type == old.Type }) {
			out = append(out, old)
		}
	}
	for _, next := range own {
		next.LastHeartbeatTime, next.LastTransitionTime = metav1.NewTime(now), metav1.NewTime(now)
		i := slices.IndexFunc(s.Conditions, func(old corev1.NodeCondition) bool { return old.Type == next.Type })
		known := i >= 0
		if known && o.pressureErr != nil && next.Type != corev1.NodeReady {
			next.Status, next.Reason, next.Message = s.Conditions[i].Status, s.Conditions[i].Reason, s.Conditions[i].Message
		}
		switch {
		case known && s.Conditions[i].Status == next.Status:
			next.LastTransitionTime = s.Conditions[i].LastTransitionTime
		case known || next.Type != corev1.NodeReady: // a new Node's readiness is no event, as with the kubelet
			events = append(events, c.transition(next))
		}
		out = append(out, next)
	}
	s.Conditions = out
	return events
}

// transition is the Event that tells of a condition's change.
func (c Config) transition(next corev1.NodeCondition) event {
	reason := strings.Replace(next.Reason, "Kubelet", "Node", 1)
	return event{corev1.EventTypeNormal, reason, c.statusIsNow(reason)}
}

// statusIsNow is the kubelet's message of Events about conditions.
func (c Config) statusIsNow(reason string) string {
	return fmt.Sprintf("Node %s status is now: %s", c.NodeName, reason)
}

func pressure(kind corev1.NodeConditionType, on bool, yes, yesMessage, no, noMessage string) corev1.NodeCondition {
	if on {
		return corev1.NodeCondition{Type: kind, Status: corev1.ConditionTrue, Reason: yes, Message: yesMessage}
	}
	return corev1.NodeCondition{Type: kind, Status: corev1.ConditionFalse, Reason: no, Message: noMessage}
}

func ready(capacity corev1.ResourceList, o observation) corev1.NodeCondition {
	var missing []string
	for _, name := range []corev1.ResourceName{
		corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods, corev1.ResourceEphemeralStorage,
	} {
		if _, ok := capacity[name]; !ok {
			missing = append(missing, string(name))
		}
	}
	errs := []error{o.notReady, o.addressErr, o.machineErr}
	if len(missing) > 0 {
		errs = append(errs, errors.New("missing node capacity for resources: "+strings.Join(missing, ", ")))
	}
	if err := utilerrors.NewAggregate(errs); err != nil {
		return corev1.NodeCondition{
			Type: corev1.NodeReady, Status: corev1.ConditionFalse, Reason: "KubeletNotReady", Message: err.Error(),
		}
	}
	return corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status",
	}
}

// differs says whether the status, or a label that is ours to enforce, is news. Heartbeats alone are not.
func differs(a, b *corev1.Node) bool {
	return !apiequality.Semantic.DeepEqual(a.Labels, b.Labels) ||
		!apiequality.Semantic.DeepEqual(a.Annotations, b.Annotations) ||
		!apiequality.Semantic.DeepEqual(withoutHeartbeats(a.Status), withoutHeartbeats(b.Status))
}

func withoutHeartbeats(s corev1.NodeStatus) *corev1.NodeStatus {
	out := s.DeepCopy()
	for i := range out.Conditions {
		out.Conditions[i].LastHeartbeatTime = metav1.Time{}
	}
	slices.SortStableFunc(out.Conditions, func(a, b corev1.NodeCondition) int { return cmp.Compare(a.Type, b.Type) })
	return out
}
