package rootfs_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// openings are the names in a directory that anybody opens from now on.
func openings(t *testing.T, dir string) func() []string {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() (names []string) {
		buf := make([]byte, 1<<16)
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		for b := buf[:n]; len(b) > 0; { // watch, mask, cookie, length of the name, name
			length := int(b[12]) | int(b[13])<<8
			name := string(bytes.TrimRight(b[16:16+length], "\x00"))
			if name != "" { // of the directory itself
				names = append(names, name)
			}
			b = b[16+length:]
		}
		return names
	}
}

// TestNothingElseIsOpened: what is neither a file nor a directory is not opened, not for a moment. To open a FIFO lets others go on who
// wait for that, and some devices do something.
func TestNothingElseIsOpened(t *testing.T) {
	dir := tree(t, map[string]string{"file": "x", "sub/": "", "link": "->fifo", "sub/up": "->../socket", "slash": "->fifo/"})
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	kinds := []string{"fifo", "socket", "link", "sub/up", "slash"}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) == nil { // not everybody may
		kinds = append(kinds, "null")
	}
	f := open(t, rootfs.Mount{Host: dir})
	opened := openings(t, dir)
	for _, name := range kinds {
		for _, flags := range []int{
			unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_CREAT, unix.O_RDWR | unix.O_TRUNC, unix.O_RDONLY | unix.O_NOFOLLOW,
			unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, unix.O_RDONLY | unix.O_DIRECTORY,
		} {
			if file, sub, errno := f.open(name, flags); file != nil || sub != nil || errno == 0 {
				t.Errorf("%s, flags %x: opened (%v)", name, flags, errno)
			}
		}
		if _, err := f.ReadFile(name, 10); err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: read, %v", name, err)
		}
		_, _ = f.stat(name, true)
		_ = f.Utimens(name, 1, 1)
	}
	for _, name := range opened() {
		if name != "sub" {
			t.Errorf("%s was opened", name)
		}
	}
	if got, errno := read(f, "file"); got != "x" || errno != 0 {
		t.Errorf("%q, %v", got, errno)
	}
	if diff := cmp.Diff([]string{"file"}, opened()); diff != "" {
		t.Errorf("whether openings are seen: %s", diff)
	}
}

// TestLinksAtTheEnd is about those that the last name is, which are not os.Root's to follow.
func TestLinksAtTheEnd(t *testing.T) {
	links := map[string]string{
		"dir/file": "content", "dir/up": "->..", "dir/upfile": "->../top", "top": "above", "one": "->two", "two": "->dir/three", "dir/three": "->file",
		"todir": "->dir/", "dot": "->.", "dotdot": "->dir/..", "out": "->..", "outfile": "->../x", "far": "->dir/../../x", "absolute": "->/etc/hostname",
		"new": "->dir/made", "newslash": "->dir/made/", "self": "->self", "file/": "", "tofile": "->top/", "hop": "->todir/upfile",
	}
	dir := tree(t, links)
	f := open(t, rootfs.Mount{Host: dir})
	for name, want := range map[string]string{"one": "content", "dir/upfile": "above", "todir/upfile": "above", "hop": "above", "dot/dot/one": "content"} {
		if got, errno := read(f, name); got != want || errno != 0 {
			t.Errorf("%s: %q, %v", name, got, errno)
		}
	}
	run(t, f, []op{
		{"a directory", opened("todir", unix.O_RDONLY), 0},
		{"the root", opened("dot", unix.O_RDONLY|unix.O_DIRECTORY), 0},
		{"the root by two dots", opened("dotdot", unix.O_RDONLY), 0},
		{"the root by two dots below", opened("dir/up", unix.O_RDONLY), 0},
		{"the root, to write", opened("dot", unix.O_RDWR), unix.EISDIR},
		{"the root, to create", opened("dot", unix.O_RDWR|unix.O_CREAT), unix.EISDIR},
		{"above", opened("out", unix.O_RDONLY), unix.EPERM},
		{"a file above", opened("outfile", unix.O_RDONLY), unix.EPERM},
		{"a file above, to create", opened("outfile", unix.O_RDWR|unix.O_CREAT), unix.EPERM},
		{"a file above by a detour", opened("far", unix.O_RDONLY), unix.EPERM},
		{"an absolute one", opened("absolute", unix.O_RDONLY), unix.EPERM},
		{"an absolute one, to create", opened("absolute", unix.O_RDWR|unix.O_CREAT), unix.EPERM},
		{"itself", opened("self", unix.O_RDONLY), unix.ELOOP},
		{"a file with a slash", opened("tofile", unix.O_RDONLY), unix.ENOTDIR},
		{"what is not there", opened("new", unix.O_RDONLY), unix.ENOENT},
		{"what is not there, exclusively", opened("new", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL), unix.EEXIST},
		{"what is not there, not following", opened("new", unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW), unix.ELOOP},
		{"what is not there, to create", opened("new", unix.O_RDWR|unix.O_CREAT), 0},
		{"made", opened("dir/made", unix.O_RDONLY|unix.O_NOFOLLOW), 0},
		{"many links", opened(strings.Repeat("dot/", 5)+"one", unix.O_RDONLY), 0},
	})
}
