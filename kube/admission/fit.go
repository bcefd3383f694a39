package admission

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/wazlet/wazlet/kube/source"
)

// fits is the kubelet's general predicates: the first that fails is the reason.
func fits(r Request) *Rejection {
	if r.Node == nil {
		return nil
	}
	for _, check := range []func(Request) *Rejection{resources, nodeAffinity, nodeName, nodePorts, taints} {
		if no := check(r); no != nil {
			return no
		}
	}
	return nil
}

func predicate(name, text string) *Rejection {
	return reject(name, "Predicate %s failed: %s", name, text)
}

func outOf(name corev1.ResourceName, requested, used, capacity int64) *Rejection {
	return reject(ReasonOutOf+string(name), "Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d",
		name, requested, used, capacity)
}

// resources compares what the Pod requests with what the Pods of the node leave.
func resources(r Request) *Rejection {
	allocatable := r.Node.Status.Allocatable
	if pods := allocatable.Pods().Value(); int64(len(r.Others))+1 > pods {
		return outOf(corev1.ResourcePods, 1, int64(len(r.Others)), pods)
	}
	wanted := requests(r.Pod)
	used := corev1.ResourceList{}
	for _, p := range r.Others {
		for name, q := range requests(p) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	for _, name := range order(wanted) {
		want, have, all := amount(name, wanted), amount(name, used), amount(name, allocatable)
		if _, known := allocatable[name]; !known && extended(name) {
			continue // a resource of the cluster, not of this node
		}
		if want > 0 && want > all-have {
			return outOf(name, want, have, all)
		}
	}
	return nil
}

// requests are those of a Pod as the scheduler counts them: init containers and overhead included.
func requests(p *corev1.Pod) corev1.ResourceList {
	return resource.PodRequests(p, resource.PodResourcesOptions{})
}

// order is the kubelet's: cpu, memory, ephemeral-storage, then what else a Pod may request, by name.
func order(wanted corev1.ResourceList) []corev1.ResourceName {
	first := []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(wanted)), func(name corev1.ResourceName) bool {
		return slices.Contains(first, name) || !countable(name)
	})
	return append(first, rest...)
}

// countable are the resources that scheduling counts beside the basic ones.
func countable(name corev1.ResourceName) bool {
	return extended(name) || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) ||
		strings.HasPrefix(string(name), corev1.ResourceAttachableVolumesPrefix)
}

// extended resources have a domain of their own.
func extended(name corev1.ResourceName) bool {
	domain, _, found := strings.Cut(string(name), "/")
	return found && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io")
}

func amount(name corev1.ResourceName, list corev1.ResourceList) int64 {
	q := list[name]
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func nodeAffinity(r Request) *Rejection {
	if matches, err := nodeaffinity.GetRequiredNodeAffinity(r.Pod).Match(r.Node); err == nil && matches {
		return nil
	}
	return predicate(ReasonNodeAffinity, "node(s) didn't match Pod's node affinity/selector")
}

func nodeName(r Request) *Rejection {
	if name := r.Pod.Spec.NodeName; name == "" || name == r.Node.Name {
		return nil
	}
	return predicate(ReasonNodeName, "node(s) didn't match the requested node name")
}

// taints looks at those that do not even let a Pod stay. Whoever writes a static Pod means this node.
func taints(r Request) *Rejection {
	if source.IsStatic(r.Pod) {
		return nil
	}
	noExecute := func(t *corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute }
	if _, bad := scheduling.FindMatchingUntoleratedTaint(silent(), r.Node.Spec.Taints, r.Pod.Spec.Tolerations, noExecute, false); bad {
		return predicate(ReasonTaintToleration, "node(s) had taints that the pod didn't tolerate")
	}
	return nil
}
