package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// dirName is where a Pod's own volumes are, in the Pod's directory. No container can have that name.
const dirName = ".volumes"

// What is supported, for error messages: on a node without a cluster, and on one with it.
const (
	supportedAlone   = "supported: downwardAPI, emptyDir, hostPath, projected (of downwardAPI)"
	supportedCluster = "supported: configMap, downwardAPI, emptyDir, hostPath, projected, secret"
)

// Objects is what volumes refer to in a cluster. Its methods block until the answer is known, for a bounded time. An
// object that does not exist is an error for which apierrors.IsNotFound is true.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	// Token returns a token of the Pod's ServiceAccount, and when to ask for the next one.
	Token(ctx context.Context, pod *corev1.Pod, p corev1.ServiceAccountTokenProjection) (token string, refreshAt time.Time, err error)
}

// World is what the volumes of a Pod are made with.
type World struct {
	// Root is the node's state directory.
	Root string
	// Objects is nil on a node without a cluster.
	Objects Objects
	// Field and Resource evaluate the references of downwardAPI files.
	Field    func(path string) (string, error)
	Resource func(container string, f *corev1.ResourceFieldSelector) (string, error)
}

func (w World) supported() string {
	if w.Objects == nil {
		return supportedAlone
	}
	return supportedCluster
}

// Error is why a volume cannot be set up.
type Error struct {
	Volume string
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("volume %q: %v", e.Volume, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Setup makes all volumes of the Pod ready, those that are already, too. An error is an *Error of the first volume that
// cannot be. The time is when Refresh must be called because a token grows old; zero for never.
func Setup(ctx context.Context, w World, pod *corev1.Pod) (time.Time, error) {
	var earliest time.Time
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		at, err := setup(ctx, w, pod, v)
		if err != nil {
			return earliest, &Error{Volume: v.Name, Err: err}
		}
		earliest = sooner(earliest, at)
	}
	return earliest, nil
}

// Refresh brings the files of the volumes that are made from objects or from the Pod up to date. A volume that cannot be
// keeps its content and hides no other: the error is that of the first one.
func Refresh(ctx context.Context, w World, pod *corev1.Pod) (time.Time, error) {
	var earliest time.Time
	var first error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !made(v) {
			continue
		}
		at, err := setup(ctx, w, pod, v)
		if err != nil && first == nil {
			first = &Error{Volume: v.Name, Err: err}
		}
		earliest = sooner(earliest, at)
	}
	return earliest, first
}

// sooner is the earlier of two times, where zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func setup(ctx context.Context, w World, pod *corev1.Pod, v *corev1.Volume) (time.Time, error) {
	if msgs := validation.IsDNS1123Label(v.Name); len(msgs) > 0 {
		return time.Time{}, fmt.Errorf("name: %s (got %q)", strings.Join(msgs, "; "), v.Name)
	}
	switch kind := setField(v.VolumeSource); {
	case v.EmptyDir != nil:
		return time.Time{}, setupEmptyDir(w.Root, string(pod.UID), v)
	case v.HostPath != nil:
		return time.Time{}, checkHostPath(v.HostPath)
	case kind == "":
		return time.Time{}, fmt.Errorf("no kind is given; %s", w.supported())
	case !made(v), w.Objects == nil && (v.ConfigMap != nil || v.Secret != nil):
		return time.Time{}, fmt.Errorf("kind %s is not supported by this node; %s", kind, w.supported())
	}
	return project(ctx, w, pod, v)
}

// setField is the name of the one field of a struct that is not nil, as it stands in a manifest; empty when there is none.
func setField(source any) string {
	s := reflect.ValueOf(source)
	for i := range s.NumField() {
		if f := s.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
			return name
		}
	}
	return ""
}

func setupEmptyDir(root, podUID string, v *corev1.Volume) error {
	switch v.EmptyDir.Medium {
	case corev1.StorageMediumDefault, corev1.StorageMediumMemory:
	default:
		return fmt.Errorf("emptyDir.medium: want empty or Memory (got %q)", v.EmptyDir.Medium)
	}
	podDir, err := bundle.PodDir(root, podUID)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(podDir, 0o700); err != nil {
		return fmt.Errorf("make emptyDir: %w", err)
	}
	r, err := os.OpenRoot(podDir)
	if err != nil {
		return fmt.Errorf("make emptyDir: %w", err)
	}
	defer r.Close()
	name := filepath.Join(dirName, v.Name)
	if err := r.MkdirAll(name, 0o777); err != nil {
		return fmt.Errorf("make emptyDir: %w", err)
	}
	if err := r.Chmod(name, 0o777); err != nil { // MkdirAll is subject to the umask
		return fmt.Errorf("make emptyDir: %w", err)
	}
	return nil
}

// checkHostPath checks and makes what the type says, in the words of the kubelet.
func checkHostPath(h *corev1.HostPathVolumeSource) error {
	if err := checkAbsolute("hostPath.path", h.Path); err != nil {
		return err
	}
	kind := corev1.HostPathUnset
	if h.Type != nil {
		kind = *h.Type
	}
	switch kind {
	case corev1.HostPathUnset:
		return nil
	case corev1.HostPathDirectoryOrCreate:
		if err := createDir(h.Path); err != nil {
			return fmt.Errorf("hostPath: %w", err)
		}
		return wantDir(h.Path)
	case corev1.HostPathDirectory:
		return wantDir(h.Path)
	case corev1.HostPathFileOrCreate:
		if err := createFile(h.Path); err != nil {
			return fmt.Errorf("hostPath: %w", err)
		}
		return wantFile(h.Path)
	case corev1.HostPathFile:
		return wantFile(h.Path)
	case corev1.HostPathSocket, corev1.HostPathCharDev, corev1.HostPathBlockDev:
		return fmt.Errorf("hostPath.type %s is not supported by this node: a guest of WASI cannot open one", kind)
	default:
		return fmt.Errorf("%s is an invalid hostPath type", kind)
	}
}

func wantDir(path string) error {
	if i, err := os.Stat(path); err != nil || !i.IsDir() {
		return fmt.Errorf("hostPath type check failed: %s is not a directory", path)
	}
	return nil
}

func wantFile(path string) error {
	if i, err := os.Stat(path); err != nil || !i.Mode().IsRegular() {
		return fmt.Errorf("hostPath type check failed: %s is not a file", path)
	}
	return nil
}

// createDir makes a directory unless there is something.
func createDir(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.MkdirAll(path, 0o755) //nolint:gosec // the mode that kubelet and container runtimes give
}

// createFile makes an empty file unless there is something; its directory must exist.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // the mode the kubelet gives
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func checkAbsolute(field, path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s: must be an absolute path (got %q)", field, path)
	}
	return checkBacksteps(field, path)
}

func checkBacksteps(field, path string) error {
	for part := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if part == ".." {
			return fmt.Errorf("%s: must not contain '..' (got %q)", field, path)
		}
	}
	return nil
}

// Remove removes the Pod's own volumes. Symlinks in them are removed, never followed; hostPaths stay as they are.
func Remove(root, podUID string) error {
	podDir, err := bundle.PodDir(root, podUID)
	if err != nil {
		return fmt.Errorf("remove volumes: %w", err)
	}
	if err := bundle.RemoveTree(filepath.Join(podDir, dirName)); err != nil {
		return fmt.Errorf("remove volumes: %w", err)
	}
	return nil
}
