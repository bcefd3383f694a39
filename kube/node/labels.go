package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	// OS is the node's label kubernetes.io/os.
	OS = "linux"
	// Arch is the node's label kubernetes.io/arch; Krustlet's manifests select it.
	Arch = "wasm32-wasi"
	// Architecture is nodeInfo.architecture.
	Architecture = "wasm-wasi"

	// LabelHostArch tells the architecture of the machine below, for those who care.
	LabelHostArch = "wazlet.dev/host-arch"
	// LabelWASI tells which version of WASI guests find: p1 is preview 1.
	LabelWASI = "wazlet.dev/wasi"

	labelBetaOS   = "beta.kubernetes.io/os"
	labelBetaArch = "beta.kubernetes.io/arch"

	annotationAttach = "volumes.kubernetes.io/controller-managed-attach-detach"
)

// labels are those of the Node: the default ones, overridden by configured ones.
func (c Config) labels() map[string]string {
	labels := map[string]string{
		corev1.LabelHostname: c.Hostname,
		corev1.LabelOSStable: OS, labelBetaOS: OS,
		corev1.LabelArchStable: Arch, labelBetaArch: Arch,
		LabelHostArch: c.HostArch,
		LabelWASI:     "p1",
	}
	maps.Copy(labels, c.Labels)
	return labels
}

// ValidateLabels checks configured labels: keys and values have to be well-formed, and of the keys of kubernetes.io and
// k8s.io only those that the NodeRestriction admission lets a node set on itself are allowed.
func ValidateLabels(path *field.Path, labels map[string]string) field.ErrorList {
	var errs field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		for _, problem := range validation.IsQualifiedName(key) {
			errs = append(errs, field.Invalid(path, key, problem))
		}
		for _, problem := range validation.IsValidLabelValue(labels[key]) {
			errs = append(errs, field.Invalid(path.Key(key), labels[key], problem))
		}
		if reserved(key) && !allowed(key) {
			errs = append(errs, field.Invalid(path, key, fmt.Sprintf(
				"a node may not give itself this label; of kubernetes.io and k8s.io it may set %s, and keys below %s",
				strings.Join(ownLabels(), ", "), strings.Join(ownNamespaces(), " and "))))
		}
	}
	return errs
}

func reserved(key string) bool {
	return within(key, "kubernetes.io") || within(key, "k8s.io")
}

func allowed(key string) bool {
	return slices.Contains(ownLabels(), key) ||
		slices.ContainsFunc(ownNamespaces(), func(ns string) bool { return within(key, ns) })
}

// within says whether the key's prefix is the domain or a subdomain of it.
func within(key, domain string) bool {
	prefix, _, found := strings.Cut(key, "/")
	return found && (prefix == domain || strings.HasSuffix(prefix, "."+domain))
}

// ownLabels are the labels of kubernetes.io that a node may set on itself (k8s.io/kubelet/pkg/apis).
func ownLabels() []string {
	return []string{
		labelBetaArch, corev1.LabelInstanceType, labelBetaOS,
		corev1.LabelFailureDomainBetaRegion, corev1.LabelFailureDomainBetaZone,
		corev1.LabelArchStable, corev1.LabelHostname, corev1.LabelOSStable,
		corev1.LabelInstanceTypeStable, corev1.LabelTopologyRegion, corev1.LabelTopologyZone,
	}
}

func ownNamespaces() []string {
	return []string{corev1.LabelNamespaceSuffixKubelet, corev1.LabelNamespaceSuffixNode}
}

// DefaultTaints keep Pods away that do not know what they would run on.
func DefaultTaints() []corev1.Taint {
	return []corev1.Taint{
		{Key: corev1.LabelArchStable, Value: Arch, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.LabelArchStable, Value: Arch, Effect: corev1.TaintEffectNoExecute},
	}
}

// ParseTaint reads key[=value]:effect, as kubectl taint does.
func ParseTaint(s string) (corev1.Taint, error) {
	name, effect, found := strings.Cut(s, ":")
	key, value, _ := strings.Cut(name, "=")
	taint := corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)}
	if !found {
		return corev1.Taint{}, fmt.Errorf("taint: want key=value:effect (got %q)", s)
	}
	if errs := ValidateTaints(field.NewPath("taint"), []corev1.Taint{taint}); len(errs) > 0 {
		return corev1.Taint{}, errs.ToAggregate()
	}
	return taint, nil
}

// ValidateTaints checks configured taints as the API server would.
func ValidateTaints(path *field.Path, taints []corev1.Taint) field.ErrorList {
	effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
	type identity struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := map[identity]bool{}
	var errs field.ErrorList
	for i, t := range taints {
		at := path.Index(i)
		errs = append(errs, metav1validation.ValidateLabelName(t.Key, at.Child("key"))...)
		for _, problem := range validation.IsValidLabelValue(t.Value) {
			errs = append(errs, field.Invalid(at.Child("value"), t.Value, problem))
		}
		if !slices.Contains(effects, t.Effect) {
			errs = append(errs, field.NotSupported(at.Child("effect"), t.Effect, effects))
		}
		if id := (identity{t.Key, t.Effect}); seen[id] {
			errs = append(errs, field.Duplicate(at, t.ToString()))
		} else {
			seen[id] = true
		}
	}
	return errs
}

// ValidateReserved checks reservations.
func ValidateReserved(path *field.Path, reserved corev1.ResourceList) field.ErrorList {
	names := []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourcePods}
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(reserved)) {
		if !slices.Contains(names, name) {
			errs = append(errs, field.NotSupported(path, name, names))
		} else if q := reserved[name]; q.Sign() < 0 {
			errs = append(errs, field.Invalid(path.Key(string(name)), q.String(), "must not be negative"))
		}
	}
	return errs
}

// initial is the Node as it is registered, without its status.
func (c Config) initial() *corev1.Node {
	taints := c.Taints
	if taints == nil {
		taints = DefaultTaints()
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: c.NodeName, Labels: c.labels(), Annotations: map[string]string{annotationAttach: "true"},
		},
		Spec: corev1.NodeSpec{Taints: slices.Clone(taints), ProviderID: c.ProviderID},
	}
}
