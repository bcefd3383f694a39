package podactor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// pullKeys reads the Pod's imagePullSecrets. Those that cannot be read are named: the pull goes on without them. It may
// block; it runs in a worker.
func pullKeys(ctx context.Context, s surroundings) (keys image.Keys, missing []string) {
	var secrets []image.PullSecret
	for _, ref := range s.pod.Spec.ImagePullSecrets {
		if ref.Name == "" { // the API allows it
			continue
		}
		if s.objects == nil {
			missing = append(missing, ref.Name)
			continue
		}
		secret, err := s.objects.Secret(ctx, s.pod.Namespace, ref.Name)
		if err != nil {
			missing = append(missing, ref.Name)
			continue
		}
		secrets = append(secrets, image.PullSecret{
			UID: string(secret.UID), Namespace: secret.Namespace, Name: secret.Name, Type: string(secret.Type), Data: secret.Data,
		})
	}
	return image.NewKeys(secrets), missing
}

// warnMissingKeys is in the kubelet's words.
func (m *machine) warnMissingKeys(names []string) {
	if len(names) > 0 {
		m.warn("", actors.ReasonFailedToRetrieveImagePullSecret, fmt.Sprintf(
			"Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(names, ", ")))
	}
}

// pullsWith tells whether a Secret may be what a pull of the Pod lacks.
func pullsWith(pod *corev1.Pod, kind, name string) bool {
	return kind == kindSecret && slices.ContainsFunc(pod.Spec.ImagePullSecrets, func(r corev1.LocalObjectReference) bool {
		return r.Name == name
	})
}

// failedPull tells whether the container waits because its image could not be had.
func (c *Container) failedPull() bool {
	return c.Stage == ModuleBackOff && (pullErrorBacksOff(c.Waiting) || c.Waiting == actors.ReasonImagePullBackOff)
}
