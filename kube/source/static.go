package source

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkStatic returns what a static Pod in particular may not say. It looks at the Pod as it was written.
func checkStatic(pod *corev1.Pod, nodeName string) field.ErrorList {
	errs := checkStaticMeta(pod)
	spec := field.NewPath("spec")
	if n := pod.Spec.NodeName; n != "" && !strings.EqualFold(n, nodeName) {
		errs = append(errs, field.Invalid(spec.Child("nodeName"), n, "must be absent or the name of this node, "+nodeName))
	}
	if len(pod.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "a static Pod may not have ephemeral containers"))
	}
	return append(errs, references(&pod.Spec, spec)...)
}

func checkStaticMeta(pod *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	meta := field.NewPath("metadata")
	if pod.Name == "" && pod.GenerateName != "" {
		errs = append(errs, field.Forbidden(meta.Child("generateName"), "a static Pod needs a name of its own in metadata.name"))
	}
	if pod.UID != "" {
		errs = append(errs, field.Forbidden(meta.Child("uid"), "a static Pod's UID is made from its manifest; remove this field"))
	}
	if pod.DeletionTimestamp != nil {
		errs = append(errs, field.Forbidden(meta.Child("deletionTimestamp"), "a static Pod is deleted by removing its manifest"))
	}
	return errs
}

// refers is the error for a reference to an API object: nothing would keep what runs here up to date with it.
func refers(path *field.Path, kind string) *field.Error {
	return field.Forbidden(path, "a static Pod may not refer to a "+kind+", or to any other object of the API")
}

// references finds everything that refers to objects of the API, as the kubelet does (PreventStaticPodAPIReferences).
func references(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.ServiceAccountName != "" {
		errs = append(errs, refers(path.Child("serviceAccountName"), "service account"))
	}
	if s.DeprecatedServiceAccount != "" {
		errs = append(errs, refers(path.Child("serviceAccount"), "service account"))
	}
	for i := range s.ImagePullSecrets {
		errs = append(errs, refers(path.Child("imagePullSecrets").Index(i), "secret"))
	}
	for i := range s.ResourceClaims {
		errs = append(errs, refers(path.Child("resourceClaims").Index(i), "resource claim"))
	}
	for i := range s.InitContainers {
		errs = append(errs, envReferences(&s.InitContainers[i], path.Child("initContainers").Index(i))...)
	}
	for i := range s.Containers {
		errs = append(errs, envReferences(&s.Containers[i], path.Child("containers").Index(i))...)
	}
	for i := range s.Volumes {
		errs = append(errs, volumeReferences(&s.Volumes[i].VolumeSource, path.Child("volumes").Index(i))...)
	}
	return errs
}

func envReferences(c *corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range c.EnvFrom {
		at := path.Child("envFrom").Index(i)
		if e.ConfigMapRef != nil {
			errs = append(errs, refers(at.Child("configMapRef"), "config map"))
		}
		if e.SecretRef != nil {
			errs = append(errs, refers(at.Child("secretRef"), "secret"))
		}
	}
	for i, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		at := path.Child("env").Index(i).Child("valueFrom")
		if e.ValueFrom.ConfigMapKeyRef != nil {
			errs = append(errs, refers(at.Child("configMapKeyRef"), "config map"))
		}
		if e.ValueFrom.SecretKeyRef != nil {
			errs = append(errs, refers(at.Child("secretKeyRef"), "secret"))
		}
	}
	return errs
}

func volumeReferences(v *corev1.VolumeSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, r := range []struct {
		given       bool
		field, kind string
	}{
		{v.ConfigMap != nil, "configMap", "config map"},
		{v.Secret != nil, "secret", "secret"},
		{v.PersistentVolumeClaim != nil, "persistentVolumeClaim", "persistent volume claim"},
		{v.Ephemeral != nil, "ephemeral", "persistent volume claim"},
		{v.CSI != nil, "csi", "CSI driver"},
	} {
		if r.given {
			errs = append(errs, refers(path.Child(r.field), r.kind))
		}
	}
	if v.Projected == nil {
		return errs
	}
	for i, s := range v.Projected.Sources {
		at := path.Child("projected", "sources").Index(i)
		if s.ConfigMap != nil {
			errs = append(errs, refers(at.Child("configMap"), "config map"))
		}
		if s.Secret != nil {
			errs = append(errs, refers(at.Child("secret"), "secret"))
		}
		if s.ServiceAccountToken != nil {
			errs = append(errs, refers(at.Child("serviceAccountToken"), "service account"))
		}
		if s.ClusterTrustBundle != nil {
			errs = append(errs, refers(at.Child("clusterTrustBundle"), "cluster trust bundle"))
		}
		if s.PodCertificate != nil {
			errs = append(errs, refers(at.Child("podCertificate"), "signer"))
		}
	}
	return errs
}
