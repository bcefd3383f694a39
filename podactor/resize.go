package podactor

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/wazlet/wazlet/actors"
)

// infeasibleText is why a container keeps the resources that it was created with.
const infeasibleText = "In-place resize is not supported on this node: a guest has its limits from its start"

// refuseResize tells whoever resizes a Pod that it must be made anew, instead of letting him wait.
func (m *machine) refuseResize(wanted *corev1.Pod) {
	before := m.Infeasible
	m.Infeasible = resized(m.Pod, wanted)
	if m.Infeasible && !before {
		m.warn("", actors.ReasonResizeInfeasible, fmt.Sprintf(
			"Pod resize %s: {\"generation\":%d,\"error\":%q}", corev1.PodReasonInfeasible, wanted.Generation, infeasibleText))
	}
}

// resized tells whether a container is wanted with other resources than it has.
func resized(p, wanted *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			has := &list[i].Resources
			c := specOf(wanted, list[i].Name)
			if c != nil && (!apiequality.Semantic.DeepEqual(has.Requests, c.Resources.Requests) ||
				!apiequality.Semantic.DeepEqual(has.Limits, c.Resources.Limits)) {
				return true
			}
		}
	}
	return false
}
