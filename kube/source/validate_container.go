package source

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// containerKind says which rules hold for a container.
type containerKind uint8

const (
	mainContainer containerKind = iota + 1
	initContainer
	sidecar
)

func validateContainers(s *corev1.PodSpec, volumes map[string]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range s.InitContainers {
		c, kind := &s.InitContainers[i], initContainer
		if p := c.RestartPolicy; p != nil && *p == corev1.ContainerRestartPolicyAlways {
			kind = sidecar
		}
		errs = append(errs, validateContainer(c, kind, names, volumes, path.Child("initContainers").Index(i))...)
	}
	if len(s.Containers) == 0 {
		errs = append(errs, field.Required(path.Child("containers"), "a Pod has at least one container"))
	}
	for i := range s.Containers {
		errs = append(errs, validateContainer(&s.Containers[i], mainContainer, names, volumes, path.Child("containers").Index(i))...)
	}
	return append(errs, validateHostPorts(s, path)...)
}

// validateContainer adds the container's name to names, which are those already taken.
func validateContainer(c *corev1.Container, kind containerKind, names, volumes map[string]bool, path *field.Path) field.ErrorList {
	errs := all(path.Child("name"), c.Name, validation.IsDNS1123Label)
	if names[c.Name] && c.Name != "" {
		errs = append(errs, field.Duplicate(path.Child("name"), c.Name))
	}
	names[c.Name] = true
	switch {
	case c.Image == "":
		errs = append(errs, field.Required(path.Child("image"), ""))
	case strings.TrimSpace(c.Image) != c.Image:
		errs = append(errs, field.Invalid(path.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, oneOf(path.Child("imagePullPolicy"), c.ImagePullPolicy,
		corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, oneOf(path.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	errs = append(errs, validateEnv(c, path)...)
	errs = append(errs, validatePorts(c.Ports, path.Child("ports"))...)
	errs = append(errs, validateMounts(c, volumes, path)...)
	errs = append(errs, validateResources(&c.Resources, path.Child("resources"))...)
	errs = append(errs, validateRestart(c, kind, path)...)
	return append(errs, validateHooks(c, kind, path)...)
}

func validateEnv(c *corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range c.Env {
		at := path.Child("env").Index(i)
		errs = append(errs, all(at.Child("name"), e.Name, validation.IsRelaxedEnvVarName)...)
		if e.ValueFrom != nil {
			errs = append(errs, validateEnvSource(e, at)...)
		}
	}
	for i, e := range c.EnvFrom {
		if e.Prefix != "" {
			errs = append(errs, all(path.Child("envFrom").Index(i).Child("prefix"), e.Prefix, validation.IsRelaxedEnvVarName)...)
		}
	}
	return errs
}

func validateEnvSource(e corev1.EnvVar, path *field.Path) field.ErrorList {
	from, at := e.ValueFrom, path.Child("valueFrom")
	given := 0
	for _, is := range []bool{
		from.FieldRef != nil, from.ResourceFieldRef != nil, from.ConfigMapKeyRef != nil, from.SecretKeyRef != nil, from.FileKeyRef != nil,
	} {
		if is {
			given++
		}
	}
	switch {
	case e.Value != "":
		return field.ErrorList{field.Forbidden(at, "value and valueFrom exclude each other")}
	case given == 0:
		return field.ErrorList{field.Required(at, "one of fieldRef, resourceFieldRef, fileKeyRef")}
	case given > 1:
		return field.ErrorList{field.Forbidden(at, "must have one source only")}
	case from.FieldRef != nil:
		return validateFieldRef(from.FieldRef, envFields, at.Child("fieldRef"))
	case from.ResourceFieldRef != nil:
		return validateResourceFieldRef(from.ResourceFieldRef, at.Child("resourceFieldRef"))
	}
	return nil
}

// fieldSet says which fields of a Pod a fieldRef may name; the metadata maps also by key.
type fieldSet uint8

const (
	envFields fieldSet = iota + 1
	volumeFields
)

func (s fieldSet) allowed() []string {
	if s == volumeFields {
		return []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	}
	return []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
}

func validateFieldRef(r *corev1.ObjectFieldSelector, set fieldSet, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.APIVersion != "v1" {
		errs = append(errs, field.Invalid(path.Child("apiVersion"), r.APIVersion, "must be v1"))
	}
	at := path.Child("fieldPath")
	if r.FieldPath == "" {
		return append(errs, field.Required(at, ""))
	}
	for _, m := range []string{"metadata.labels", "metadata.annotations"} {
		if key, ok := strings.CutPrefix(r.FieldPath, m+"['"); ok && strings.HasSuffix(key, "']") {
			return append(errs, all(at, strings.TrimSuffix(key, "']"), validation.IsQualifiedName)...)
		}
	}
	return append(errs, oneOf(at, r.FieldPath, set.allowed()...)...)
}

func validateResourceFieldRef(r *corev1.ResourceFieldSelector, path *field.Path) field.ErrorList {
	if r.Resource == "" {
		return field.ErrorList{field.Required(path.Child("resource"), "")}
	}
	if strings.HasPrefix(r.Resource, "limits.hugepages-") || strings.HasPrefix(r.Resource, "requests.hugepages-") {
		return nil
	}
	return oneOf(path.Child("resource"), r.Resource, "limits.cpu", "limits.memory", "limits.ephemeral-storage",
		"requests.cpu", "requests.memory", "requests.ephemeral-storage")
}

func validatePorts(ports []corev1.ContainerPort, path *field.Path) field.ErrorList {
	const number = "must be between 1 and 65535"
	var errs field.ErrorList
	names := map[string]bool{}
	for i, p := range ports {
		at := path.Index(i)
		errs = append(errs, between(at.Child("containerPort"), p.ContainerPort, 1, 65535, number)...)
		if p.HostPort != 0 {
			errs = append(errs, between(at.Child("hostPort"), p.HostPort, 1, 65535, number)...)
		}
		errs = append(errs, oneOf(at.Child("protocol"), p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
		if p.Name == "" {
			continue
		}
		errs = append(errs, all(at.Child("name"), p.Name, validation.IsValidPortName)...)
		if names[p.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
		}
		names[p.Name] = true
	}
	return errs
}

// validateHostPorts finds ports of the host that are taken twice within the Pod.
func validateHostPorts(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	taken := map[corev1.ContainerPort]bool{}
	for i, c := range s.Containers {
		for j, p := range c.Ports {
			port := corev1.ContainerPort{HostPort: p.HostPort, HostIP: p.HostIP, Protocol: p.Protocol}
			if p.HostPort != 0 && taken[port] {
				errs = append(errs, field.Duplicate(path.Child("containers").Index(i).Child("ports").Index(j).Child("hostPort"), p.HostPort))
			}
			taken[port] = true
		}
	}
	return errs
}

func validateMounts(c *corev1.Container, volumes map[string]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	targets := map[string]bool{}
	known := strings.Join(slices.Sorted(maps.Keys(volumes)), ", ")
	for i, m := range c.VolumeMounts {
		at := path.Child("volumeMounts").Index(i)
		switch {
		case m.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case !volumes[m.Name] && known == "":
			errs = append(errs, field.Invalid(at.Child("name"), m.Name, "must be the name of a volume; spec.volumes has none"))
		case !volumes[m.Name]:
			errs = append(errs, field.Invalid(at.Child("name"), m.Name, "must be the name of a volume in spec.volumes, that is one of "+known))
		}
		switch {
		case m.MountPath == "":
			errs = append(errs, field.Required(at.Child("mountPath"), ""))
		case targets[m.MountPath]:
			errs = append(errs, field.Duplicate(at.Child("mountPath"), m.MountPath))
		}
		targets[m.MountPath] = true
		errs = append(errs, inside(at.Child("subPath"), m.SubPath)...)
		errs = append(errs, inside(at.Child("subPathExpr"), m.SubPathExpr)...)
		if m.SubPath != "" && m.SubPathExpr != "" {
			errs = append(errs, field.Forbidden(at.Child("subPathExpr"), "subPath and subPathExpr exclude each other"))
		}
		if p := m.MountPropagation; p != nil {
			errs = append(errs, oneOf(at.Child("mountPropagation"), *p,
				corev1.MountPropagationNone, corev1.MountPropagationHostToContainer, corev1.MountPropagationBidirectional)...)
		}
	}
	return errs
}

func validateResources(r *corev1.ResourceRequirements, path *field.Path) field.ErrorList {
	errs := validateAmounts(r.Limits, nil, path.Child("limits"))
	errs = append(errs, validateAmounts(r.Requests, r.Limits, path.Child("requests"))...)
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		request := r.Requests[name]
		if limit, ok := r.Limits[name]; ok && request.Cmp(limit) > 0 {
			errs = append(errs, field.Invalid(path.Child("requests").Key(string(name)), request.String(),
				"must not be more than the limit, which is "+limit.String()))
		}
	}
	for i := range r.Claims {
		errs = append(errs, refers(path.Child("claims").Index(i), "resource claim"))
	}
	return errs
}

// validateAmounts leaves out what is the same in done: a request that is only there because there is a limit.
func validateAmounts(list, done corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(list)) {
		at, q := path.Key(string(name)), list[name]
		if limit, ok := done[name]; ok && limit.Cmp(q) == 0 {
			continue
		}
		if q.Sign() < 0 {
			errs = append(errs, field.Invalid(at, q.String(), "must not be negative"))
		}
		switch {
		case name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage:
		case strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
		case strings.Contains(string(name), "/"):
			errs = append(errs, all(at, string(name), validation.IsQualifiedName)...)
		default:
			errs = append(errs, field.Invalid(at, string(name),
				"must be cpu, memory, ephemeral-storage, hugepages-SIZE or a qualified name such as vendor.example/device"))
		}
	}
	return errs
}

func validateRestart(c *corev1.Container, kind containerKind, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p := c.RestartPolicy; p != nil {
		errs = append(errs, oneOf(path.Child("restartPolicy"), *p,
			corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyOnFailure, corev1.ContainerRestartPolicyNever)...)
	}
	at := path.Child("restartPolicyRules")
	if len(c.RestartPolicyRules) > 0 && (c.RestartPolicy == nil || kind == sidecar) {
		errs = append(errs, field.Forbidden(at, "needs a restartPolicy of the container, and may not be given for a sidecar"))
	}
	for i, r := range c.RestartPolicyRules {
		errs = append(errs, validateRestartRule(r, at.Index(i))...)
	}
	return errs
}

func validateRestartRule(r corev1.ContainerRestartRule, path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("action"), r.Action,
		corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)
	if r.ExitCodes == nil {
		return append(errs, field.Required(path.Child("exitCodes"), ""))
	}
	at := path.Child("exitCodes")
	errs = append(errs, oneOf(at.Child("operator"), r.ExitCodes.Operator,
		corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)...)
	if n := len(r.ExitCodes.Values); n == 0 || n > 255 {
		errs = append(errs, field.Invalid(at.Child("values"), n, "must be between 1 and 255 codes"))
	}
	for i, v := range r.ExitCodes.Values {
		errs = append(errs, between(at.Child("values").Index(i), v, 0, 255, "must be between 0 and 255")...)
	}
	return errs
}
