package admission

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-helpers/nodedeclaredfeatures"
	"k8s.io/component-helpers/nodedeclaredfeatures/types"
)

// declaredFeatures refuses what needs something of the node that the node does not say it has.
func declaredFeatures(r Request) *Rejection {
	if r.Node == nil {
		return nil
	}
	missing, err := missingFeatures(r.Pod, r.Node)
	if err != nil {
		return reject(ReasonPodFeatureUnsupported, "Failed to infer pod's feature requirements: %v", err)
	}
	if len(missing) == 0 {
		return nil
	}
	return reject(ReasonPodFeatureUnsupported, "Pod requires node features that are not available: %s", strings.Join(missing, ", "))
}

func missingFeatures(pod *corev1.Pod, node *corev1.Node) ([]string, error) {
	v, err := version.ParseSemantic(node.Status.NodeInfo.KubeletVersion)
	if err != nil {
		return nil, fmt.Errorf("kubelet version: %w", err)
	}
	framework := nodedeclaredfeatures.DefaultFramework
	wanted, err := framework.InferForPodScheduling(&types.PodInfo{Spec: &pod.Spec, Status: &pod.Status}, v)
	if err != nil || wanted.IsEmpty() {
		return nil, err
	}
	match, err := framework.MatchNode(wanted, node)
	if err != nil || match.IsMatch {
		return nil, err
	}
	return slices.Sorted(slices.Values(match.UnsatisfiedRequirements)), nil
}

var errNoAppArmor = errors.New("AppArmor is not enabled on the host")

// appArmor refuses Pods that rely on a profile: guests are confined by other means, which know no profiles.
func appArmor(r Request) *Rejection {
	if !wantsAppArmor(r.Pod) {
		return nil
	}
	return reject(ReasonAppArmor, "Cannot enforce AppArmor: %v", errNoAppArmor)
}

func wantsAppArmor(p *corev1.Pod) bool {
	confines := func(a *corev1.AppArmorProfile) bool {
		return a != nil && a.Type != corev1.AppArmorProfileTypeUnconfined
	}
	if sc := p.Spec.SecurityContext; sc != nil && confines(sc.AppArmorProfile) {
		return true
	}
	if slices.ContainsFunc(slices.Concat(p.Spec.InitContainers, p.Spec.Containers), func(c corev1.Container) bool {
		return c.SecurityContext != nil && confines(c.SecurityContext.AppArmorProfile)
	}) {
		return true
	}
	for key, profile := range p.Annotations {
		if strings.HasPrefix(key, corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix) &&
			profile != corev1.DeprecatedAppArmorBetaProfileNameUnconfined {
			return true
		}
	}
	return false
}
