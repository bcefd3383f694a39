package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What is left for later is opened by the first use, once, and never by a guest that uses no files.
func TestLater(t *testing.T) {
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, broken := 0, errors.New("not yet")
	fs := Later(func() (*FS, error) {
		opened++
		if broken != nil {
			return nil, broken
		}
		return Open(Mount{Host: host, Guest: "/"}, nil)
	})
	root, err := fs.Root()
	if err != nil {
		t.Fatal(err)
	}
	unused, err := fs.Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Stat("../x", false); !errors.Is(err, unix.EPERM) || opened != 0 {
		t.Errorf("%v, opened %d times", err, opened)
	}
	if _, err := root.ReadDir(10); !errors.Is(err, broken) {
		t.Errorf("while it cannot be opened: %v", err)
	}
	broken = nil
	for range 2 {
		st, err := root.Stat("file", false)
		if err != nil || st.Size != 4 {
			t.Errorf("%d bytes, %v", st.Size, err)
		}
	}
	if entries, err := root.ReadDir(10); len(entries) != 1 || err != nil {
		t.Errorf("%+v, %v", entries, err)
	}
	if opened != 2 {
		t.Errorf("opened %d times, want 2: one failed", opened)
	}
	if err := errors.Join(root.Close(), unused.Close(), fs.Close()); err != nil {
		t.Error(err)
	}
}
