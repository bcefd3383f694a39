package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

const secret = "the secret"

// besideRoot are the files around the guest's root that the guest escape is after, in a directory that Landlock lets the shim
// write to, and the links that lead there.
func besideRoot(t *testing.T, root string) {
	t.Helper()
	beside := filepath.Dir(root)
	err := os.MkdirAll(filepath.Join(beside, "outside", "empty"), 0o700)
	for _, name := range []string{"secret.txt", "secret2.txt", "outside/victim1", "outside/victim2"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(beside, name), []byte(secret), 0o600))
	}
	for name, target := range map[string]string{
		"in": "../secret.txt", "abs": filepath.Join(beside, "secret.txt"), "abs2": "../secret2.txt", "d": "../outside",
	} {
		err = errors.Join(err, os.Symlink(target, filepath.Join(root, name)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// unharmed describes what is around the root, but for the files of the bundle.
func unharmed(t *testing.T, root string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, pattern := range []string{"secret*", "outside", "outside/*", "planted*", "mine"} {
		paths, err := filepath.Glob(filepath.Join(filepath.Dir(root), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			info, err := os.Lstat(p)
			if err != nil {
				t.Fatal(err)
			}
			what := info.Mode().String() + " " + info.ModTime().String()
			if info.Mode().IsRegular() {
				b, err := os.ReadFile(p)
				if err != nil {
					t.Fatal(err)
				}
				what += " " + string(b)
			}
			got[strings.TrimPrefix(p, filepath.Dir(root))] = what
		}
	}
	return got
}

// TestNobodyEscapes runs a guest that tries to leave its files, in both isolations.
func TestNobodyEscapes(t *testing.T) {
	code := enginetest.C(t, "escape.c")
	for isolation, shim := range map[string]string{"process": "", "shared": bundle.SharedShim("")} {
		for kind, readOnly := range map[string]bool{"read-write": false, "read-only": true} {
			t.Run(isolation+" "+kind, func(t *testing.T) {
				d := newDaemon(t)
				spec := d.spec("main", 0, code, func(s *bundle.Spec) { s.RootReadOnly, s.Shim = readOnly, shim })
				besideRoot(t, spec.Rootfs)
				before := unharmed(t, spec.Rootfs)
				if e := d.ended(d.start(spec, bundle.Limits{})); e.Reason != bundle.Completed {
					t.Fatalf("%+v", e)
				}
				out := timestamp.ReplaceAllString(d.log(spec), "")
				var done []string
				for line := range strings.Lines(out) {
					if name, outcome, _ := strings.Cut(strings.TrimPrefix(line, "stdout F "), ": "); strings.HasPrefix(outcome, "done") {
						done = append(done, name)
					}
				}
				var harmless []string
				if !readOnly {
					harmless = []string{"make a link to a file", "make a link to a directory"}
				}
				if diff := cmp.Diff(harmless, done); diff != "" || strings.Count(out, "\n") != 24 {
					t.Errorf("attacks that succeeded: %s\n%s", diff, out)
				}
				if strings.Contains(out, secret) {
					t.Errorf("the secret was read:\n%s", out)
				}
				if diff := cmp.Diff(before, unharmed(t, spec.Rootfs)); diff != "" {
					t.Errorf("the surroundings changed: %s", diff)
				}
			})
		}
	}
}

// inodesBeside are those of the directory that the root is in, and of what is there.
func inodesBeside(t *testing.T, root string) (inodes []string) {
	t.Helper()
	beside := filepath.Dir(root)
	names := []string{beside, filepath.Dir(beside)}
	for _, pattern := range []string{"*", "outside/*"} {
		found, err := filepath.Glob(filepath.Join(beside, pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if name != root {
			inodes = append(inodes, strconv.FormatUint(info.Sys().(*syscall.Stat_t).Ino, 10))
		}
	}
	return inodes
}

// TestNobodyEscapesByAnyCall does so with every call and path, and by directories as deep as one likes, which are removed with the Pod.
func TestNobodyEscapesByAnyCall(t *testing.T) {
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		spec := d.spec("main", 0, enginetest.C(t, "attack.c"), func(s *bundle.Spec) { s.Shim = shim })
		besideRoot(t, spec.Rootfs)
		spec.Args = append([]string{"attack", "all"}, inodesBeside(t, spec.Rootfs)...)
		before := unharmed(t, spec.Rootfs)
		if e := d.ended(d.start(spec, bundle.Limits{})); e.Reason != bundle.Completed {
			t.Errorf("%+v", e)
		}
		if out := timestamp.ReplaceAllString(d.log(spec), ""); out != "stdout F tried enough, 0 leaks\n" {
			t.Error(out)
		}
		if diff := cmp.Diff(before, unharmed(t, spec.Rootfs)); diff != "" {
			t.Errorf("the surroundings changed: %s", diff)
		}
		if err := d.RemovePod(spec.PodUID); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(filepath.Join(d.root, "trash")); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// A guest whose files cannot be opened asks again and again; the shim, whose log has no bound, says so once.
func TestSharedShimComplainsOnce(t *testing.T) {
	d := newDaemon(t)
	spec := d.spec("main", 0, enginetest.C(t, "escape.c"), func(s *bundle.Spec) { s.TerminationMessagePath = "/taken" })
	if err := os.Mkdir(filepath.Join(spec.Rootfs, "taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	if e := d.ended(d.start(spec, bundle.Limits{})); e.Reason != bundle.Completed {
		t.Fatalf("%+v", e)
	}
	text, err := os.ReadFile(filepath.Join(d.shimDir(), bundle.ShimLogFile))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "mount point /taken"); n != 1 {
		t.Errorf("it complains %d times:\n%s", n, text)
	}
}
