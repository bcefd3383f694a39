package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// Mounts resolves the volumeMounts of a container, whose volumes Setup has made. Directories that a subPath names and
// that do not exist are made, but for volumes whose files the node makes: these are always read-only, and a file of one
// stays what it is now. Expand replaces $(VAR) in a subPathExpr.
func Mounts(root string, pod *corev1.Pod, c *corev1.Container, expand func(string) (string, error)) ([]bundle.Mount, error) {
	if len(c.VolumeDevices) > 0 {
		return nil, errors.New("volumeDevices: block devices are not supported by this node")
	}
	mounts := make([]bundle.Mount, 0, len(c.VolumeMounts))
	taken := make(map[string]string, len(c.VolumeMounts))
	for i := range c.VolumeMounts {
		vm := &c.VolumeMounts[i]
		m, err := mount(root, pod, fmt.Sprintf("%s-%d", c.Name, i), vm, expand)
		if err != nil {
			return nil, fmt.Errorf("volumeMounts[%d]: %w", i, err)
		}
		if by, ok := taken[m.Guest]; ok {
			return nil, fmt.Errorf("volumeMounts[%d].mountPath: %q is the mountPath of volume %q already", i, vm.MountPath, by)
		}
		taken[m.Guest] = vm.Name
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// mount resolves one volumeMount; id is a name for it that no other of the Pod has.
func mount(
	root string, pod *corev1.Pod, id string, vm *corev1.VolumeMount, expand func(string) (string, error),
) (bundle.Mount, error) {
	guest, err := guestPath(vm.MountPath)
	if err != nil {
		return bundle.Mount{}, err
	}
	host, fixed, err := hostPath(root, pod, vm.Name)
	if err != nil {
		return bundle.Mount{}, err
	}
	sub := vm.SubPath
	if vm.SubPathExpr != "" {
		if sub != "" {
			return bundle.Mount{}, errors.New("subPathExpr: not allowed together with subPath")
		}
		if sub, err = expand(vm.SubPathExpr); err != nil {
			return bundle.Mount{}, fmt.Errorf("subPathExpr: %w", err)
		}
	}
	switch {
	case sub != "" && fixed:
		host, err = pinned(root, string(pod.UID), id, vm.Name, sub)
	case sub != "":
		host, err = subPath(host, sub)
	}
	return bundle.Mount{Host: host, Guest: guest, ReadOnly: vm.ReadOnly || fixed}, err
}

// guestPath is a mountPath made absolute and clean.
func guestPath(path string) (string, error) {
	if path == "" {
		return "", errors.New("mountPath: must not be empty")
	}
	if strings.Contains(path, ":") {
		return "", fmt.Errorf("mountPath: must not contain ':' (got %q)", path)
	}
	if err := checkBacksteps("mountPath", path); err != nil {
		return "", err
	}
	guest := filepath.Clean("/" + path)
	if guest == "/" {
		return "", fmt.Errorf("mountPath: must not be the root directory (got %q)", path)
	}
	return guest, nil
}

// hostPath is where the volume is on the host, and whether the node makes its files. A hostPath without a type that does
// not exist is made a directory, as container runtimes do. Symlinks of the node are resolved here, since the shim follows
// none.
func hostPath(root string, pod *corev1.Pod, name string) (path string, fixed bool, err error) {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		switch {
		case v.Name != name:
		case v.HostPath != nil:
			if err := checkHostPath(v.HostPath); err != nil {
				return "", false, err
			}
			if err := createDir(v.HostPath.Path); err != nil {
				return "", false, fmt.Errorf("hostPath: %w", err)
			}
			host, err := filepath.EvalSymlinks(v.HostPath.Path)
			if err != nil {
				return "", false, fmt.Errorf("hostPath: %w", err)
			}
			return host, false, nil
		case v.EmptyDir != nil || made(v):
			dir, err := volumesDir(root, string(pod.UID))
			return filepath.Join(dir, name), made(v), err
		default:
			return "", false, fmt.Errorf("volume %q: kind %s is not supported by this node; %s",
				name, setField(v.VolumeSource), supportedCluster)
		}
	}
	return "", false, fmt.Errorf("name: the Pod has no volume %q", name)
}

// Dirs returns the directories of a Pod's own volumes, by name: all kinds but hostPath. Whether they exist is not looked at.
func Dirs(root string, pod *corev1.Pod) map[string]string {
	dir, err := volumesDir(root, string(pod.UID))
	if err != nil {
		return nil // then it has none
	}
	out := map[string]string{}
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.HostPath == nil && len(validation.IsDNS1123Label(v.Name)) == 0 {
			out[v.Name] = filepath.Join(dir, v.Name)
		}
	}
	return out
}

// volumesDir is where the Pod's own volumes are. The Pod's directory may be behind a symlink of the node, nothing in it.
func volumesDir(root, podUID string) (string, error) {
	podDir, err := bundle.PodDir(root, podUID)
	if err != nil {
		return "", err
	}
	if podDir, err = filepath.EvalSymlinks(podDir); err != nil {
		return "", fmt.Errorf("find the Pod's volumes: %w", err)
	}
	return filepath.Join(podDir, dirName), nil
}

// subPath finds or makes a directory or file below a volume. Both the volume's path and the result are free of symlinks;
// the shim refuses the result if a guest has put one there meanwhile.
func subPath(volume, sub string) (string, error) {
	if err := checkSubPath(sub); err != nil {
		return "", err
	}
	r, err := os.OpenRoot(volume)
	if err != nil {
		return "", fmt.Errorf("subPath: %w", err)
	}
	defer r.Close()
	if _, err := r.Stat(sub); errors.Is(err, fs.ErrNotExist) {
		if err := r.MkdirAll(sub, 0o777); err != nil {
			return "", fmt.Errorf("subPath: %w", err)
		}
	} else if err != nil {
		return "", fmt.Errorf("subPath: %w", err)
	}
	real, err := filepath.EvalSymlinks(filepath.Join(volume, sub))
	if err != nil {
		return "", fmt.Errorf("subPath: %w", err)
	}
	if rel, err := filepath.Rel(volume, real); err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("subPath: %q leads out of the volume", sub)
	}
	return real, nil
}

func checkSubPath(sub string) error {
	if filepath.IsAbs(sub) {
		return fmt.Errorf("subPath: must not be an absolute path (got %q)", sub)
	}
	return checkBacksteps("subPath", sub)
}

// pinnedDir is where files of volumes that the node makes are kept for the containers that mount them alone. No volume
// can have that name.
const pinnedDir = "..pinned"

// pinned finds what a subPath of a volume that the node makes names. A file is linked to a place of its own: the volume's
// next content replaces the directory it is in, and the container must go on seeing the file it began with, as it does
// with the kubelet.
func pinned(root, podUID, id, volume, sub string) (string, error) {
	if err := checkSubPath(sub); err != nil {
		return "", err
	}
	dir, err := volumesDir(root, podUID)
	if err != nil {
		return "", err
	}
	r, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("subPath: %w", err)
	}
	defer r.Close()
	real, info, err := currentFile(r, volume, sub)
	if err != nil {
		return "", fmt.Errorf("subPath: %w", err)
	}
	if info.IsDir() {
		return filepath.Join(dir, real), nil
	}
	place := filepath.Join(pinnedDir, id)
	if err := r.RemoveAll(place); err != nil {
		return "", fmt.Errorf("subPath: %w", err)
	}
	if err := r.MkdirAll(place, 0o755); err != nil {
		return "", fmt.Errorf("subPath: %w", err)
	}
	place = filepath.Join(place, filepath.Base(sub))
	if err := r.Link(real, place); err != nil {
		return "", fmt.Errorf("subPath: %w", err)
	}
	return filepath.Join(dir, place), nil
}

// currentFile is a file of a volume that the node makes, by a path without links. Nothing is ever made there: what is not
// there is an error.
func currentFile(r *os.Root, volume, sub string) (string, fs.FileInfo, error) {
	v, err := r.OpenRoot(volume)
	if err != nil {
		return "", nil, err
	}
	defer v.Close()
	current := currentDir(v)
	if current == "" {
		return "", nil, fmt.Errorf("%q is not there", sub)
	}
	real := filepath.Join(volume, current, sub)
	info, err := r.Lstat(real)
	if err != nil {
		return "", nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return "", nil, fmt.Errorf("%q is neither a file nor a directory", sub)
	}
	return real, info, nil
}
