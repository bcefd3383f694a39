package admission

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
	"k8s.io/klog/v2"

	"github.com/wazlet/wazlet/kube/source"
)

// The reasons are the kubelet's, but for NotForWasm.
const (
	ReasonNodeAffinity                       = "NodeAffinity"
	ReasonNodeName                           = "NodeName"
	ReasonNodePorts                          = "NodePorts"
	ReasonTaintToleration                    = "TaintToleration"
	ReasonOutOf                              = "OutOf" // and the resource
	ReasonPodOSNotSupported                  = "PodOSNotSupported"
	ReasonPodOSSelectorNodeLabelDoesNotMatch = "PodOSSelectorNodeLabelDoesNotMatch"
	ReasonSupplementalGroupsPolicy           = "SupplementalGroupsPolicyNotSupported"
	ReasonPodFeatureUnsupported              = "PodFeatureUnsupported"
	ReasonPodLevelResources                  = "PodLevelResourcesNotSupported"
	ReasonSysctlForbidden                    = "SysctlForbidden"
	ReasonAppArmor                           = "AppArmor"
	ReasonEvicted                            = "Evicted"
	ReasonInvalidNodeInfo                    = "InvalidNodeInfo"
	ReasonUnexpectedAdmissionError           = "UnexpectedAdmissionError"
	// ReasonNotForWasm is a DaemonSet's Pod that came here only because it tolerates every taint.
	ReasonNotForWasm = "NotForWasm"
)

// nodeOS is the operating system that guests find.
const nodeOS = string(corev1.Linux)

// Rejection is why a Pod is refused; both words go into its status and into an Event.
type Rejection struct{ Reason, Message string }

func reject(reason, format string, args ...any) *Rejection {
	return &Rejection{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// MayBeStale tells whether a newer Node could make the difference: labels and taints change elsewhere, and a Pod that was
// scheduled by the new ones may be seen before they are.
func (r *Rejection) MayBeStale() bool {
	return r != nil && (r.Reason == ReasonNodeAffinity || r.Reason == ReasonTaintToleration || r.Reason == ReasonNotForWasm)
}

// Request is one question.
type Request struct {
	// Node is the Node object as last seen. Nil: it is not known, which only a static Pod may do without, as on a node
	// without a cluster.
	Node *corev1.Node
	// RuntimeClasses are the names that the node's configuration knows: a Pod with one of them wants to be here.
	RuntimeClasses []string
	Pod            *corev1.Pod
	// Others are the Pods that hold resources of the node.
	Others []*corev1.Pod
}

// Decide returns why the Pod is refused, nil when it is not. It modifies nothing. A bug in it costs one Pod its place, not
// the node its Pods.
func Decide(r Request) (refused *Rejection) {
	defer func() {
		if v := recover(); v != nil {
			refused = reject(ReasonUnexpectedAdmissionError, "Unexpected error while attempting to admit the pod: %v", v)
		}
	}()
	if r.Node == nil && !source.IsStatic(r.Pod) {
		return reject(ReasonInvalidNodeInfo, "Kubelet cannot get node info.")
	}
	checks := []func(Request) *Rejection{
		notForWasm, pressure, sysctls, osSelector, osField, supplementalGroups, fits, appArmor, podLevelResources, declaredFeatures,
	}
	for _, check := range checks {
		if no := check(r); no != nil {
			return no
		}
	}
	return nil
}

func sysctls(r Request) *Rejection {
	if sc := r.Pod.Spec.SecurityContext; sc != nil && len(sc.Sysctls) > 0 {
		// A guest has no kernel to tune: none is on the list of those that are allowed.
		return reject(ReasonSysctlForbidden, "forbidden sysctl: %q not allowlisted", sc.Sysctls[0].Name)
	}
	return nil
}

func osSelector(r Request) *Rejection {
	if os, ok := r.Pod.Labels[corev1.LabelOSStable]; ok && os != nodeOS {
		return reject(ReasonPodOSSelectorNodeLabelDoesNotMatch,
			"Failed to admit pod as the `kubernetes.io/os` label doesn't match node label")
	}
	return nil
}

func osField(r Request) *Rejection {
	if os := r.Pod.Spec.OS; os != nil && string(os.Name) != nodeOS {
		return reject(ReasonPodOSNotSupported, "Failed to admit pod as the OS field doesn't match node OS")
	}
	return nil
}

func supplementalGroups(r Request) *Rejection {
	sc := r.Pod.Spec.SecurityContext
	if sc == nil || sc.SupplementalGroupsPolicy == nil || *sc.SupplementalGroupsPolicy != corev1.SupplementalGroupsPolicyStrict {
		return nil
	}
	return reject(ReasonSupplementalGroupsPolicy, "SupplementalGroupsPolicy=%s is not supported in this node",
		corev1.SupplementalGroupsPolicyStrict)
}

func podLevelResources(r Request) *Rejection {
	if resource.IsPodLevelResourcesSet(r.Pod) {
		return reject(ReasonPodLevelResources, "pod-level resources are not supported on the node")
	}
	return nil
}

// silent is for functions of Kubernetes that log about malformed tolerations.
func silent() klog.Logger { return klog.Logger{} }
