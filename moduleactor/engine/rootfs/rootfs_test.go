package rootfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// guest is a file system and its open root, with paths from / and plain error numbers.
type guest struct {
	*rootfs.FS
	root *rootfs.Dir
}

func open(t *testing.T, root rootfs.Mount, mounts ...rootfs.Mount) *guest {
	t.Helper()
	return openWith(t, root, mounts)
}

func openWith(t *testing.T, root rootfs.Mount, mounts []rootfs.Mount, texts ...rootfs.Text) *guest {
	t.Helper()
	f, err := rootfs.Open(root, mounts, texts...)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(dir.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return &guest{f, dir}
}

// number is what a guest is told: os.Root's "path escapes from parent" is EPERM.
func number(err error) unix.Errno {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	if err != nil {
		return unix.EPERM
	}
	return 0
}

func rel(path string) string {
	if path = strings.TrimLeft(path, "/"); path == "" {
		return "."
	}
	return path
}

func (g *guest) open(path string, flags int) (*rootfs.File, *rootfs.Dir, unix.Errno) {
	f, d, err := g.root.Open(rel(path), flags)
	return f, d, number(err)
}

func (g *guest) Mkdir(path string) unix.Errno  { return number(g.root.Mkdir(rel(path))) }
func (g *guest) Rmdir(path string) unix.Errno  { return number(g.root.Rmdir(rel(path))) }
func (g *guest) Unlink(path string) unix.Errno { return number(g.root.Unlink(rel(path))) }
func (g *guest) Rename(from, to string) unix.Errno {
	return number(g.root.Rename(rel(from), g.root, rel(to)))
}

func (g *guest) Link(from, to string) unix.Errno {
	return number(g.root.Link(rel(from), g.root, rel(to)))
}

func (g *guest) Symlink(target, path string) unix.Errno {
	return number(g.root.Symlink(target, rel(path)))
}

func (g *guest) Utimens(path string, atim, mtim int64) unix.Errno {
	return number(g.root.SetTimes(rel(path), true, atim, mtim))
}

func (g *guest) Readlink(path string) (string, unix.Errno) {
	buf := make([]byte, 100)
	n, err := g.root.Readlink(rel(path), buf)
	return string(buf[:n]), number(err)
}

func (g *guest) stat(path string, follow bool) (unix.Stat_t, unix.Errno) {
	st, err := g.root.Stat(rel(path), follow)
	return st, number(err)
}

// tree makes files (content), directories (names that end in /) and links (content that begins with ->).
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch target, link := strings.CutPrefix(content, "->"); {
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		case link:
			err = errors.Join(err, os.Symlink(target, path))
		default:
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(g *guest, path string) (string, unix.Errno) {
	file, dir, errno := g.open(path, unix.O_RDONLY)
	if errno != 0 {
		return "", errno
	}
	if dir != nil {
		return "", number(errors.Join(dir.Close(), unix.EISDIR))
	}
	defer file.Close()
	buf := make([]byte, 100)
	n, err := unix.Read(file.FD, buf)
	return string(buf[:max(n, 0)]), number(err)
}

func write(g *guest, path, content string, flags int) unix.Errno {
	file, _, errno := g.open(path, flags|unix.O_WRONLY)
	if errno != 0 {
		return errno
	}
	_, err := unix.Write(file.FD, []byte(content))
	return number(errors.Join(err, file.Close()))
}

func names(t *testing.T, g *guest, path string) []string {
	t.Helper()
	_, dir, errno := g.open(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if errno != 0 {
		t.Fatalf("open %s: %v", path, errno)
	}
	defer dir.Close()
	out := []string{}
	for {
		entries, err := dir.ReadDir(2)
		if err != nil {
			t.Fatalf("list %s: %v", path, err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			if e.Ino == 0 {
				t.Errorf("%s has no inode", e.Name)
			}
			out = append(out, e.Name)
		}
	}
	slices.Sort(out)
	return out
}

// op is a call that gives an error number.
type op struct {
	name string
	do   func(f *guest) unix.Errno
	want unix.Errno
}

func run(t *testing.T, f *guest, ops []op) {
	t.Helper()
	for _, o := range ops {
		if got := o.do(f); got != o.want {
			t.Errorf("%s: got %v, want %v", o.name, got, o.want)
		}
	}
}

func opened(path string, flags int) func(*guest) unix.Errno {
	return func(g *guest) unix.Errno {
		file, dir, errno := g.open(path, flags)
		switch {
		case errno != 0:
			return errno
		case dir != nil:
			return number(dir.Close())
		default:
			return number(file.Close())
		}
	}
}

func TestOperations(t *testing.T) {
	dir := tree(t, map[string]string{
		"file": "content", "dir/inner": "x", "empty/": "", "full/a": "", "link": "->file", "dirlink": "->dir", "loop": "->loop",
	})
	f := open(t, rootfs.Mount{Host: dir})
	run(t, f, []op{
		{"open a file", opened("file", unix.O_RDONLY), 0},
		{"open an absolute path", opened("/dir/inner", unix.O_RDONLY), 0},
		{"open the root", opened(".", unix.O_RDONLY|unix.O_DIRECTORY), 0},
		{"open a directory", opened("dir", unix.O_RDONLY), 0},
		{"open a directory to write", opened("dir", unix.O_RDWR), unix.EISDIR},
		{"open a file as a directory", opened("file", unix.O_RDONLY|unix.O_DIRECTORY), unix.ENOTDIR},
		{"open a file with a slash", opened("file/", unix.O_RDONLY), unix.ENOTDIR},
		{"open below a file", opened("file/x", unix.O_RDONLY), unix.ENOTDIR},
		{"open nothing", opened("nothing", unix.O_RDONLY), unix.ENOENT},
		{"open a link", opened("link", unix.O_RDONLY), 0},
		{"open a link without following", opened("link", unix.O_RDONLY|unix.O_NOFOLLOW), unix.ELOOP},
		{"open a file without following", opened("dirlink/inner", unix.O_RDONLY|unix.O_NOFOLLOW), 0},
		{"open a link to a directory, with a slash", opened("dirlink/", unix.O_RDONLY|unix.O_NOFOLLOW), 0},
		{"open a loop", opened("loop", unix.O_RDONLY), unix.ELOOP},
		{"open the parent", opened("../x", unix.O_RDONLY), unix.EPERM},
		{"open a zero byte", opened("a\x00b", unix.O_RDONLY), unix.EINVAL},
		{"create what is there, exclusively", opened("file", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL), unix.EEXIST},
		{"create exclusively", opened("new", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL), 0},
		{"create a directory", opened("new2/", unix.O_RDWR|unix.O_CREAT), unix.EISDIR},
		{"create below nothing", opened("nothing/x", unix.O_RDWR|unix.O_CREAT), unix.ENOENT},
		{"mkdir", func(f *guest) unix.Errno { return f.Mkdir("made") }, 0},
		{"mkdir again", func(f *guest) unix.Errno { return f.Mkdir("made") }, unix.EEXIST},
		{"mkdir of the root", func(f *guest) unix.Errno { return f.Mkdir("/") }, unix.EEXIST},
		{"unlink a directory", func(f *guest) unix.Errno { return f.Unlink("made") }, unix.EISDIR},
		{"rmdir a file", func(f *guest) unix.Errno { return f.Rmdir("file") }, unix.ENOTDIR},
		{"rmdir a full directory", func(f *guest) unix.Errno { return f.Rmdir("full") }, unix.ENOTEMPTY},
		{"rmdir a link", func(f *guest) unix.Errno { return f.Rmdir("dirlink") }, unix.ENOTDIR},
		{"rmdir the root", func(f *guest) unix.Errno { return f.Rmdir("/") }, unix.EBUSY},
		{"rename a file onto a directory", func(f *guest) unix.Errno { return f.Rename("file", "made") }, unix.EISDIR},
		{"rename a directory onto a file", func(f *guest) unix.Errno { return f.Rename("made", "file") }, unix.ENOTDIR},
		{"rename a directory onto a full one", func(f *guest) unix.Errno { return f.Rename("made", "full") }, unix.ENOTEMPTY},
		{"rename a directory onto an empty one", func(f *guest) unix.Errno { return f.Rename("made", "empty") }, 0},
		{"rename a file onto a file", func(f *guest) unix.Errno { return f.Rename("new", "file2") }, 0},
		{"rename into itself", func(f *guest) unix.Errno { return f.Rename("dir", "dir/x") }, unix.EINVAL},
		{"rename nothing", func(f *guest) unix.Errno { return f.Rename("nothing", "x") }, unix.ENOENT},
		{"link", func(f *guest) unix.Errno { return f.Link("file", "hard") }, 0},
		{"link onto a file", func(f *guest) unix.Errno { return f.Link("file", "hard") }, unix.EEXIST},
		{"symlink", func(f *guest) unix.Errno { return f.Symlink("file", "soft") }, 0},
		{"symlink to an absolute path", func(f *guest) unix.Errno { return f.Symlink("/file", "soft2") }, unix.EPERM},
		{"symlink onto the root", func(f *guest) unix.Errno { return f.Symlink("x", "/") }, unix.EEXIST},
		{"readlink of a file", func(f *guest) unix.Errno { _, errno := f.Readlink("file"); return errno }, unix.EINVAL},
		{"unlink a link", func(f *guest) unix.Errno { return f.Unlink("link") }, 0},
		{"stat a loop", func(f *guest) unix.Errno { _, errno := f.stat("loop", true); return errno }, unix.ELOOP},
	})
	if diff := cmp.Diff([]string{"dir", "dirlink", "empty", "file", "file2", "full", "hard", "loop", "soft"}, names(t, f, "/")); diff != "" {
		t.Error(diff)
	}
	if target, errno := f.Readlink("/soft"); target != "file" || errno != 0 {
		t.Errorf("readlink: %q, %v", target, errno)
	}
	if content, errno := read(f, "/soft"); content != "content" || errno != 0 {
		t.Errorf("read: %q, %v", content, errno)
	}
	if st, errno := f.stat("/hard", true); st.Nlink != 2 || st.Size != 7 || st.Mode&0o777 != 0o600 || errno != 0 {
		t.Errorf("stat: %+v, %v", st, errno)
	}
	if st, errno := f.stat("/soft", false); st.Mode&unix.S_IFMT != unix.S_IFLNK || errno != 0 {
		t.Errorf("lstat: %+v, %v", st, errno)
	}
}

func TestReadOnlyRefusesEveryChange(t *testing.T) {
	dir := tree(t, map[string]string{"file": "content", "dir/a": ""})
	f := open(t, rootfs.Mount{Host: dir, ReadOnly: true})
	file, _, errno := f.open("file", unix.O_RDONLY)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer file.Close()
	run(t, f, []op{
		{"open to read", opened("file", unix.O_RDONLY), 0},
		{"open to write", opened("file", unix.O_WRONLY), unix.EROFS},
		{"open to read and write", opened("file", unix.O_RDWR), unix.EROFS},
		{"open to append", opened("file", unix.O_RDWR|unix.O_APPEND), unix.EROFS},
		{"truncate while opening", opened("file", unix.O_TRUNC), unix.EROFS},
		{"create", opened("new", unix.O_CREAT), unix.EROFS},
		{"mkdir", func(f *guest) unix.Errno { return f.Mkdir("new") }, unix.EROFS},
		{"rmdir", func(f *guest) unix.Errno { return f.Rmdir("dir") }, unix.EROFS},
		{"unlink", func(f *guest) unix.Errno { return f.Unlink("file") }, unix.EROFS},
		{"rename", func(f *guest) unix.Errno { return f.Rename("file", "x") }, unix.EROFS},
		{"link", func(f *guest) unix.Errno { return f.Link("file", "x") }, unix.EROFS},
		{"symlink", func(f *guest) unix.Errno { return f.Symlink("file", "x") }, unix.EROFS},
		{"utimens", func(f *guest) unix.Errno { return f.Utimens("file", 1, 1) }, unix.EROFS},
		{"futimens", func(*guest) unix.Errno { return number(file.SetTimes(1, 1)) }, unix.EROFS},
	})
	if content, errno := read(f, "file"); content != "content" || errno != 0 {
		t.Errorf("read: %q, %v", content, errno)
	}
	if diff := cmp.Diff([]string{"dir", "file"}, names(t, f, "/")); diff != "" {
		t.Error(diff)
	}
}

func TestMounts(t *testing.T) {
	root := tree(t, map[string]string{"etc/hosts": "root's", "data/hidden": "x", "link": "->data"})
	data := tree(t, map[string]string{"a": "volume's", "sub/": ""})
	config := tree(t, map[string]string{"app.yaml": "conf", "other": "invisible"})
	inner := tree(t, map[string]string{"b": "inner"})
	f := open(t, rootfs.Mount{Host: root},
		rootfs.Mount{Host: inner, Guest: "/data/sub/inner", ReadOnly: true},
		rootfs.Mount{Host: data, Guest: "/data"},
		rootfs.Mount{Host: filepath.Join(config, "app.yaml"), Guest: "/etc/app/app.yaml", ReadOnly: true},
		rootfs.Mount{Host: filepath.Join(config, "app.yaml"), Guest: "/dev/rw"},
	)
	for path, want := range map[string]string{
		"etc/hosts": "root's", "data/a": "volume's", "/data//./a": "volume's", "data/sub/inner/b": "inner", "etc/app/app.yaml": "conf",
	} {
		if got, errno := read(f, path); got != want || errno != 0 {
			t.Errorf("%s: %q, %v", path, got, errno)
		}
	}
	for path, want := range map[string][]string{
		"/": {"data", "dev", "etc", "link"}, "/data": {"a", "sub"}, "/data/sub": {"inner"}, "/etc": {"app", "hosts"}, "/etc/app": {"app.yaml"},
		"/link": {"hidden"}, // a link does not lead into a mount
	} {
		if diff := cmp.Diff(want, names(t, f, path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	run(t, f, []op{
		{"the mounted file has no siblings", opened("etc/app/other", unix.O_RDONLY), unix.ENOENT},
		{"nor children", opened("etc/app/app.yaml/x", unix.O_RDONLY), unix.ENOTDIR},
		{"it is no directory", opened("etc/app/app.yaml/", unix.O_RDONLY), unix.ENOTDIR},
		{"it is read-only", opened("etc/app/app.yaml", unix.O_RDWR), unix.EROFS},
		{"write a mounted file", func(f *guest) unix.Errno { return write(f, "dev/rw", "CONF", 0) }, 0},
		{"create in a volume", func(f *guest) unix.Errno { return write(f, "data/new", "", unix.O_CREAT) }, 0},
		{"create in a read-only mount in it", opened("data/sub/inner/x", unix.O_CREAT|unix.O_RDWR), unix.EROFS},
		{"rename between mounts", func(f *guest) unix.Errno { return f.Rename("etc/hosts", "data/hosts") }, unix.EXDEV},
		{"link between mounts", func(f *guest) unix.Errno { return f.Link("etc/hosts", "data/hosts") }, unix.EXDEV},
		{"remove a mount point", func(f *guest) unix.Errno { return f.Rmdir("data") }, unix.EBUSY},
		{"remove a mounted file", func(f *guest) unix.Errno { return f.Unlink("dev/rw") }, unix.EBUSY},
		{"rename a mount point", func(f *guest) unix.Errno { return f.Rename("data", "x") }, unix.EXDEV},
		{"rename what a mount point is in", func(f *guest) unix.Errno { return f.Rename("dev", "x") }, unix.EBUSY},
		{"rename onto a mount point", func(f *guest) unix.Errno { return f.Rename("etc/hosts", "dev/rw") }, unix.EXDEV},
		{"link a mounted file", func(f *guest) unix.Errno { return f.Link("dev/rw", "dev/rw") }, unix.EPERM},
		{"mkdir of a mount point", func(f *guest) unix.Errno { return f.Mkdir("data") }, unix.EEXIST},
	})
	if got, err := os.ReadFile(filepath.Join(config, "app.yaml")); string(got) != "CONF" || err != nil {
		t.Errorf("the mounted file: %q, %v", got, err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := tree(t, map[string]string{"file": "", "dir/": "", "out": "->/"})
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		root   string
		mounts []rootfs.Mount
		want   string
	}{
		"no root":              {filepath.Join(dir, "nothing"), nil, "mount /: open DIR/nothing: no such file or directory"},
		"root is a file":       {filepath.Join(dir, "file"), nil, "mount /: DIR/file is neither a directory nor a regular file (got ----------)"},
		"no host directory":    {dir, []rootfs.Mount{{Host: dir + "/nothing", Guest: "/x"}}, "mount /x: open DIR/nothing: no such file or directory"},
		"a FIFO":               {dir, []rootfs.Mount{{Host: dir + "/fifo", Guest: "/x"}}, "mount /x: DIR/fifo is neither a directory nor a regular file (got p---------)"},
		"twice":                {dir, []rootfs.Mount{{Host: dir, Guest: "/x"}, {Host: dir, Guest: "/x/"}}, "mount /x/: something is mounted there already"},
		"file on a directory":  {dir, []rootfs.Mount{{Host: dir + "/file", Guest: "/dir"}}, "mount point /dir: the path exists and is a directory"},
		"directory on a file":  {dir, []rootfs.Mount{{Host: dir + "/dir", Guest: "/file"}}, "mount point /file: the path exists and is a file"},
		"mount point outside":  {dir, []rootfs.Mount{{Host: dir + "/dir", Guest: "/out/x"}}, "mount point /out/x: statat out/x: path escapes from parent"},
		"below a mounted file": {dir, []rootfs.Mount{{Host: dir + "/file", Guest: "/f"}, {Host: dir, Guest: "/f/g"}}, "mount point /f/g: /f is a mounted file"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := rootfs.Open(rootfs.Mount{Host: tc.root, Guest: "/"}, tc.mounts)
			if err == nil {
				t.Fatal(f.Close(), "no error")
			}
			if diff := cmp.Diff(tc.want, strings.ReplaceAll(err.Error(), dir, "DIR")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSpecialFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(dir, "sock")}); err != nil {
		t.Fatal(err)
	}
	ops := []op{
		{"read a FIFO", opened("fifo", unix.O_RDONLY), unix.ENOTSUP},
		{"write a FIFO", opened("fifo", unix.O_WRONLY), unix.ENOTSUP},
		{"open a FIFO both ways", opened("fifo", unix.O_RDWR|unix.O_NOFOLLOW), unix.ENOTSUP},
		{"open a socket", opened("sock", unix.O_RDONLY), unix.ENOTSUP},
	}
	if unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) == nil {
		ops = append(ops, op{"open a device", opened("null", unix.O_RDWR), unix.ENOTSUP})
	}
	f := open(t, rootfs.Mount{Host: dir})
	run(t, f, ops)
	if st, errno := f.stat("fifo", false); st.Mode&unix.S_IFMT != unix.S_IFIFO || errno != 0 {
		t.Errorf("%+v, %v", st, errno)
	}
}

// TestRaceWithLinks swaps a directory for a link that leads out while the guest's calls go through its name.
func TestRaceWithLinks(t *testing.T) {
	base := tree(t, map[string]string{"root/real/file": "inside", "outside/file": "outside", "root/evil": "->../outside"})
	root := filepath.Join(base, "root")
	f := open(t, rootfs.Mount{Host: root})
	done := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, root+"/real", unix.AT_FDCWD, root+"/evil", unix.RENAME_EXCHANGE)
			}
		}
	})
	inside, refused := 0, 0
	for deadline := time.Now().Add(10 * time.Second); (inside < 200 || refused < 20) && time.Now().Before(deadline); {
		content, errno := read(f, "real/file")
		switch {
		case content == "inside":
			inside++
		case content != "":
			t.Fatalf("read %q", content)
		case errno != 0:
			refused++
		}
		_ = write(f, "real/made", "x", unix.O_CREAT)
		_ = f.Rename("real/made", "real/moved")
		_ = f.Unlink("real/file2")
		_ = f.Mkdir("real/dir")
	}
	close(done)
	swapper.Wait()
	if inside == 0 || refused == 0 {
		t.Errorf("%d reads inside, %d refused: nothing raced", inside, refused)
	}
	left, err := os.ReadDir(filepath.Join(base, "outside"))
	if err != nil || len(left) != 1 {
		t.Errorf("outside: %v, %v", left, err)
	}
}
