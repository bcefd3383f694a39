package podactor

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// podResources are what the Pod's containers have together: as requests alone, and with the limits.
func podResources(pod *corev1.Pod) (corev1.ResourceList, *corev1.ResourceRequirements) {
	all := resource.PodResourcesOptions{}
	requests := resource.PodRequests(pod, all)
	return requests, &corev1.ResourceRequirements{Requests: requests, Limits: resource.PodLimits(pod, all)}
}

// mountStatuses show the mounts of a container. A read-only one is it recursively for whoever asks for that: a guest sees no
// mounts below a mount.
func mountStatuses(c *corev1.Container) []corev1.VolumeMountStatus {
	var out []corev1.VolumeMountStatus
	for _, m := range c.VolumeMounts {
		s := corev1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := corev1.RecursiveReadOnlyDisabled
			if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly != corev1.RecursiveReadOnlyDisabled {
				mode = corev1.RecursiveReadOnlyEnabled
			}
			s.RecursiveReadOnly = &mode
		}
		out = append(out, s)
	}
	return out
}
