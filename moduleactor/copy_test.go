package moduleactor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// tree makes a directory: a name that ends in / is a directory, a value that begins with -> a symlink.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		switch target, link := strings.CutPrefix(text, "->"); {
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(path, 0o700))
		case link:
			err = errors.Join(err, os.Symlink(target, path))
		default:
			err = errors.Join(err, os.WriteFile(path, []byte(text), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			out[name+"/"] = ""
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			out[name] = "->" + target
			return err
		default:
			data, err := os.ReadFile(path)
			out[name] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCopyTree(t *testing.T) {
	want := map[string]string{
		"etc/": "", "etc/conf": "a=b", "empty/": "", "bin/": "", "bin/app.wasm": "\x00asm",
		"inside": "->etc/conf", "outside": "->/etc/passwd", "up": "->../../..", "dangling": "->nowhere",
	}
	src := tree(t, want)
	if err := os.Chmod(filepath.Join(src, "etc"), 0o500); err != nil { //nolint:gosec // a directory that cannot be written
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(src, "etc"), 0o700) }) //nolint:gosec // so that it can be removed
	dst := filepath.Join(t.TempDir(), "rootfs")
	if err := copyTree(t.Context(), src, dst, defaultCopyLimits); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, read(t, dst)); d != "" {
		t.Errorf("copy (-want +got):\n%s", d)
	}
	info, err := os.Stat(filepath.Join(dst, "etc"))
	if err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("mode of etc: %v, %v; want 0500", info.Mode(), err)
	}
	_ = os.Chmod(filepath.Join(dst, "etc"), 0o700) //nolint:gosec // so that it can be removed
}

func TestCopyTreeRefuses(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	fifo := tree(t, nil)
	if err := unix.Mkfifo(filepath.Join(fifo, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		ctx    context.Context //nolint:containedctx // a table
		src    string
		limits copyLimits
		want   string
	}{
		{"too many files", t.Context(), tree(t, map[string]string{"a": "", "b": "", "c": ""}), copyLimits{files: 2, bytes: 9}, "more than 2 files"},
		{"too many bytes", t.Context(), tree(t, map[string]string{"a": "12345", "b": "12345"}), copyLimits{files: 9, bytes: 9}, "more than 9 bytes"},
		{"no such directory", t.Context(), "/nowhere/at/all", defaultCopyLimits, "no such file"},
		{"a pipe", t.Context(), fifo, defaultCopyLimits, "/pipe: neither file, directory nor symlink"},
		{"cancelled", cancelled, tree(t, map[string]string{"a": ""}), defaultCopyLimits, "context canceled"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := copyTree(c.ctx, c.src, filepath.Join(t.TempDir(), "dst"), c.limits)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestCopyTreeOnlyMakes refuses a destination that is there: nothing of another attempt is written over.
func TestCopyTreeOnlyMakes(t *testing.T) {
	if err := copyTree(t.Context(), tree(t, nil), t.TempDir(), defaultCopyLimits); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want %v", err, fs.ErrExist)
	}
}
