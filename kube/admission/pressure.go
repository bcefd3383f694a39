package admission

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"

	"github.com/wazlet/wazlet/kube/source"
)

// systemCritical is the lowest priority of a Pod without which the cluster does not work.
const systemCritical = 2_000_000_000

// pressure refuses what would make a scarcity worse: of memory, Pods that promise nothing about it; of anything else, all
// Pods but the critical ones.
func pressure(r Request) *Rejection {
	scarce := conditions(r.Node)
	if len(scarce) == 0 || critical(r.Pod) {
		return nil
	}
	if slices.Equal(scarce, []corev1.NodeConditionType{corev1.NodeMemoryPressure}) {
		taint := &corev1.Taint{Key: corev1.TaintNodeMemoryPressure, Effect: corev1.TaintEffectNoSchedule}
		if !bestEffort(r.Pod) || scheduling.TolerationsTolerateTaint(silent(), r.Pod.Spec.Tolerations, taint, false) {
			return nil
		}
	}
	return reject(ReasonEvicted, "The node had condition: %v. ", scarce)
}

func conditions(node *corev1.Node) []corev1.NodeConditionType {
	var on []corev1.NodeConditionType
	if node == nil {
		return nil
	}
	for _, t := range []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure} {
		if slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == t && c.Status == corev1.ConditionTrue
		}) {
			on = append(on, t)
		}
	}
	return on
}

func critical(p *corev1.Pod) bool {
	return source.IsStatic(p) || (p.Spec.Priority != nil && *p.Spec.Priority >= systemCritical)
}

// bestEffort tells whether no container of the Pod has a request or a limit of cpu or memory.
func bestEffort(p *corev1.Pod) bool {
	if resource.IsPodLevelRequestsSet(p) || resource.IsPodLevelLimitsSet(p) {
		return false
	}
	return !slices.ContainsFunc(slices.Concat(p.Spec.InitContainers, p.Spec.Containers), func(c corev1.Container) bool {
		for _, list := range []corev1.ResourceList{c.Resources.Requests, c.Resources.Limits} {
			if !list.Cpu().IsZero() || !list.Memory().IsZero() {
				return true
			}
		}
		return false
	})
}
