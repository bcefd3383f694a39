package source

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validatePod has the rules of the API server (pkg/apis/core/validation) for everything that a node acts on. The Pod has
// its defaults.
func validatePod(pod *corev1.Pod) field.ErrorList {
	meta := pod.ObjectMeta
	// Fields that a server fills in are not a static Pod's, and checked elsewhere if at all.
	errs := apivalidation.ValidateObjectMeta(&metav1.ObjectMeta{
		Name: meta.Name, Namespace: meta.Namespace, Labels: meta.Labels, Annotations: meta.Annotations,
	}, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	for i, e := range errs {
		if e.Type == field.ErrorTypeRequired && e.Field == "metadata.name" {
			errs[i].Detail = "" // ours has no generateName, which the text names
		}
	}
	return append(errs, validateSpec(&pod.Spec, field.NewPath("spec"))...)
}

func validateSpec(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("restartPolicy"), s.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	errs = append(errs, oneOf(path.Child("dnsPolicy"), s.DNSPolicy,
		corev1.DNSClusterFirst, corev1.DNSClusterFirstWithHostNet, corev1.DNSDefault, corev1.DNSNone)...)
	errs = append(errs, notNegative(path.Child("terminationGracePeriodSeconds"), *s.TerminationGracePeriodSeconds)...)
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		errs = append(errs, field.Invalid(path.Child("activeDeadlineSeconds"), *d, "must be between 1 and 2147483647"))
	}
	errs = append(errs, validateNames(s, path)...)
	errs = append(errs, validateTolerations(s.Tolerations, path.Child("tolerations"))...)
	for i, a := range s.HostAliases {
		errs = append(errs, validateHostAlias(a, path.Child("hostAliases").Index(i))...)
	}
	volumes, volumeErrs := validateVolumes(s.Volumes, path.Child("volumes"))
	errs = append(errs, volumeErrs...)
	return append(errs, validateContainers(s, volumes, path)...)
}

func validateNames(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Hostname != "" {
		errs = append(errs, all(path.Child("hostname"), s.Hostname, validation.IsDNS1123Label)...)
	}
	if s.Subdomain != "" {
		errs = append(errs, all(path.Child("subdomain"), s.Subdomain, validation.IsDNS1123Label)...)
	}
	if c := s.RuntimeClassName; c != nil {
		errs = append(errs, all(path.Child("runtimeClassName"), *c, validation.IsDNS1123Subdomain)...)
	}
	if s.PriorityClassName != "" {
		errs = append(errs, all(path.Child("priorityClassName"), s.PriorityClassName, validation.IsDNS1123Subdomain)...)
	}
	return append(errs, metav1validation.ValidateLabels(s.NodeSelector, path.Child("nodeSelector"))...)
}

func validateTolerations(ts []corev1.Toleration, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, t := range ts {
		at := path.Index(i)
		if t.Operator != "" {
			errs = append(errs, oneOf(at.Child("operator"), t.Operator,
				corev1.TolerationOpEqual, corev1.TolerationOpExists, corev1.TolerationOpLt, corev1.TolerationOpGt)...)
		}
		if t.Effect != "" {
			errs = append(errs, oneOf(at.Child("effect"), t.Effect,
				corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		}
		switch {
		case t.Key != "":
			errs = append(errs, metav1validation.ValidateLabelName(t.Key, at.Child("key"))...)
		case t.Operator != corev1.TolerationOpExists:
			errs = append(errs, field.Invalid(at.Child("operator"), t.Operator, "must be Exists when there is no key"))
		}
		if t.Operator == corev1.TolerationOpExists && t.Value != "" {
			errs = append(errs, field.Invalid(at.Child("value"), t.Value, "must be absent when the operator is Exists"))
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			errs = append(errs, field.Invalid(at.Child("effect"), t.Effect, "must be NoExecute when tolerationSeconds is given"))
		}
	}
	return errs
}

func validateHostAlias(a corev1.HostAlias, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if _, err := netip.ParseAddr(a.IP); err != nil {
		errs = append(errs, field.Invalid(path.Child("ip"), a.IP, "must be an IP address"))
	}
	for i, h := range a.Hostnames {
		errs = append(errs, all(path.Child("hostnames").Index(i), h, validation.IsDNS1123Subdomain)...)
	}
	return errs
}

// all returns every objection of a check of Kubernetes.
func all(path *field.Path, value string, check func(string) []string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for _, m := range check(value) {
		errs = append(errs, field.Invalid(path, value, m))
	}
	return errs
}

func oneOf[T ~string](path *field.Path, got T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, got) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, got, allowed)}
}

func notNegative[T int32 | int64](path *field.Path, got T) field.ErrorList {
	if got >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, got, "must not be negative")}
}

func between(path *field.Path, got, least, most int32, detail string) field.ErrorList {
	if got >= least && got <= most {
		return nil
	}
	return field.ErrorList{field.Invalid(path, got, detail)}
}

// inside checks a path that is relative to a volume and must not leave it.
func inside(path *field.Path, got string) field.ErrorList {
	if strings.HasPrefix(got, "/") {
		return field.ErrorList{field.Invalid(path, got, "must be a relative path")}
	}
	return noDotDot(path, got)
}

func noDotDot(path *field.Path, got string) field.ErrorList {
	if slices.Contains(strings.Split(got, "/"), "..") {
		return field.ErrorList{field.Invalid(path, got, "must not contain '..'")}
	}
	return nil
}
