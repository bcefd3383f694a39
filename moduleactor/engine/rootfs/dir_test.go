package rootfs_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

func TestTimes(t *testing.T) {
	dir := tree(t, map[string]string{"f": "", "link": "->f"})
	f := open(t, rootfs.Mount{Host: dir})
	file, _, errno := f.open("f", unix.O_RDWR)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer file.Close()
	run(t, f, []op{
		{"of an open file", func(*guest) unix.Errno { return number(file.SetTimes(1_000_000_001, rootfs.Omit)) }, 0},
		{"by a link", func(f *guest) unix.Errno { return f.Utimens("link", rootfs.Omit, 2_000_000_002) }, 0},
		{"of a link", func(f *guest) unix.Errno { return number(f.root.SetTimes("link", false, rootfs.Omit, 3_000_000_003)) }, 0},
	})
	if st, errno := f.stat("link", true); st.Atim.Nano() != 1_000_000_001 || st.Mtim.Nano() != 2_000_000_002 || errno != 0 {
		t.Errorf("%+v, %v", st, errno)
	}
	if st, errno := f.stat("link", false); st.Mtim.Nano() != 3_000_000_003 || errno != 0 {
		t.Errorf("%+v, %v", st, errno)
	}
}

func TestDirectoryIsListedAgain(t *testing.T) {
	f := open(t, rootfs.Mount{Host: tree(t, map[string]string{"a": "", "b/": "", "c": "->a"})})
	for range 2 {
		types := map[string]uint32{}
		for {
			entries, err := f.root.ReadDir(2)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) == 0 {
				break
			}
			for _, e := range entries {
				types[e.Name] = e.Mode
			}
		}
		if diff := cmp.Diff(map[string]uint32{"a": unix.S_IFREG, "b": unix.S_IFDIR, "c": unix.S_IFLNK}, types); diff != "" {
			t.Error(diff)
		}
		if err := f.root.Rewind(); err != nil {
			t.Error(err)
		}
	}
}

// TestBelowADirectory shows what paths mean that are relative to an open directory.
func TestBelowADirectory(t *testing.T) {
	dir := tree(t, map[string]string{
		"file": "above", "sub/file": "in it", "sub/up": "->../file", "sub/in/x": "x", "sub/self": "->.", "sub/mount/": "", "other/y": "",
	})
	volume := tree(t, map[string]string{"file": "volume's"})
	f := open(t, rootfs.Mount{Host: dir}, rootfs.Mount{Host: volume, Guest: "/sub/mount"})
	_, sub, errno := f.open("sub", unix.O_RDONLY)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer sub.Close()
	below := &guest{f.FS, sub}
	for path, want := range map[string]string{
		"file": "in it", "mount/file": "volume's", "in/../file": "in it", "./in/.././file": "in it", "self/self/file": "in it",
	} {
		if got, errno := read(below, path); got != want || errno != 0 {
			t.Errorf("%s: %q, %v", path, got, errno)
		}
	}
	run(t, below, []op{
		{"above it", opened("../file", unix.O_RDONLY), unix.EPERM},
		{"above it by a detour", opened("in/../../file", unix.O_RDONLY), unix.EPERM},
		{"above it by a link", opened("up", unix.O_RDONLY), unix.EPERM},
		{"above it by two dots behind a link", opened("self/..", unix.O_RDONLY), 0}, // that is itself
		{"remove two dots behind a link", func(g *guest) unix.Errno { return g.Rmdir("self/..") }, unix.EBUSY},
		{"an absolute path", func(g *guest) unix.Errno { _, _, err := g.root.Open("/file", unix.O_RDONLY); return number(err) }, unix.EPERM},
		{"no path", func(g *guest) unix.Errno { _, _, err := g.root.Open("", unix.O_RDONLY); return number(err) }, unix.ENOENT},
		{"a long path", opened(strings.Repeat("a/", 3000), unix.O_RDONLY), unix.ENAMETOOLONG},
		{"rename into the volume", func(g *guest) unix.Errno { return g.Rename("file", "mount/file2") }, unix.EXDEV},
		{"rename it", func(*guest) unix.Errno { return f.Rename("sub/in", "other/in") }, 0},
	})
	if err := os.Rename(dir+"/sub", dir+"/moved"); err != nil { // another guest does
		t.Fatal(err)
	}
	if got, errno := read(below, "file"); got != "in it" || errno != 0 {
		t.Errorf("after it was moved: %q, %v", got, errno)
	}
}
