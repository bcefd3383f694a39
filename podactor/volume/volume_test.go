package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

const uid = "11111111-2222-3333-4444-555555555555"

func podWith(volumes ...corev1.Volume) *corev1.Pod {
	p := &corev1.Pod{}
	p.UID = uid
	p.Spec.Volumes = volumes
	return p
}

func emptyDir(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

func hostVolume(path string, kind corev1.HostPathType) corev1.Volume {
	return corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}}}
}

// setUp is Setup on a node without a cluster.
func setUp(t *testing.T, root string, pod *corev1.Pod) error {
	t.Helper()
	_, err := Setup(t.Context(), World{Root: root}, pod)
	return err
}

func noExpand(s string) (string, error) { return s, nil }

// wantError checks that err has all words; no words: no error.
func wantError(t *testing.T, err error, words string) {
	t.Helper()
	switch {
	case words == "" && err != nil:
		t.Errorf("error %v, want none", err)
	case words != "" && (err == nil || !strings.Contains(err.Error(), words)):
		t.Errorf("error %v, want %q", err, words)
	}
}

func TestEmptyDir(t *testing.T) {
	root := t.TempDir()
	limit := resource.MustParse("1Mi")
	memory := corev1.Volume{Name: "m", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &limit},
	}}
	pod := podWith(emptyDir("data"), memory)
	for range 2 { // again, as after a restart
		if err := setUp(t, root, pod); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"data", "m"} {
			dir := filepath.Join(root, "pods", uid, ".volumes", name)
			info, err := os.Stat(dir)
			if err != nil || info.Mode() != os.ModeDir|0o777 {
				t.Fatalf("%s: %v, %v; want a directory with mode 0777", dir, info, err)
			}
			if err := os.WriteFile(filepath.Join(dir, "kept"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := Remove(root, uid); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "pods", uid, ".volumes")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("volumes are left: %v", err)
	}
	if err := Remove(root, uid); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
}

func TestSetupRefuses(t *testing.T) {
	secret := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}
	projected := corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}},
	}}}
	nfs := corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}
	huge := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumHugePages}}
	for name, c := range map[string]struct {
		volume corev1.Volume
		want   string
	}{
		"secret":    {corev1.Volume{Name: "v", VolumeSource: secret}, "kind secret is not supported by this node; supported: downwardAPI, emptyDir, hostPath"},
		"projected": {corev1.Volume{Name: "v", VolumeSource: projected}, `secret "s": not supported by a node without a cluster`},
		"nfs":       {corev1.Volume{Name: "v", VolumeSource: nfs}, "kind nfs is not supported by this node"},
		"nothing":   {corev1.Volume{Name: "v"}, "no kind is given"},
		"hugepages": {corev1.Volume{Name: "v", VolumeSource: huge}, `emptyDir.medium: want empty or Memory (got "HugePages")`},
		"name":      {emptyDir("../x"), "name: "},
		"relative":  {hostVolume("tmp", ""), `hostPath.path: must be an absolute path (got "tmp")`},
		"backsteps": {hostVolume("/tmp/../etc", ""), "hostPath.path: must not contain '..'"},
	} {
		t.Run(name, func(t *testing.T) {
			err := setUp(t, t.TempDir(), podWith(c.volume))
			wantError(t, err, c.want)
			var v *Error
			if !errors.As(err, &v) || v.Volume != c.volume.Name {
				t.Errorf("error %v does not name volume %q", err, c.volume.Name)
			}
		})
	}
}

func TestHostPathTypes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	notDir, notFile := "hostPath type check failed: %s is not a directory", "hostPath type check failed: %s is not a file"
	for _, c := range []struct {
		kind corev1.HostPathType
		path string
		want string
		made bool
	}{
		{corev1.HostPathUnset, missing, "", false},
		{corev1.HostPathDirectory, dir, "", true},
		{corev1.HostPathDirectory, missing, notDir, false},
		{corev1.HostPathDirectory, file, notDir, true},
		{corev1.HostPathDirectoryOrCreate, missing, "", true},
		{corev1.HostPathDirectoryOrCreate, dir, "", true},
		{corev1.HostPathDirectoryOrCreate, file, notDir, true},
		{corev1.HostPathFile, file, "", true},
		{corev1.HostPathFile, missing, notFile, false},
		{corev1.HostPathFile, dir, notFile, true},
		{corev1.HostPathFileOrCreate, missing, "", true},
		{corev1.HostPathFileOrCreate, file, "", true},
		{corev1.HostPathFileOrCreate, dir, notFile, true},
		{corev1.HostPathFileOrCreate, filepath.Join(missing, "deep"), "no such file", false},
		{corev1.HostPathSocket, file, "hostPath.type Socket is not supported by this node", true},
		{corev1.HostPathCharDev, "/dev/null", "hostPath.type CharDevice is not supported", true},
		{corev1.HostPathBlockDev, file, "hostPath.type BlockDevice is not supported", true},
		{"Folder", dir, "Folder is an invalid hostPath type", true},
	} {
		t.Run(fmt.Sprintf("%s %s", c.kind, filepath.Base(c.path)), func(t *testing.T) {
			want := c.want
			if strings.Contains(want, "%s") {
				want = fmt.Sprintf(want, c.path)
			}
			wantError(t, setUp(t, t.TempDir(), podWith(hostVolume(c.path, c.kind))), want)
			if _, err := os.Stat(c.path); (err == nil) != c.made {
				t.Errorf("exists: %v, want %t", err, c.made)
			}
			if c.path == missing {
				_ = os.RemoveAll(missing)
			}
		})
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "x" {
		t.Errorf("FileOrCreate changed the file: %q, %v", data, err)
	}
}

func TestMounts(t *testing.T) {
	root := t.TempDir()
	host := t.TempDir()
	created := filepath.Join(host, "created")
	untyped := corev1.Volume{Name: "new", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: created}}}
	v := hostVolume(host, corev1.HostPathDirectory)
	pod := podWith(emptyDir("data"), v, untyped)
	if err := setUp(t, root, pod); err != nil {
		t.Fatal(err)
	}
	c := &corev1.Container{VolumeMounts: []corev1.VolumeMount{
		{Name: "data", MountPath: "/data/"},
		{Name: "v", MountPath: "/ro", ReadOnly: true},
		{Name: "data", MountPath: "sub", SubPath: "a/b"},
		{Name: "new", MountPath: "/new"},
		{Name: "data", MountPath: "/expr", SubPathExpr: "$(POD)"},
	}}
	got, err := Mounts(root, pod, c, func(s string) (string, error) { return strings.ReplaceAll(s, "$(POD)", "p"), nil })
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(root, "pods", uid, ".volumes", "data")
	want := []bundle.Mount{
		{Host: data, Guest: "/data"},
		{Host: host, Guest: "/ro", ReadOnly: true},
		{Host: filepath.Join(data, "a/b"), Guest: "/sub"},
		{Host: created, Guest: "/new"},
		{Host: filepath.Join(data, "p"), Guest: "/expr"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("mounts (-want +got):\n%s", d)
	}
	for _, m := range got {
		if _, err := os.Stat(m.Host); err != nil {
			t.Errorf("%s was not made: %v", m.Host, err)
		}
	}
}

func TestMountsRefuse(t *testing.T) {
	root := t.TempDir()
	pod := podWith(emptyDir("data"), corev1.Volume{Name: "s", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}})
	if err := setUp(t, root, podWith(emptyDir("data"))); err != nil {
		t.Fatal(err)
	}
	one := func(m corev1.VolumeMount) *corev1.Container {
		return &corev1.Container{VolumeMounts: []corev1.VolumeMount{m}}
	}
	for name, c := range map[string]struct {
		container *corev1.Container
		want      string
	}{
		"unknown volume":  {one(corev1.VolumeMount{Name: "x", MountPath: "/x"}), `volumeMounts[0]: name: the Pod has no volume "x"`},
		"unsupported":     {one(corev1.VolumeMount{Name: "s", MountPath: "/x"}), "kind nfs is not supported"},
		"no path":         {one(corev1.VolumeMount{Name: "data"}), "mountPath: must not be empty"},
		"root":            {one(corev1.VolumeMount{Name: "data", MountPath: "/."}), "mountPath: must not be the root directory"},
		"colon":           {one(corev1.VolumeMount{Name: "data", MountPath: "/a:b"}), "mountPath: must not contain ':'"},
		"backsteps":       {one(corev1.VolumeMount{Name: "data", MountPath: "/a/../b"}), "mountPath: must not contain '..'"},
		"absolute sub":    {one(corev1.VolumeMount{Name: "data", MountPath: "/a", SubPath: "/etc"}), "subPath: must not be an absolute path"},
		"sub backsteps":   {one(corev1.VolumeMount{Name: "data", MountPath: "/a", SubPath: "a/../../b"}), "subPath: must not contain '..'"},
		"both subs":       {one(corev1.VolumeMount{Name: "data", MountPath: "/a", SubPath: "a", SubPathExpr: "b"}), "subPathExpr: not allowed together"},
		"block devices":   {&corev1.Container{VolumeDevices: []corev1.VolumeDevice{{}}}, "volumeDevices: block devices are not supported"},
		"same path twice": {&corev1.Container{VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/a"}, {Name: "data", MountPath: "/a/"}}}, `volumeMounts[1].mountPath: "/a/" is the mountPath of volume "data" already`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Mounts(root, pod, c.container, noExpand)
			wantError(t, err, c.want)
		})
	}
	bad := one(corev1.VolumeMount{Name: "data", MountPath: "/a", SubPathExpr: "$(X)"})
	_, err := Mounts(root, pod, bad, func(string) (string, error) { return "", errors.New(`missing value for "X"`) })
	wantError(t, err, `volumeMounts[0]: subPathExpr: missing value for "X"`)
}

// What a guest put into a volume must not lead the host out of it.
func TestHostileSymlinks(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	pod := podWith(emptyDir("data"))
	if err := setUp(t, root, pod); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(root, "pods", uid, ".volumes", "data")
	for link, target := range map[string]string{
		"abs": outside, "rel": "../../../../..", "file": secret, "loop": "loop", "inside": "real", "dangling": filepath.Join(outside, "new"),
	} {
		if err := os.Symlink(target, filepath.Join(data, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(data, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"abs", "abs/deep/er", "rel", "rel/etc", "file", "loop", "dangling", "dangling/x"} {
		t.Run(sub, func(t *testing.T) {
			got, err := subPath(data, sub)
			if err == nil {
				t.Errorf("%s led to %s", sub, got)
			}
		})
	}
	if got, err := subPath(data, "inside/x"); err != nil || got != filepath.Join(data, "real", "x") {
		t.Errorf("a symlink within the volume: %s, %v", got, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("something was made outside: %v, %v", entries, err)
	}
	if err := Remove(root, uid); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(secret); err != nil {
		t.Errorf("Remove reached out of the volume: %v", err)
	}
}

// The Pod's own directory of volumes, replaced by a link, is not followed either.
func TestVolumesDirectoryIsALink(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	podDir := filepath.Join(root, "pods", uid)
	if err := os.MkdirAll(podDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(podDir, ".volumes")); err != nil {
		t.Fatal(err)
	}
	if err := setUp(t, root, podWith(emptyDir("data"))); err == nil {
		t.Error("Setup followed the link")
	}
	if err := Remove(root, uid); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}

// The shim follows no symlink, so those of the node are resolved here; that of a guest is not, see the doc comment.
func TestSymlinksOfTheNode(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"root", "run/app"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"rootlink": "root", "varrun": "run"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(dir, "rootlink")
	pod := podWith(emptyDir("data"), hostVolume(filepath.Join(dir, "varrun"), corev1.HostPathDirectory))
	if _, err := Setup(t.Context(), World{Root: root}, pod); err != nil {
		t.Fatal(err)
	}
	got, err := Mounts(root, pod, &corev1.Container{VolumeMounts: []corev1.VolumeMount{
		{Name: "v", MountPath: "/v"},
		{Name: "v", MountPath: "/app", SubPath: "app"},
		{Name: "data", MountPath: "/data"},
		{Name: "data", MountPath: "/sub", SubPath: "sub"},
	}}, noExpand)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "root", "pods", uid, ".volumes", "data")
	want := []bundle.Mount{
		{Host: filepath.Join(dir, "run"), Guest: "/v"},
		{Host: filepath.Join(dir, "run", "app"), Guest: "/app"},
		{Host: data, Guest: "/data"},
		{Host: filepath.Join(data, "sub"), Guest: "/sub"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("mounts (-want +got):\n%s", d)
	}
}
