package source

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateVolumes also returns the names that volumeMounts may use.
func validateVolumes(vs []corev1.Volume, path *field.Path) (map[string]bool, field.ErrorList) {
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range vs {
		v, at := &vs[i], path.Index(i)
		errs = append(errs, all(at.Child("name"), v.Name, validation.IsDNS1123Label)...)
		if names[v.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), v.Name))
		}
		names[v.Name] = true
		errs = append(errs, validateVolume(&v.VolumeSource, at)...)
	}
	return names, errs
}

func validateVolume(v *corev1.VolumeSource, path *field.Path) field.ErrorList {
	if given := volumeTypes(v); len(given) > 1 {
		return field.ErrorList{field.Invalid(path, strings.Join(given, ", "), "must be of one type only")}
	}
	var errs field.ErrorList
	switch {
	case v.EmptyDir != nil:
		errs = validateEmptyDir(v.EmptyDir, path.Child("emptyDir"))
	case v.HostPath != nil:
		errs = validateHostPath(v.HostPath, path.Child("hostPath"))
	case v.DownwardAPI != nil:
		errs = validateDownward(v.DownwardAPI.Items, path.Child("downwardAPI", "items"))
		errs = append(errs, validateMode(v.DownwardAPI.DefaultMode, path.Child("downwardAPI", "defaultMode"))...)
	case v.Projected != nil:
		errs = validateProjected(v.Projected, path.Child("projected"))
	case v.Image != nil:
		errs = append(errs, oneOf(path.Child("image", "pullPolicy"), v.Image.PullPolicy,
			corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
		if v.Image.Reference == "" {
			errs = append(errs, field.Required(path.Child("image", "reference"), ""))
		}
	}
	return errs
}

// volumeTypes names the members of the union that are given.
func volumeTypes(v *corev1.VolumeSource) []string {
	var given []string
	for f, value := range reflect.ValueOf(*v).Fields() {
		if !value.IsNil() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			given = append(given, name)
		}
	}
	return given
}

func validateEmptyDir(e *corev1.EmptyDirVolumeSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if e.SizeLimit != nil && e.SizeLimit.Sign() < 0 {
		errs = append(errs, field.Invalid(path.Child("sizeLimit"), e.SizeLimit.String(), "must not be negative"))
	}
	if !strings.HasPrefix(string(e.Medium), string(corev1.StorageMediumHugePages)) {
		errs = append(errs, oneOf(path.Child("medium"), e.Medium, corev1.StorageMediumDefault, corev1.StorageMediumMemory)...)
	}
	return errs
}

func validateHostPath(h *corev1.HostPathVolumeSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case h.Path == "":
		errs = append(errs, field.Required(path.Child("path"), ""))
	case !strings.HasPrefix(h.Path, "/"):
		// The API server lets it pass, and every node resolves it differently.
		errs = append(errs, field.Invalid(path.Child("path"), h.Path, "must be an absolute path"))
	}
	errs = append(errs, noDotDot(path.Child("path"), h.Path)...)
	return append(errs, oneOf(path.Child("type"), *h.Type,
		corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate, corev1.HostPathDirectory, corev1.HostPathFileOrCreate,
		corev1.HostPathFile, corev1.HostPathSocket, corev1.HostPathCharDev, corev1.HostPathBlockDev)...)
}

func validateProjected(p *corev1.ProjectedVolumeSource, path *field.Path) field.ErrorList {
	errs := validateMode(p.DefaultMode, path.Child("defaultMode"))
	for i, s := range p.Sources {
		if s.DownwardAPI != nil {
			errs = append(errs, validateDownward(s.DownwardAPI.Items, path.Child("sources").Index(i).Child("downwardAPI", "items"))...)
		}
	}
	return errs
}

func validateDownward(items []corev1.DownwardAPIVolumeFile, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, it := range items {
		at := path.Index(i)
		if it.Path == "" {
			errs = append(errs, field.Required(at.Child("path"), ""))
		}
		errs = append(errs, inside(at.Child("path"), it.Path)...)
		errs = append(errs, validateMode(it.Mode, at.Child("mode"))...)
		switch {
		case it.FieldRef != nil && it.ResourceFieldRef != nil:
			errs = append(errs, field.Forbidden(at, "fieldRef and resourceFieldRef exclude each other"))
		case it.FieldRef != nil:
			errs = append(errs, validateFieldRef(it.FieldRef, volumeFields, at.Child("fieldRef"))...)
		case it.ResourceFieldRef != nil:
			errs = append(errs, validateResourceFieldRef(it.ResourceFieldRef, at.Child("resourceFieldRef"))...)
			if it.ResourceFieldRef.ContainerName == "" {
				errs = append(errs, field.Required(at.Child("resourceFieldRef", "containerName"), ""))
			}
		default:
			errs = append(errs, field.Required(at.Child("fieldRef"), "or resourceFieldRef"))
		}
	}
	return errs
}

func validateMode(mode *int32, path *field.Path) field.ErrorList {
	if mode == nil {
		return nil
	}
	return between(path, *mode, 0, 0o777, "must be between 0 and 0777 (octal), that is 511 (decimal)")
}
