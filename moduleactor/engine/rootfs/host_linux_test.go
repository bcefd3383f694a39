package rootfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

func TestOpenFollowsNoLink(t *testing.T) {
	dir := tree(t, map[string]string{
		"root/": "", "outside/secret": "s", "outside/sub/x": "x",
		"v/link": "->../outside", "v/file": "->../outside/secret", "v/inside": "->real", "v/real/": "", "v/dangling": "->nothing", "v/loop": "->loop",
	})
	for host, culprit := range map[string]string{
		"v/link": "v/link", "v/link/sub": "v/link", "v/link/secret": "v/link", "v/file": "v/file", "v/inside": "v/inside",
		"v/dangling": "v/dangling", "v/loop": "v/loop",
	} {
		t.Run(host, func(t *testing.T) {
			want := "mount /data: open " + filepath.Join(dir, culprit) + ": is a symbolic link"
			f, err := rootfs.Open(rootfs.Mount{Host: dir + "/root"}, []rootfs.Mount{{Host: filepath.Join(dir, host), Guest: "/data"}})
			if f != nil || err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
	for _, host := range []string{"/proc/self/root", "/proc/self/cwd", "/proc/self/fd/0"} {
		if _, err := rootfs.Open(rootfs.Mount{Host: host}, nil); err == nil || !strings.Contains(err.Error(), "is a symbolic link") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// TestOpenedIsKept shows that nothing is looked up by the mount's name once it is open.
func TestOpenedIsKept(t *testing.T) {
	dir := tree(t, map[string]string{
		"root/etc/": "", "outside/name": "outside", "v/sub/name": "inside", "w/conf": "inside", "w/secret": "other",
	})
	f := open(t, rootfs.Mount{Host: dir + "/root"},
		rootfs.Mount{Host: dir + "/v/sub", Guest: "/data"}, rootfs.Mount{Host: dir + "/w/conf", Guest: "/etc/conf", ReadOnly: true})
	opened := f.Opened()
	for from, to := range map[string]string{"v/sub": "../outside", "w": "outside"} {
		path := filepath.Join(dir, from)
		if err := errors.Join(os.Rename(path, path+".moved"), os.Symlink(to, path)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/data/name", "/etc/conf"} {
		if got, errno := read(f, name); got != "inside" || errno != 0 {
			t.Errorf("%s: %q, %v", name, got, errno)
		}
	}
	want := map[string]rootfs.Opened{
		dir + "/root": {Dir: true}, dir + "/v/sub.moved": {Dir: true}, dir + "/w.moved/conf": {ReadOnly: true},
	}
	for _, o := range opened {
		real, err := os.Readlink(o.Path)
		o.Path = ""
		if expected, ok := want[real]; !ok || o != expected || err != nil {
			t.Errorf("%s: got %+v, %v; want %+v", real, o, err, expected)
		}
		delete(want, real)
	}
	if len(want) > 0 {
		t.Errorf("not opened: %v", want)
	}
}

// TestNoDescriptorIsLeft counts what failed and closed file systems leave open.
func TestNoDescriptorIsLeft(t *testing.T) {
	dir := tree(t, map[string]string{"root/": "", "v/file": "x", "v/link": "->file"})
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for _, hosts := range [][]string{{"v", "v/file"}, {"v", "v/link"}, {"v/file", "v/nothing"}, {"v/file/x"}} {
		mounts := make([]rootfs.Mount, 0, len(hosts))
		for _, h := range hosts {
			mounts = append(mounts, rootfs.Mount{Host: filepath.Join(dir, h), Guest: "/" + h})
		}
		f, err := rootfs.Open(rootfs.Mount{Host: dir + "/root"}, mounts)
		if err == nil {
			err = f.Close()
		}
		t.Logf("%v: %v", hosts, err)
		if after := count(); after != before {
			t.Errorf("%v: %d descriptors, then %d", hosts, before, after)
		}
	}
	if _, err := rootfs.Open(rootfs.Mount{Host: "root"}, nil); err == nil || err.Error() != "mount /: want an absolute path (got root)" {
		t.Errorf("a relative path: %v", err)
	}
	f, err := rootfs.Open(rootfs.Mount{Host: "/"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
