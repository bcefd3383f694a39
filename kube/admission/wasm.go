package admission

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/kube/node"
)

// notForWasm refuses Pods such as kube-proxy's: a DaemonSet that tolerates every taint puts one on each node, and its image
// is for machines. Without this each of them would try for ever to pull an image that this node cannot run. Whoever names
// the node's taint, its architecture or its runtime class means it, and is told if the image is none for us.
func notForWasm(r Request) *Rejection {
	owner := metav1.GetControllerOfNoCopy(r.Pod)
	if r.Node == nil || owner == nil || owner.Kind != "DaemonSet" || wantsWasm(r) {
		return nil
	}
	taint := marker(r.Node)
	if taint == nil || !slices.ContainsFunc(r.Pod.Spec.Tolerations, blanket) {
		return nil
	}
	return reject(ReasonNotForWasm, "this node runs WebAssembly only, and the Pods of DaemonSet %q are here because they tolerate every taint; "+
		"give them nodeSelector %s: %s if their image is wasm, or else keep them away with a nodeAffinity on %s",
		owner.Name, corev1.LabelArchStable, node.Arch, corev1.LabelArchStable)
}

// marker is the taint that keeps Pods away which are not wasm; nil when the cluster's administrator lets everything come.
func marker(n *corev1.Node) *corev1.Taint {
	for i := range n.Spec.Taints {
		t := &n.Spec.Taints[i]
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !strings.HasPrefix(t.Key, "node.kubernetes.io/") {
			return t
		}
	}
	return nil
}

// blanket tells whether a toleration is for every taint of any key.
func blanket(t corev1.Toleration) bool { return t.Key == "" && t.Operator == corev1.TolerationOpExists }

// wantsWasm tells whether something in the Pod names what is special about this node.
func wantsWasm(r Request) bool {
	spec := &r.Pod.Spec
	if c := spec.RuntimeClassName; c != nil && slices.Contains(r.RuntimeClasses, *c) {
		return true
	}
	for key := range spec.NodeSelector {
		if special(key) {
			return true
		}
	}
	names := func(t corev1.Toleration) bool {
		return t.Key != "" && slices.ContainsFunc(r.Node.Spec.Taints, func(taint corev1.Taint) bool {
			return taint.Key == t.Key && !strings.HasPrefix(t.Key, "node.kubernetes.io/")
		})
	}
	return slices.ContainsFunc(spec.Tolerations, names) || affinityNames(spec.Affinity)
}

// affinityNames tells whether a required node affinity asks for an architecture or for one of our labels. That the node
// matches is the business of another check.
func affinityNames(a *corev1.Affinity) bool {
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return false
	}
	for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if slices.ContainsFunc(term.MatchExpressions, func(e corev1.NodeSelectorRequirement) bool {
			return special(e.Key) && (e.Operator == corev1.NodeSelectorOpIn || e.Operator == corev1.NodeSelectorOpExists)
		}) {
			return true
		}
	}
	return false
}

// special are the labels by which Pods find a node of wasm.
func special(key string) bool {
	return key == corev1.LabelArchStable || key == "beta."+corev1.LabelArchStable || strings.HasPrefix(key, "wazlet.dev/")
}
