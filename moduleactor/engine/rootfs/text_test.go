package rootfs_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

const hosts = "127.0.0.1\tlocalhost\n"

// openTexts is open with /etc/hosts and /etc/hostname.
func openTexts(t *testing.T, root string, mounts ...rootfs.Mount) *guest {
	t.Helper()
	return openWith(t, rootfs.Mount{Host: root}, mounts, rootfs.Text{Guest: "/etc/hosts", Data: hosts}, rootfs.Text{Guest: "/etc/hostname", Data: "web\n"})
}

func TestTextsAreOnTopOfEverything(t *testing.T) {
	volume := tree(t, map[string]string{"hosts": "the volume's"})
	for name, tc := range map[string]struct {
		root   map[string]string
		mounts []rootfs.Mount
		listed []string
	}{
		"an image without files": {nil, nil, []string{"hostname", "hosts"}},
		"an image that has some": {map[string]string{"etc/passwd": "x"}, nil, []string{"hostname", "hosts", "passwd"}},
		"a volume":               {nil, []rootfs.Mount{{Host: tree(t, nil), Guest: "/etc"}}, []string{"hostname", "hosts"}},
		"a read-only volume":     {nil, []rootfs.Mount{{Host: tree(t, nil), Guest: "/etc", ReadOnly: true}}, []string{"hostname", "hosts"}},
		"a directory in it":      {nil, []rootfs.Mount{{Host: tree(t, nil), Guest: "/etc/app"}}, []string{"app", "hostname", "hosts"}},
		"no directory":           {map[string]string{"etc": "a file"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := openTexts(t, tree(t, tc.root), tc.mounts...)
			for path, want := range map[string]string{"/etc/hosts": hosts, "/etc/../etc/hostname": "web\n"} {
				if got, errno := read(g, path); got != want || errno != 0 {
					t.Errorf("%s: %q, %v", path, got, errno)
				}
			}
			if tc.listed == nil {
				return
			}
			if d := cmp.Diff(tc.listed, names(t, g, "/etc")); d != "" {
				t.Error(d)
			}
		})
	}
	t.Run("a file of the image", func(t *testing.T) {
		g := openTexts(t, tree(t, map[string]string{"etc/hosts": "the image's"}))
		if got, errno := read(g, "/etc/hosts"); got != hosts || errno != 0 {
			t.Errorf("%q, %v", got, errno)
		}
	})
	t.Run("a file of a volume", func(t *testing.T) {
		g := openTexts(t, tree(t, nil), rootfs.Mount{Host: volume, Guest: "/etc"})
		if got, errno := read(g, "/etc/hosts"); got != hosts || errno != 0 {
			t.Errorf("%q, %v", got, errno)
		}
	})
	if got, err := os.ReadFile(volume + "/hosts"); string(got) != "the volume's" {
		t.Errorf("the volume's file is %q now, %v", got, err)
	}
}

func TestTextsCannotBeChanged(t *testing.T) {
	g := openTexts(t, tree(t, map[string]string{"file": "x"}))
	run(t, g, []op{
		{"unlink", func(g *guest) unix.Errno { return g.Unlink("/etc/hosts") }, unix.EROFS},
		{"rename", func(g *guest) unix.Errno { return g.Rename("/etc/hosts", "/other") }, unix.EROFS},
		{"replace", func(g *guest) unix.Errno { return g.Rename("/file", "/etc/hosts") }, unix.EROFS},
		{"link", func(g *guest) unix.Errno { return g.Link("/etc/hosts", "/other") }, unix.EROFS},
		{"symlink", func(g *guest) unix.Errno { return g.Symlink("file", "/etc/hosts") }, unix.EROFS},
		{"mkdir", func(g *guest) unix.Errno { return g.Mkdir("/etc/hosts") }, unix.EROFS},
		{"set times", func(g *guest) unix.Errno { return g.Utimens("/etc/hosts", 1, 1) }, unix.EROFS},
		{"write", opened("/etc/hosts", unix.O_WRONLY), unix.EROFS},
		{"read and write", opened("/etc/hosts", unix.O_RDWR), unix.EROFS},
		{"truncate", opened("/etc/hosts", unix.O_TRUNC), unix.EROFS},
		{"create", opened("/etc/hosts", unix.O_CREAT), unix.EROFS},
		{"remove its directory", func(g *guest) unix.Errno { return g.Rmdir("/etc") }, unix.EBUSY},
		{"rename its directory", func(g *guest) unix.Errno { return g.Rename("/etc", "/other") }, unix.EBUSY},
		{"as a directory", opened("/etc/hosts", unix.O_DIRECTORY), unix.ENOTDIR},
		{"with a slash", opened("/etc/hosts/", unix.O_RDONLY), unix.ENOTDIR},
		{"something in it", opened("/etc/hosts/x", unix.O_RDONLY), unix.ENOTDIR},
		{"not following links", opened("/etc/hosts", unix.O_NOFOLLOW), 0},
		{"readlink", func(g *guest) unix.Errno { _, errno := g.Readlink("/etc/hosts"); return errno }, unix.EINVAL},
	})
	f, _, errno := g.open("/etc/hosts", unix.O_RDONLY)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer f.Close()
	if !f.ReadOnly || number(f.SetTimes(1, 1)) != unix.EROFS {
		t.Error("its times can be set")
	}
	// A descriptor that could write, which no guest gets, would find it sealed.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.FD), unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd) //nolint:errcheck // a test's
	_, err = unix.Write(fd, []byte("x"))
	if again := unix.Ftruncate(fd, 0); !errors.Is(err, unix.EPERM) || !errors.Is(again, unix.EPERM) {
		t.Errorf("written: %v, truncated: %v", err, again)
	}
	if got, errno := read(g, "/etc/hosts"); got != hosts || errno != 0 {
		t.Errorf("it is %q now, %v", got, errno)
	}
}

// Each open file is read from its own beginning, and lives on when the file system is closed.
func TestTextsAreOpenedAnew(t *testing.T) {
	f, err := rootfs.Open(rootfs.Mount{Host: tree(t, nil)}, nil, rootfs.Text{Guest: "/greeting", Data: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.Opened()); n != 1 {
		t.Errorf("%d things of the host are opened, want the root", n)
	}
	dir, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{f, dir}
	entries, err := dir.ReadDir(1)
	if again, end := dir.ReadDir(1); err != nil || end != nil || len(entries) != 1 || len(again) != 0 {
		t.Errorf("listed: %v, %v, then %v, %v", entries, err, again, end)
	}
	again, err := dir.ReadDir(1)
	if err = errors.Join(err, dir.Rewind()); err != nil || len(again) != 0 {
		t.Errorf("listed: %v, %v", again, err)
	}
	if again, err = dir.ReadDir(1); err != nil || cmp.Diff(entries, again) != "" {
		t.Errorf("listed: %v, then %v, %v", entries, again, err)
	}
	one, _, _ := g.open("/greeting", unix.O_RDONLY)
	two, _, _ := g.open("/greeting", unix.O_RDONLY)
	if err := errors.Join(dir.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, file := range []*rootfs.File{one, two} {
		got, err := io.ReadAll(file)
		if string(got) != "hello" || err != nil || file.Stat.Size != 5 || file.Stat.Ino != entries[0].Ino {
			t.Errorf("%q, %v, %+v; listed as %+v", got, err, file.Stat, entries[0])
		}
		_ = file.Close()
	}
}

func TestTextsThatCannotBe(t *testing.T) {
	text := rootfs.Text{Guest: "/etc/hosts"}
	for want, mount := range map[string]rootfs.Mount{
		"file /etc/hosts: something is mounted there already":         {Host: tree(t, map[string]string{"f": ""}) + "/f", Guest: "/etc/hosts"},
		"mount point /etc/hosts: /etc is a mounted file":              {Host: tree(t, map[string]string{"f": ""}) + "/f", Guest: "/etc"},
		"mount point /etc/hosts/inside: /etc/hosts is a mounted file": {Host: tree(t, nil), Guest: "/etc/hosts/inside"},
	} {
		if _, err := rootfs.Open(rootfs.Mount{Host: tree(t, nil)}, []rootfs.Mount{mount}, text); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
