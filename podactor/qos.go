package podactor

import (
	corev1 "k8s.io/api/core/v1"
)

// qosClass is the Pod's quality of service: what the API server computed, or the same computation where there is none.
func qosClass(p *corev1.Pod) corev1.PodQOSClass {
	if p.Status.QOSClass != "" {
		return p.Status.QOSClass
	}
	some, guaranteed := false, true
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			r := &list[i].Resources
			for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				limit, request := r.Limits[name], r.Requests[name]
				some = some || !limit.IsZero() || !request.IsZero()
				// A request that is missing is the limit.
				_, requested := r.Requests[name]
				if limit.IsZero() || (requested && limit.Cmp(request) != 0) {
					guaranteed = false
				}
			}
		}
	}
	switch {
	case !some:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	default:
		return corev1.PodQOSBurstable
	}
}
