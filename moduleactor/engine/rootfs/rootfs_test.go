package rootfs_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wasys "github.com/tetratelabs/wazero/experimental/sys"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

func open(t *testing.T, root rootfs.Mount, mounts ...rootfs.Mount) *rootfs.FS {
	t.Helper()
	f, err := rootfs.Open(root, mounts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
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

func read(f *rootfs.FS, path string) (string, wasys.Errno) {
	file, errno := f.OpenFile(path, wasys.O_RDONLY, 0)
	if errno != 0 {
		return "", errno
	}
	defer file.Close()
	buf := make([]byte, 100)
	n, errno := file.Read(buf)
	return string(buf[:n]), errno
}

func write(f *rootfs.FS, path, content string, flag wasys.Oflag) wasys.Errno {
	file, errno := f.OpenFile(path, flag|wasys.O_WRONLY, 0)
	if errno != 0 {
		return errno
	}
	_, errno = file.Write([]byte(content))
	return errors2(errno, file.Close())
}

func errors2(a, b wasys.Errno) wasys.Errno {
	if a != 0 {
		return a
	}
	return b
}

func names(t *testing.T, f *rootfs.FS, path string) []string {
	t.Helper()
	dir, errno := f.OpenFile(path, wasys.O_RDONLY|wasys.O_DIRECTORY, 0)
	if errno != 0 {
		t.Fatalf("open %s: %v", path, errno)
	}
	defer dir.Close()
	entries, errno := dir.Readdir(-1)
	if errno != 0 {
		t.Fatalf("list %s: %v", path, errno)
	}
	out := []string{}
	for _, e := range entries {
		if e.Ino == 0 {
			t.Errorf("%s has no inode", e.Name)
		}
		out = append(out, e.Name)
	}
	slices.Sort(out)
	return out
}

// op is a call that gives an error number.
type op struct {
	name string
	do   func(f *rootfs.FS) wasys.Errno
	want wasys.Errno
}

func run(t *testing.T, f *rootfs.FS, ops []op) {
	t.Helper()
	for _, o := range ops {
		if got := o.do(f); got != o.want {
			t.Errorf("%s: got %v, want %v", o.name, got, o.want)
		}
	}
}

func opened(path string, flag wasys.Oflag) func(*rootfs.FS) wasys.Errno {
	return func(f *rootfs.FS) wasys.Errno {
		file, errno := f.OpenFile(path, flag, 0)
		if errno != 0 {
			return errno
		}
		return file.Close()
	}
}

func TestOperations(t *testing.T) {
	dir := tree(t, map[string]string{
		"file": "content", "dir/inner": "x", "empty/": "", "full/a": "", "link": "->file", "dirlink": "->dir", "loop": "->loop",
	})
	f := open(t, rootfs.Mount{Host: dir})
	run(t, f, []op{
		{"open a file", opened("file", wasys.O_RDONLY), 0},
		{"open an absolute path", opened("/dir/inner", wasys.O_RDONLY), 0},
		{"open the root", opened(".", wasys.O_RDONLY|wasys.O_DIRECTORY), 0},
		{"open a directory", opened("dir", wasys.O_RDONLY), 0},
		{"open a directory to write", opened("dir", wasys.O_RDWR), wasys.EISDIR},
		{"open a file as a directory", opened("file", wasys.O_RDONLY|wasys.O_DIRECTORY), wasys.ENOTDIR},
		{"open a file with a slash", opened("file/", wasys.O_RDONLY), wasys.ENOTDIR},
		{"open below a file", opened("file/x", wasys.O_RDONLY), wasys.ENOTDIR},
		{"open nothing", opened("nothing", wasys.O_RDONLY), wasys.ENOENT},
		{"open a link", opened("link", wasys.O_RDONLY), 0},
		{"open a link without following", opened("link", wasys.O_RDONLY|wasys.O_NOFOLLOW), wasys.ELOOP},
		{"open a file without following", opened("dirlink/inner", wasys.O_RDONLY|wasys.O_NOFOLLOW), 0},
		{"open a link to a directory, with a slash", opened("dirlink/", wasys.O_RDONLY|wasys.O_NOFOLLOW), 0},
		{"open a loop", opened("loop", wasys.O_RDONLY), wasys.ELOOP},
		{"open the parent", opened("../x", wasys.O_RDONLY), wasys.EPERM},
		{"open a zero byte", opened("a\x00b", wasys.O_RDONLY), wasys.EINVAL},
		{"create what is there, exclusively", opened("file", wasys.O_RDWR|wasys.O_CREAT|wasys.O_EXCL), wasys.EEXIST},
		{"create exclusively", opened("new", wasys.O_RDWR|wasys.O_CREAT|wasys.O_EXCL), 0},
		{"create below nothing", opened("nothing/x", wasys.O_RDWR|wasys.O_CREAT), wasys.ENOENT},
		{"mkdir", func(f *rootfs.FS) wasys.Errno { return f.Mkdir("made", 0) }, 0},
		{"mkdir again", func(f *rootfs.FS) wasys.Errno { return f.Mkdir("made", 0) }, wasys.EEXIST},
		{"mkdir of the root", func(f *rootfs.FS) wasys.Errno { return f.Mkdir("/", 0) }, wasys.EEXIST},
		{"unlink a directory", func(f *rootfs.FS) wasys.Errno { return f.Unlink("made") }, wasys.EISDIR},
		{"rmdir a file", func(f *rootfs.FS) wasys.Errno { return f.Rmdir("file") }, wasys.ENOTDIR},
		{"rmdir a full directory", func(f *rootfs.FS) wasys.Errno { return f.Rmdir("full") }, wasys.ENOTEMPTY},
		{"rmdir a link", func(f *rootfs.FS) wasys.Errno { return f.Rmdir("dirlink") }, wasys.ENOTDIR},
		{"rmdir the root", func(f *rootfs.FS) wasys.Errno { return f.Rmdir("/") }, wasys.EPERM},
		{"rename a file onto a directory", func(f *rootfs.FS) wasys.Errno { return f.Rename("file", "made") }, wasys.EISDIR},
		{"rename a directory onto a file", func(f *rootfs.FS) wasys.Errno { return f.Rename("made", "file") }, wasys.ENOTDIR},
		{"rename a directory onto a full one", func(f *rootfs.FS) wasys.Errno { return f.Rename("made", "full") }, wasys.ENOTEMPTY},
		{"rename a directory onto an empty one", func(f *rootfs.FS) wasys.Errno { return f.Rename("made", "empty") }, 0},
		{"rename a file onto a file", func(f *rootfs.FS) wasys.Errno { return f.Rename("new", "file2") }, 0},
		{"rename into itself", func(f *rootfs.FS) wasys.Errno { return f.Rename("dir", "dir/x") }, wasys.EINVAL},
		{"rename nothing", func(f *rootfs.FS) wasys.Errno { return f.Rename("nothing", "x") }, wasys.ENOENT},
		{"link", func(f *rootfs.FS) wasys.Errno { return f.Link("file", "hard") }, 0},
		{"link onto a file", func(f *rootfs.FS) wasys.Errno { return f.Link("file", "hard") }, wasys.EEXIST},
		{"symlink", func(f *rootfs.FS) wasys.Errno { return f.Symlink("file", "soft") }, 0},
		{"symlink to an absolute path", func(f *rootfs.FS) wasys.Errno { return f.Symlink("/file", "soft2") }, wasys.EPERM},
		{"symlink onto the root", func(f *rootfs.FS) wasys.Errno { return f.Symlink("x", "/") }, wasys.EEXIST},
		{"chmod", func(f *rootfs.FS) wasys.Errno { return f.Chmod("file", 0o640) }, 0},
		{"readlink of a file", func(f *rootfs.FS) wasys.Errno { _, errno := f.Readlink("file"); return errno }, wasys.EINVAL},
		{"unlink a link", func(f *rootfs.FS) wasys.Errno { return f.Unlink("link") }, 0},
		{"stat a loop", func(f *rootfs.FS) wasys.Errno { _, errno := f.Stat("loop"); return errno }, wasys.ELOOP},
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
	if st, errno := f.Stat("/hard"); st.Nlink != 2 || st.Size != 7 || st.Mode != 0o640 || errno != 0 {
		t.Errorf("stat: %+v, %v", st, errno)
	}
	if st, errno := f.Lstat("/soft"); st.Mode.Type() != fs.ModeSymlink || errno != 0 {
		t.Errorf("lstat: %+v, %v", st, errno)
	}
}

func TestReadOnlyRefusesEveryChange(t *testing.T) {
	dir := tree(t, map[string]string{"file": "content", "dir/a": ""})
	f := open(t, rootfs.Mount{Host: dir, ReadOnly: true})
	file, errno := f.OpenFile("file", wasys.O_RDONLY, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer file.Close()
	onFile := func(do func() wasys.Errno) func(*rootfs.FS) wasys.Errno {
		return func(*rootfs.FS) wasys.Errno { return do() }
	}
	run(t, f, []op{
		{"open to read", opened("file", wasys.O_RDONLY), 0},
		{"open to write", opened("file", wasys.O_WRONLY), wasys.EROFS},
		{"open to read and write", opened("file", wasys.O_RDWR), wasys.EROFS},
		{"open to append", opened("file", wasys.O_RDWR|wasys.O_APPEND), wasys.EROFS},
		{"truncate while opening", opened("file", wasys.O_TRUNC), wasys.EROFS},
		{"create", opened("new", wasys.O_CREAT), wasys.EROFS},
		{"mkdir", func(f *rootfs.FS) wasys.Errno { return f.Mkdir("new", 0) }, wasys.EROFS},
		{"rmdir", func(f *rootfs.FS) wasys.Errno { return f.Rmdir("dir") }, wasys.EROFS},
		{"unlink", func(f *rootfs.FS) wasys.Errno { return f.Unlink("file") }, wasys.EROFS},
		{"rename", func(f *rootfs.FS) wasys.Errno { return f.Rename("file", "x") }, wasys.EROFS},
		{"link", func(f *rootfs.FS) wasys.Errno { return f.Link("file", "x") }, wasys.EROFS},
		{"symlink", func(f *rootfs.FS) wasys.Errno { return f.Symlink("file", "x") }, wasys.EROFS},
		{"chmod", func(f *rootfs.FS) wasys.Errno { return f.Chmod("file", 0o777) }, wasys.EROFS},
		{"utimens", func(f *rootfs.FS) wasys.Errno { return f.Utimens("file", 1, 1) }, wasys.EROFS},
		{"futimens", onFile(func() wasys.Errno { return file.Utimens(1, 1) }), wasys.EROFS},
		{"ftruncate", onFile(func() wasys.Errno { return file.Truncate(0) }), wasys.EROFS},
		{"write", onFile(func() wasys.Errno { _, errno := file.Write([]byte("x")); return errno }), wasys.EBADF},
		{"pwrite", onFile(func() wasys.Errno { _, errno := file.Pwrite([]byte("x"), 0); return errno }), wasys.EBADF},
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
		{"the mounted file has no siblings", opened("etc/app/other", wasys.O_RDONLY), wasys.ENOENT},
		{"nor children", opened("etc/app/app.yaml/x", wasys.O_RDONLY), wasys.ENOTDIR},
		{"it is no directory", opened("etc/app/app.yaml/", wasys.O_RDONLY), wasys.ENOTDIR},
		{"it is read-only", opened("etc/app/app.yaml", wasys.O_RDWR), wasys.EROFS},
		{"write a mounted file", func(f *rootfs.FS) wasys.Errno { return write(f, "dev/rw", "CONF", 0) }, 0},
		{"create in a volume", func(f *rootfs.FS) wasys.Errno { return write(f, "data/new", "", wasys.O_CREAT) }, 0},
		{"create in a read-only mount in it", opened("data/sub/inner/x", wasys.O_CREAT|wasys.O_RDWR), wasys.EROFS},
		{"rename between mounts", func(f *rootfs.FS) wasys.Errno { return f.Rename("etc/hosts", "data/hosts") }, wasys.ENOTSUP},
		{"link between mounts", func(f *rootfs.FS) wasys.Errno { return f.Link("etc/hosts", "data/hosts") }, wasys.ENOTSUP},
		{"remove a mount point", func(f *rootfs.FS) wasys.Errno { return f.Rmdir("data") }, wasys.EPERM},
		{"remove a mounted file", func(f *rootfs.FS) wasys.Errno { return f.Unlink("dev/rw") }, wasys.EPERM},
		{"rename a mount point", func(f *rootfs.FS) wasys.Errno { return f.Rename("data", "x") }, wasys.ENOTSUP},
		{"rename what a mount point is in", func(f *rootfs.FS) wasys.Errno { return f.Rename("dev", "x") }, wasys.EPERM},
		{"rename onto a mount point", func(f *rootfs.FS) wasys.Errno { return f.Rename("etc/hosts", "dev/rw") }, wasys.ENOTSUP},
		{"link a mounted file", func(f *rootfs.FS) wasys.Errno { return f.Link("dev/rw", "dev/rw") }, wasys.EPERM},
		{"mkdir of a mount point", func(f *rootfs.FS) wasys.Errno { return f.Mkdir("data", 0) }, wasys.EEXIST},
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
		{"read a FIFO", opened("fifo", wasys.O_RDONLY), wasys.ENOTSUP},
		{"write a FIFO", opened("fifo", wasys.O_WRONLY), wasys.ENOTSUP},
		{"open a FIFO both ways", opened("fifo", wasys.O_RDWR|wasys.O_NOFOLLOW), wasys.ENOTSUP},
		{"open a socket", opened("sock", wasys.O_RDONLY), wasys.ENOTSUP},
	}
	if unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) == nil {
		ops = append(ops, op{"open a device", opened("null", wasys.O_RDWR), wasys.ENOTSUP})
	}
	f := open(t, rootfs.Mount{Host: dir})
	run(t, f, ops)
	if st, errno := f.Lstat("fifo"); st.Mode.Type() != fs.ModeNamedPipe || errno != 0 {
		t.Errorf("%+v, %v", st, errno)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	f := open(t, rootfs.Mount{Host: dir})
	file, errno := f.OpenFile("f", wasys.O_RDWR|wasys.O_CREAT|wasys.O_APPEND, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer file.Close()
	do := func(name string, n int, errno wasys.Errno, wantN int, want wasys.Errno) {
		t.Helper()
		if n != wantN || errno != want {
			t.Errorf("%s: %d, %v", name, n, errno)
		}
	}
	buf := make([]byte, 10)
	n, errno := file.Write([]byte("0123"))
	do("write", n, errno, 4, 0)
	n, errno = file.Pwrite([]byte("ab"), 1) // in append mode, which Linux would append
	do("pwrite", n, errno, 2, 0)
	n, errno = file.Write([]byte("45"))
	do("append", n, errno, 2, 0)
	n, errno = file.Pread(buf, 0)
	do("pread at the end", n, errno, 6, 0)
	if string(buf[:n]) != "0ab345" {
		t.Errorf("content %q", buf[:n])
	}
	do("leave append mode", 0, file.SetAppend(false), 0, 0)
	at, errno := file.Seek(2, io.SeekStart)
	do("seek", int(at), errno, 2, 0)
	n, errno = file.Write([]byte("x"))
	do("write in the middle", n, errno, 1, 0)
	n, errno = file.Pread(buf, -1)
	do("pread before the start", n, errno, 0, wasys.EINVAL)
	n, errno = file.Pwrite(buf, -1)
	do("pwrite before the start", n, errno, 0, wasys.EINVAL)
	_, errno = file.Seek(-1, io.SeekStart)
	do("seek before the start", 0, errno, 0, wasys.EINVAL)
	_, errno = file.Seek(0, 7)
	do("seek from nowhere", 0, errno, 0, wasys.EINVAL)
	do("truncate", 0, file.Truncate(3), 0, 0)
	do("truncate below zero", 0, file.Truncate(-1), 0, wasys.EINVAL)
	do("sync", 0, errors2(file.Sync(), file.Datasync()), 0, 0)
	do("set times", 0, file.Utimens(1_000_000_001, wasys.UTIME_OMIT), 0, 0)
	do("set times by path", 0, f.Utimens("f", wasys.UTIME_OMIT, 2_000_000_002), 0, 0)
	st, errno := file.Stat()
	if st.Size != 3 || st.Atim != 1_000_000_001 || st.Mtim != 2_000_000_002 || errno != 0 {
		t.Errorf("%+v, %v", st, errno)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "f")); string(got) != "0ax" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDirectory(t *testing.T) {
	f := open(t, rootfs.Mount{Host: tree(t, map[string]string{"a": "", "b/": "", "c": "->a"})})
	dir, errno := f.OpenFile("/", wasys.O_RDONLY, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer dir.Close()
	for range 2 {
		types := map[string]fs.FileMode{}
		for {
			entries, errno := dir.Readdir(2)
			if errno != 0 {
				t.Fatal(errno)
			}
			for _, e := range entries {
				types[e.Name] = e.Type
			}
			if len(entries) < 2 {
				break
			}
		}
		if diff := cmp.Diff(map[string]fs.FileMode{"a": 0, "b": fs.ModeDir, "c": fs.ModeSymlink}, types); diff != "" {
			t.Error(diff)
		}
		if _, errno := dir.Seek(0, io.SeekStart); errno != 0 {
			t.Error(errno)
		}
	}
	_, seek := dir.Seek(1, io.SeekStart)
	_, read := dir.Read(make([]byte, 1))
	_, pread := dir.Pread(make([]byte, 1), 0)
	_, written := dir.Write([]byte("x"))
	_, pwrite := dir.Pwrite([]byte("x"), 0)
	got := []wasys.Errno{seek, read, pread, written, pwrite, dir.Truncate(0)}
	if diff := cmp.Diff([]wasys.Errno{wasys.EINVAL, wasys.EISDIR, wasys.EISDIR, wasys.EBADF, wasys.EISDIR, wasys.EISDIR}, got); diff != "" {
		t.Error(diff)
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
		_ = write(f, "real/made", "x", wasys.O_CREAT)
		_ = f.Rename("real/made", "real/moved")
		_ = f.Unlink("real/file2")
		_ = f.Mkdir("real/dir", 0)
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
