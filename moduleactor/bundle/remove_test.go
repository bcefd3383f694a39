package bundle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nested makes directories in each other, as a guest does it, with a file in each.
func nested(t *testing.T, dir string, levels int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range levels {
		file, ferr := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY, 0o600)
		err := errors.Join(ferr, unix.Close(file), unix.Mkdirat(fd, "deeper", 0o700))
		below, operr := unix.Openat(fd, "deeper", unix.O_DIRECTORY, 0)
		if err := errors.Join(err, operr, unix.Close(fd)); err != nil {
			t.Fatal(err)
		}
		fd = below
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
}

// fewFiles limits the descriptors of this process to those that are open and some more.
func fewFiles(t *testing.T, more int) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: uint64(len(open) + more), Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	})
}

// TestRemoveTree removes more levels than there may be descriptors, and nothing beside.
func TestRemoveTree(t *testing.T) {
	dir := t.TempDir()
	tree, outside := filepath.Join(dir, "tree"), filepath.Join(dir, "outside")
	for _, d := range []string{tree, filepath.Join(tree, "a"), filepath.Join(tree, "b"), outside} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(outside, "file"), nil, 0o600), os.Symlink(outside, filepath.Join(tree, "absolute")),
		os.Symlink("../../outside", filepath.Join(tree, "a", "relative")), os.Symlink("nowhere", filepath.Join(tree, "dangling")),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"a", "b"} {
		nested(t, filepath.Join(tree, d), 1000)
	}
	for range removeBatch + 10 {
		f, err := os.CreateTemp(tree, "many-*")
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	fewFiles(t, 2*maxNesting+40)
	if err := RemoveTree(tree); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(tree); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(outside, "file")); err != nil {
		t.Error(err)
	}
}

func TestRemoveTreeOfOtherKinds(t *testing.T) {
	dir := t.TempDir()
	err := errors.Join(
		os.Mkdir(filepath.Join(dir, "outside"), 0o700), os.WriteFile(filepath.Join(dir, "outside", "kept"), nil, 0o600),
		os.Symlink("outside", filepath.Join(dir, "link")), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "file", "nothing", "no/thing"} {
		if err := RemoveTree(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "outside", "kept")); err != nil {
		t.Error(err)
	}
	if err := RemoveTree(filepath.Join(dir, "outside", "kept", "x")); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("below a file: %v", err)
	}
}
