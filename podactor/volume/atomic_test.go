package volume

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func text(files ...string) payload {
	p := payload{}
	for _, f := range files {
		name, data, _ := strings.Cut(f, "=")
		p[name] = file{[]byte(data), 0o644}
	}
	return p
}

// tree is everything below dir: files as name=content, links as name->target, directories as name/.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			out = append(out, name+"->"+target)
			return err
		case e.IsDir():
			out = append(out, name+"/")
		default:
			data, err := os.ReadFile(path)
			out = append(out, name+"="+string(data))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func volumeDir(root string) string { return filepath.Join(root, "pods", uid, ".volumes", "v") }

func TestWriteSwaps(t *testing.T) {
	root := t.TempDir()
	for _, c := range []struct {
		files payload
		want  []string
	}{
		{text(), []string{"..1/", "..data->..1"}},
		{text("a=1", "d/b=2", "d/e/c=3"), []string{"..2/", "..2/a=1", "..2/d/", "..2/d/b=2", "..2/d/e/", "..2/d/e/c=3", "..data->..2", "a->..data/a", "d->..data/d"}},
		{text("a=1", "d/b=2", "d/e/c=3"), []string{"..2/", "..2/a=1", "..2/d/", "..2/d/b=2", "..2/d/e/", "..2/d/e/c=3", "..data->..2", "a->..data/a", "d->..data/d"}},
		{text("a=1", "d=file"), []string{"..3/", "..3/a=1", "..3/d=file", "..data->..3", "a->..data/a", "d->..data/d"}},
		{text("a=2"), []string{"..4/", "..4/a=2", "..data->..4", "a->..data/a"}},
	} {
		if err := write(root, uid, "v", c.files); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, tree(t, volumeDir(root))); d != "" {
			t.Errorf("volume (-want +got):\n%s", d)
		}
	}
}

func TestWriteModes(t *testing.T) {
	root := t.TempDir()
	want := payload{"plain": {[]byte("x"), 0o644}, "private": {[]byte("x"), 0o400}, "open": {[]byte("x"), 0o666}}
	for range 2 {
		if err := write(root, uid, "v", want); err != nil {
			t.Fatal(err)
		}
		for name, f := range want {
			info, err := os.Stat(filepath.Join(volumeDir(root), name))
			if err != nil || info.Mode() != f.mode {
				t.Errorf("%s: %v, %v; want %v", name, info, err, f.mode)
			}
		}
	}
	if target, _ := os.Readlink(filepath.Join(volumeDir(root), dataLink)); target != "..1" {
		t.Errorf("..data -> %s: the same content was written again", target)
	}
	want["plain"] = file{[]byte("x"), 0o600}
	if err := write(root, uid, "v", want); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(volumeDir(root), "plain")); err != nil || info.Mode() != 0o600 {
		t.Errorf("another mode is not another content: %v, %v", info, err)
	}
}

// Whatever lies in a volume, put there by a guest, an attacker or a crash, what is outside of it is not touched, and the
// volume shows its files afterwards.
func TestWriteHostile(t *testing.T) {
	for name, plant := range map[string]func(dir, outside string) error{
		"data leads out":          func(dir, out string) error { return os.Symlink(out, filepath.Join(dir, "..data")) },
		"data leads up":           func(dir, _ string) error { return os.Symlink("../../../..", filepath.Join(dir, "..data")) },
		"data is a directory":     func(dir, _ string) error { return os.MkdirAll(filepath.Join(dir, "..data", "x"), 0o700) },
		"data is a file":          func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, "..data"), nil, 0o600) },
		"data has a huge number":  func(dir, _ string) error { return os.Symlink("..9223372036854775807", filepath.Join(dir, "..data")) },
		"next leads out":          func(dir, out string) error { return os.Symlink(out, filepath.Join(dir, "..1")) },
		"next is half written":    func(dir, _ string) error { return os.MkdirAll(filepath.Join(dir, "..1", "a"), 0o700) },
		"temporary link is there": func(dir, out string) error { return os.Symlink(out, filepath.Join(dir, "..data_tmp")) },
		"temporary is a directory": func(dir, _ string) error {
			return os.MkdirAll(filepath.Join(dir, "..data_tmp", "x"), 0o700)
		},
		"file leads out":      func(dir, out string) error { return os.Symlink(filepath.Join(out, "kept"), filepath.Join(dir, "a")) },
		"directory leads out": func(dir, out string) error { return os.Symlink(out, filepath.Join(dir, "d")) },
		"junk":                func(dir, out string) error { return os.Symlink(out, filepath.Join(dir, "junk")) },
		"volume leads out": func(dir, out string) error {
			if err := os.Remove(dir); err != nil {
				return err
			}
			return os.Symlink(out, dir)
		},
		"current has a link inside": func(dir, out string) error {
			if err := os.Mkdir(filepath.Join(dir, "..1"), 0o700); err != nil {
				return err
			}
			if err := os.Symlink(filepath.Join(out, "kept"), filepath.Join(dir, "..1", "a")); err != nil {
				return err
			}
			return os.Symlink("..1", filepath.Join(dir, "..data"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root, outside := t.TempDir(), t.TempDir()
			if err := os.WriteFile(filepath.Join(outside, "kept"), []byte("k"), 0o600); err != nil {
				t.Fatal(err)
			}
			dir := volumeDir(root)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := plant(dir, outside); err != nil {
				t.Fatal(err)
			}
			if err := write(root, uid, "v", text("a=1", "d/b=2")); err != nil {
				t.Fatal(err)
			}
			current, err := os.Readlink(filepath.Join(dir, "..data"))
			if err != nil {
				t.Fatal(err)
			}
			want := []string{current + "/", current + "/a=1", current + "/d/", current + "/d/b=2", "..data->" + current, "a->..data/a", "d->..data/d"}
			if d := cmp.Diff(want, tree(t, dir)); d != "" {
				t.Errorf("volume (-want +got):\n%s", d)
			}
			if d := cmp.Diff([]string{"kept=k"}, tree(t, outside)); d != "" {
				t.Errorf("outside (-want +got):\n%s", d)
			}
		})
	}
}

func TestCheckFilePath(t *testing.T) {
	for _, good := range []string{"a", "a.b", ".hidden", "a/b/c", "a..b", "a/..b"} {
		if err := checkFilePath(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "/", "/etc/passwd", "../x", "a/../b", "a/../../b", "..data", "..1/x", "a//b", "a/", "./a", "a\x00b"} {
		if err := checkFilePath(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzCheckFilePath(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../x", "..data", "/x", "a/./b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkFilePath(name) == nil && (!filepath.IsLocal(name) || filepath.Clean(name) != name || strings.HasPrefix(name, "..")) {
			t.Errorf("%q is accepted", name)
		}
	})
}
