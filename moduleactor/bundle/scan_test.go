package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lay makes an attempt on disk; a nil exit leaves exit.json out.
func lay(t *testing.T, root, container string, attempt int, exit *Exit) string {
	t.Helper()
	s := testSpec(root, attempt, "x")
	s.Container = container
	dir, err := Dir(root, s.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err = WriteSpec(dir, s)
	if exit != nil {
		err = errors.Join(err, WriteExit(dir, *exit))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestScan(t *testing.T) {
	root := t.TempDir()
	when := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	for i := range 11 { // 10 comes after 9, which names do not sort by
		lay(t, root, "b", i, &Exit{Code: int32(i), Reason: Error, FinishedAt: when})
	}
	lay(t, root, "a", 0, nil)
	lay(t, root, "a", 1, nil)
	for _, extra := range []string{".volumes/v", "c/01", "c/x", "c/-1", "d/0/rootfs"} {
		if err := os.MkdirAll(filepath.Join(root, "pods", uid, extra), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "pods", uid, "pod.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := Scan(root, uid)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		ID       ID
		Alive    bool
		Exit     int32
		Previous int32
	}
	var got []row
	for _, f := range found {
		got = append(got, row{f.ID, f.Alive, f.Exit.Code, f.Previous.Code})
		if f.Err != nil || f.Spec.ID() != f.ID {
			t.Errorf("%s: %v", f.ID, f.Err)
		}
	}
	want := []row{{ID{uid, "a", 1}, false, 137, 137}, {ID{uid, "b", 10}, false, 10, 9}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(root, "pods", uid, "d", "0")); !os.IsNotExist(err) {
		t.Errorf("an attempt that was never started is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "pods", uid, ".volumes", "v")); err != nil {
		t.Errorf("volumes: %v", err)
	}
	if found, err := Scan(root, "unknown"); found != nil || err != nil {
		t.Errorf("unknown Pod: %v, %v", found, err)
	}
	if _, err := Scan(root, "../pods"); err == nil {
		t.Error("a hostile UID was accepted")
	}
}

func TestScanDamaged(t *testing.T) {
	tests := []struct {
		file, data string
		code       int32
		message    string
	}{
		{SpecFile, "{", 5, ""},
		{StateFile, "{", 5, ""},
		{ExitFile, "{", 137, "exit.json: decode: unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			root := t.TempDir()
			dir := lay(t, root, "c", 0, &Exit{Code: 5, Reason: Error})
			path := filepath.Join(dir, tt.file)
			if err := os.WriteFile(path, []byte(tt.data), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := Scan(root, uid)
			if err != nil || len(found) != 1 {
				t.Fatalf("found %v, %v", found, err)
			}
			f := found[0]
			if f.Err == nil || !strings.HasPrefix(f.Err.Error(), path+": ") {
				t.Errorf("error %v does not name %s", f.Err, path)
			}
			if f.Alive || f.Exit == nil || f.Exit.Code != tt.code || !strings.Contains(f.Exit.Message, tt.message) {
				t.Errorf("found %+v with exit %+v", f, f.Exit)
			}
		})
	}
	t.Run("moved", func(t *testing.T) {
		root := t.TempDir()
		dir := lay(t, root, "c", 0, nil)
		if err := os.Rename(dir, filepath.Join(filepath.Dir(dir), "1")); err != nil {
			t.Fatal(err)
		}
		found, err := Scan(root, uid)
		if err != nil || len(found) != 1 || found[0].Err == nil || found[0].Spec.Attempt != 1 {
			t.Errorf("found %+v, %v", found, err)
		}
	})
}

func TestScanBusy(t *testing.T) {
	root := t.TempDir()
	dir := lay(t, root, "c", 0, nil)
	lock, err := takeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	found, err := Scan(root, uid)
	if err != nil || len(found) != 1 || !found[0].Alive || found[0].Exit != nil {
		t.Errorf("locked: %+v, %v", found, err)
	}
	if err := os.Remove(filepath.Join(dir, SpecFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Scan(root, uid); !errors.Is(err, ErrBusy) {
		t.Errorf("being started: %v", err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("removed while being started: %v", err)
	}
}

func TestRemove(t *testing.T) {
	root := t.TempDir()
	var dirs []string
	for i := range 5 {
		dirs = append(dirs, lay(t, root, "c", i, &Exit{Reason: Completed}))
	}
	lock, err := takeLock(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := RemoveAttempts(root, uid, "c", 2); err != nil {
		t.Fatal(err)
	}
	got, err := attempts(root, uid, "c")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{0, 3, 4}, got); diff != "" {
		t.Errorf("with attempt 0 running (-want +got):\n%s", diff)
	}
	if err := RemovePod(root, uid); !errors.Is(err, ErrBusy) {
		t.Errorf("remove a running Pod: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dirs[4], SpecFile)); err != nil {
		t.Errorf("half removed: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if pods, err := Pods(root); err != nil || !cmp.Equal(pods, []string{uid}) {
		t.Errorf("Pods = %v, %v", pods, err)
	}
	for range 2 { // the second time there is nothing to remove
		if err := RemovePod(root, uid); err != nil {
			t.Fatal(err)
		}
	}
	if pods, err := Pods(root); err != nil || len(pods) != 0 {
		t.Errorf("Pods = %v, %v", pods, err)
	}
	if left, err := os.ReadDir(trashDir(root)); err != nil || len(left) != 0 {
		t.Errorf("trash: %v, %v", left, err)
	}
	if err := errors.Join(RemoveAttempts(root, uid, "c", 0), RemoveAttempts(root, "..", "c", 0)); err == nil || strings.Count(err.Error(), "\n") != 0 {
		t.Errorf("nothing to remove, hostile UID: %v", err)
	}
}

func TestNewEmptiesTrash(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(trashDir(root), "1", "pod", "c"), 0o700); err != nil {
		t.Fatal(err)
	}
	newFixture(t, root, nil)
	if _, err := os.Stat(trashDir(root)); !os.IsNotExist(err) {
		t.Errorf("trash is still there: %v", err)
	}
}

// TestLockOfRemovedAttempt has the directory vanish between the open of the lock file and its flock, which must not give
// a lock that guards nothing.
func TestLockOfRemovedAttempt(t *testing.T) {
	root := t.TempDir()
	dir := lay(t, root, "c", 0, nil)
	lock, err := takeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	path := filepath.Join(dir, LockFile)
	if !isAt(lock, path) {
		t.Error("the lock is not where it is")
	}
	if err := RemovePod(root, "other"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if isAt(lock, path) {
		t.Error("the lock of a removed directory passes")
	}
	if _, err := takeLock(dir); !os.IsNotExist(err) {
		t.Errorf("take it again: %v", err)
	}
}

// TestRemoveTakesCgroups is about attempts that died unnoticed.
func TestRemoveTakesCgroups(t *testing.T) {
	root := t.TempDir()
	cg := &fakeCgroups{root: root}
	f := newFixture(t, root, func(c *Config) { c.Cgroups = cg })
	for n := range 3 {
		dir := lay(t, root, "c", n, nil)
		s := testSpec(root, n, "x")
		s.Cgroups = cg.Dirs(cgroupName(s.ID()))
		if err := errors.Join(cg.Create(cgroupName(s.ID()), Limits{}), WriteSpec(dir, s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.RemoveAttempts(uid, "c", 1); err != nil {
		t.Fatal(err)
	}
	if got := cg.made(); len(got) != 1 {
		t.Errorf("after RemoveAttempts: %v", got)
	}
	if err := f.RemovePod(uid); err != nil {
		t.Fatal(err)
	}
	if got := cg.made(); len(got) != 0 {
		t.Errorf("after RemovePod: %v", got)
	}
}

func TestRunning(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	lay(t, f.root, "c", 0, &Exit{Reason: Completed})
	p := f.start(1, "run")
	prepared := filepath.Join(filepath.Dir(p.dir), "2", RootfsDir)
	if err := os.MkdirAll(prepared, 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := f.Running(uid, "c")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]ID{p.id}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := os.Stat(prepared); err != nil {
		t.Errorf("the attempt that is being prepared: %v", err)
	}
	if got, err := f.Running(uid, "d"); got != nil || err != nil {
		t.Errorf("another container: %v, %v", got, err)
	}
}
