package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// Mounts resolves the volumeMounts of a container, whose volumes Setup has made. Directories that a subPath names and
// that do not exist are made. Expand replaces $(VAR) in a subPathExpr.
func Mounts(root string, pod *corev1.Pod, c *corev1.Container, expand func(string) (string, error)) ([]bundle.Mount, error) {
	if len(c.VolumeDevices) > 0 {
		return nil, errors.New("volumeDevices: block devices are not supported by this node")
	}
	mounts := make([]bundle.Mount, 0, len(c.VolumeMounts))
	taken := make(map[string]string, len(c.VolumeMounts))
	for i := range c.VolumeMounts {
		vm := &c.VolumeMounts[i]
		m, err := mount(root, pod, vm, expand)
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

func mount(root string, pod *corev1.Pod, vm *corev1.VolumeMount, expand func(string) (string, error)) (bundle.Mount, error) {
	guest, err := guestPath(vm.MountPath)
	if err != nil {
		return bundle.Mount{}, err
	}
	host, err := hostPath(root, pod, vm.Name)
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
	if sub != "" {
		if host, err = subPath(host, sub); err != nil {
			return bundle.Mount{}, err
		}
	}
	return bundle.Mount{Host: host, Guest: guest, ReadOnly: vm.ReadOnly}, nil
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

// hostPath is where the volume is on the host. A hostPath without a type that does not exist is made a directory, as
// container runtimes do. Symlinks of the node are resolved here, since the shim follows none.
func hostPath(root string, pod *corev1.Pod, name string) (string, error) {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		switch {
		case v.Name != name:
		case v.HostPath != nil:
			if err := checkHostPath(v.HostPath); err != nil {
				return "", err
			}
			if err := createDir(v.HostPath.Path); err != nil {
				return "", fmt.Errorf("hostPath: %w", err)
			}
			host, err := filepath.EvalSymlinks(v.HostPath.Path)
			if err != nil {
				return "", fmt.Errorf("hostPath: %w", err)
			}
			return host, nil
		case v.EmptyDir != nil:
			return emptyDirPath(root, string(pod.UID), name)
		default:
			return "", fmt.Errorf("volume %q: kind %s is not supported by this node; %s", name, kindOf(v), supported)
		}
	}
	return "", fmt.Errorf("name: the Pod has no volume %q", name)
}

// emptyDirPath is where an emptyDir is. The Pod's directory may be behind a symlink of the node, nothing in it.
func emptyDirPath(root, podUID, name string) (string, error) {
	podDir, err := bundle.PodDir(root, podUID)
	if err != nil {
		return "", err
	}
	if podDir, err = filepath.EvalSymlinks(podDir); err != nil {
		return "", fmt.Errorf("emptyDir: %w", err)
	}
	return filepath.Join(podDir, dirName, name), nil
}

// subPath finds or makes a directory or file below a volume. Both the volume's path and the result are free of symlinks;
// the shim refuses the result if a guest has put one there meanwhile.
func subPath(volume, sub string) (string, error) {
	if filepath.IsAbs(sub) {
		return "", fmt.Errorf("subPath: must not be an absolute path (got %q)", sub)
	}
	if err := checkBacksteps("subPath", sub); err != nil {
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
