package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// defaultMode is that of a file whose volume does not say.
const defaultMode = 0o644

var errNoCluster = errors.New("not supported by a node without a cluster")

// made tells whether the volume's files are made from objects or from the Pod, and therefore made anew when these change.
func made(v *corev1.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
}

// Uses tells whether a volume of the Pod shows the object. Kind is ConfigMap or Secret.
func Uses(pod *corev1.Pod, kind, name string) bool {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		used := v.ConfigMap != nil && kind == "ConfigMap" && v.ConfigMap.Name == name ||
			v.Secret != nil && kind == "Secret" && v.Secret.SecretName == name
		if v.Projected != nil {
			for j := range v.Projected.Sources {
				s := &v.Projected.Sources[j]
				used = used || s.ConfigMap != nil && kind == "ConfigMap" && s.ConfigMap.Name == name ||
					s.Secret != nil && kind == "Secret" && s.Secret.Name == name
			}
		}
		if used {
			return true
		}
	}
	return false
}

// Downward tells whether a volume shows fields of the Pod itself.
func Downward(pod *corev1.Pod) bool {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.DownwardAPI != nil {
			return true
		}
		if v.Projected == nil {
			continue
		}
		for j := range v.Projected.Sources {
			if v.Projected.Sources[j].DownwardAPI != nil {
				return true
			}
		}
	}
	return false
}

// build makes the files of one volume.
type build struct {
	World
	pod       *corev1.Pod
	files     payload
	refreshAt time.Time
}

// project makes the volume show what its sources say now. The time is when a token in it grows old.
func project(ctx context.Context, w World, pod *corev1.Pod, v *corev1.Volume) (time.Time, error) {
	b := &build{World: w, pod: pod, files: payload{}}
	if err := b.volume(ctx, v); err != nil {
		return time.Time{}, err
	}
	if err := ctx.Err(); err != nil { // nobody waits any more
		return time.Time{}, err
	}
	return b.refreshAt, write(w.Root, string(pod.UID), v.Name, b.files)
}

func (b *build) volume(ctx context.Context, v *corev1.Volume) error {
	switch {
	case v.ConfigMap != nil:
		s := v.ConfigMap
		return b.configMap(ctx, s.Name, s.Items, s.Optional, s.DefaultMode)
	case v.Secret != nil:
		s := v.Secret
		return b.secret(ctx, s.SecretName, s.Items, s.Optional, s.DefaultMode)
	case v.DownwardAPI != nil:
		return b.downward(v.DownwardAPI.Items, v.DownwardAPI.DefaultMode)
	}
	var errs []error
	for i := range v.Projected.Sources {
		if err := b.source(ctx, &v.Projected.Sources[i], v.Projected.DefaultMode); err != nil {
			errs = append(errs, err)
		}
	}
	return utilerrors.NewAggregate(errs) // all that is missing at once, as the kubelet does
}

func (b *build) source(ctx context.Context, s *corev1.VolumeProjection, mode *int32) error {
	switch {
	case s.ConfigMap != nil:
		return b.configMap(ctx, s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional, mode)
	case s.Secret != nil:
		return b.secret(ctx, s.Secret.Name, s.Secret.Items, s.Secret.Optional, mode)
	case s.DownwardAPI != nil:
		return b.downward(s.DownwardAPI.Items, mode)
	case s.ServiceAccountToken != nil:
		return b.token(ctx, s.ServiceAccountToken, mode)
	}
	return fmt.Errorf("projected: kind %s is not supported by this node; "+
		"supported: configMap, downwardAPI, secret, serviceAccountToken", setField(*s))
}

func (b *build) configMap(ctx context.Context, name string, items []corev1.KeyToPath, optional *bool, mode *int32) error {
	if b.Objects == nil {
		return fmt.Errorf("configMap %q: %w", name, errNoCluster)
	}
	cm, err := b.Objects.ConfigMap(ctx, b.pod.Namespace, name)
	if err != nil {
		return unlessOptional(err, optional)
	}
	keys := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		keys[k] = []byte(v)
	}
	maps.Copy(keys, cm.BinaryData)
	return b.keys(keys, items, optional, mode, "configmap references non-existent config key: ")
}

func (b *build) secret(ctx context.Context, name string, items []corev1.KeyToPath, optional *bool, mode *int32) error {
	if b.Objects == nil {
		return fmt.Errorf("secret %q: %w", name, errNoCluster)
	}
	s, err := b.Objects.Secret(ctx, b.pod.Namespace, name)
	if err != nil {
		return unlessOptional(err, optional)
	}
	return b.keys(s.Data, items, optional, mode, "references non-existent secret key: ")
}

// keys makes a file of each key, or of those that items name.
func (b *build) keys(keys map[string][]byte, items []corev1.KeyToPath, optional *bool, mode *int32, missing string) error {
	if len(items) == 0 {
		for k, data := range keys {
			if err := b.add(k, data, mode, nil); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		data, ok := keys[item.Key]
		if !ok && optional != nil && *optional {
			continue
		}
		if !ok {
			return errors.New(missing + item.Key)
		}
		if err := b.add(item.Path, data, mode, item.Mode); err != nil {
			return err
		}
	}
	return nil
}

func (b *build) downward(items []corev1.DownwardAPIVolumeFile, mode *int32) error {
	for i := range items {
		item := &items[i]
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			if value, err = b.Field(item.FieldRef.FieldPath); err != nil {
				return fmt.Errorf("downwardAPI.items[%d].fieldRef.fieldPath: %w", i, err)
			}
		case item.ResourceFieldRef != nil:
			if value, err = b.Resource(item.ResourceFieldRef.ContainerName, item.ResourceFieldRef); err != nil {
				return fmt.Errorf("downwardAPI.items[%d].resourceFieldRef.%w", i, err)
			}
		default:
			return fmt.Errorf("downwardAPI.items[%d]: no source is given", i)
		}
		if err := b.add(item.Path, []byte(value), mode, item.Mode); err != nil {
			return err
		}
	}
	return nil
}

func (b *build) token(ctx context.Context, p *corev1.ServiceAccountTokenProjection, mode *int32) error {
	if b.Objects == nil {
		return fmt.Errorf("serviceAccountToken: %w", errNoCluster)
	}
	token, refreshAt, err := b.Objects.Token(ctx, b.pod, *p)
	if err != nil {
		return err
	}
	if !refreshAt.IsZero() && (b.refreshAt.IsZero() || refreshAt.Before(b.refreshAt)) {
		b.refreshAt = refreshAt
	}
	return b.add(p.Path, []byte(token), mode, nil)
}

// add puts a file into the volume; own is its mode, common that of files that have none.
func (b *build) add(path string, data []byte, common, own *int32) error {
	if err := checkFilePath(path); err != nil {
		return err
	}
	mode := fs.FileMode(defaultMode)
	if common != nil {
		mode = fs.FileMode(*common)
	}
	if own != nil {
		mode = fs.FileMode(*own)
	}
	if mode > 0o777 {
		return fmt.Errorf("mode of %q: want 0 to 0777 (got %#o)", path, uint32(mode))
	}
	b.files[path] = file{data, mode}
	return nil
}

// unlessOptional is nil for the absence of an optional object. Whether it is absent must be known for that.
func unlessOptional(err error, optional *bool) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
