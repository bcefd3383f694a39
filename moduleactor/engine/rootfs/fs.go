package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	wasys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
	"golang.org/x/sys/unix"
)

// Mount is a directory or file of the host inside the guest. Host is an absolute path. On Linux no part of it may be a
// symbolic link: whoever trusts one resolves it before.
type Mount struct {
	Host, Guest string
	ReadOnly    bool
}

// FS is a guest's file system. It implements wazero's experimental/sys.FS. Paths are relative to /.
type FS struct {
	wasys.UnimplementedFS
	// mounts are ordered so that the first whose name is a prefix of a path is the one that has it; the last is /.
	mounts []*mount
}

type mount struct {
	// name is the guest path without the leading slash; "" is the root.
	name string
	// host is what is mounted. It is only referred to, by Opened.
	host *os.File
	root *os.Root
	// file is the only visible name of root, when a file is mounted.
	file     string
	readOnly bool
}

// Open opens root as / and the mounts in it, each once, and creates their mount points. Root's ReadOnly binds the guest, not Open.
func Open(root Mount, mounts []Mount) (*FS, error) {
	f := &FS{}
	for _, m := range append([]Mount{{Host: root.Host, Guest: "/", ReadOnly: root.ReadOnly}}, mounts...) {
		if err := f.add(m); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	// Outer mount points first: inner ones are created in what is mounted outside of them.
	slices.SortStableFunc(f.mounts, func(a, b *mount) int { return depth(a.name) - depth(b.name) })
	for i, m := range f.mounts[1:] {
		if err := f.makePoint(f.mounts[:i+1], m); err != nil {
			return nil, errors.Join(fmt.Errorf("mount point /%s: %w", m.name, err), f.Close())
		}
	}
	slices.Reverse(f.mounts)
	return f, nil
}

func (f *FS) add(m Mount) error {
	n, err := openMount(m)
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.Guest, err)
	}
	if slices.ContainsFunc(f.mounts, func(o *mount) bool { return o.name == n.name }) {
		return errors.Join(fmt.Errorf("mount %s: something is mounted there already", m.Guest), n.close())
	}
	f.mounts = append(f.mounts, n)
	return nil
}

// makePoint makes the mount point of m visible in the innermost of the outer mounts that has it. A read-only volume of
// the host is not written to: a mount point that is not there stays invisible to directory listings.
func (f *FS) makePoint(outer []*mount, m *mount) error {
	for _, o := range slices.Backward(outer) {
		rel, ok := o.rel(m.name)
		if !ok {
			continue
		}
		if o.file != "" {
			return fmt.Errorf("/%s is a mounted file", o.name)
		}
		if o.name != "" && o.readOnly {
			return nil
		}
		return makePoint(o.root, rel, m.file != "")
	}
	return nil
}

func makePoint(root *os.Root, name string, file bool) error {
	info, err := root.Stat(name)
	switch {
	case err == nil && info.IsDir() == file:
		return fmt.Errorf("the path exists and is a %s", map[bool]string{true: "directory", false: "file"}[file])
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !file:
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	created, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return created.Close()
}

// Close closes the directories. Files that the guest has open stay usable.
func (f *FS) Close() error {
	var errs []error
	for _, m := range f.mounts {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

func depth(name string) int {
	if name == "" {
		return 0
	}
	return 1 + strings.Count(name, "/")
}

// rel is name below the mount, "." for the mount itself.
func (m *mount) rel(name string) (string, bool) {
	switch {
	case name == m.name:
		return ".", true
	case m.name == "":
		return name, true
	case strings.HasPrefix(name, m.name+"/"):
		return name[len(m.name)+1:], true
	default:
		return "", false
	}
}

// place is a path of the guest resolved to a mount; the last element of rel is not yet looked at.
type place struct {
	*mount
	rel string
	// slash is a trailing slash, which wants a directory.
	slash bool
	// point is a mount point or above one: it cannot be removed or renamed.
	point bool
}

// find resolves the guest's path lexically: symbolic links never lead to another mount.
func (f *FS) find(guest string) (place, wasys.Errno) {
	name := path.Clean(strings.TrimLeft(guest, "/"))
	switch {
	case name == ".." || strings.HasPrefix(name, "../"):
		return place{}, wasys.EPERM
	case strings.IndexByte(name, 0) >= 0:
		return place{}, wasys.EINVAL
	case name == ".":
		name = ""
	}
	p := place{slash: strings.HasSuffix(guest, "/") && name != ""}
	for _, m := range f.mounts {
		if m.name == name || name == "" || strings.HasPrefix(m.name, name+"/") {
			p.point = true
		}
		rel, ok := m.rel(name)
		if !ok || p.mount != nil {
			continue
		}
		p.mount, p.rel = m, rel
		if m.file != "" {
			if rel != "." || p.slash {
				return place{}, wasys.ENOTDIR
			}
			p.rel = m.file
		}
	}
	return p, 0
}

// findWritable is find for what changes the file system.
func (f *FS) findWritable(guest string) (place, wasys.Errno) {
	p, errno := f.find(guest)
	if errno == 0 && p.readOnly {
		return place{}, wasys.EROFS
	}
	return p, errno
}

// name is rel with the trailing slash, for calls that know what it means.
func (p place) name() string {
	if p.slash {
		return p.rel + "/"
	}
	return p.rel
}

// at calls do with the descriptor of the directory that holds the place, and the place's own name. No system call that do
// makes may follow that name if it is a symbolic link.
func (p place) at(do func(dir int, base string) error) wasys.Errno {
	dir, base := path.Split(p.rel)
	parent, err := p.root.OpenFile(path.Clean(dir), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return toErrno(err)
	}
	defer parent.Close()
	if p.slash {
		base += "/"
	}
	return toErrno(retry(func() error { return do(int(parent.Fd()), base) }))
}

// OpenFile implements FS.
func (f *FS) OpenFile(guest string, flag wasys.Oflag, _ fs.FileMode) (wasys.File, wasys.Errno) {
	p, errno := f.find(guest)
	if errno != 0 {
		return nil, errno
	}
	const writes = wasys.O_RDWR | wasys.O_WRONLY | wasys.O_CREAT | wasys.O_TRUNC
	if p.readOnly && flag&writes != 0 {
		return nil, wasys.EROFS
	}
	file, errno := p.open(flag)
	if errno != 0 {
		return nil, errno
	}
	return newFile(file, p.readOnly, flag)
}

// filePerm is what a new file gets before the umask: a guest of WASI cannot say.
const (
	filePerm = 0o666
	dirPerm  = 0o777
)

func (p place) open(flag wasys.Oflag) (*os.File, wasys.Errno) {
	host := openFlags(flag)
	if p.slash {
		host |= unix.O_DIRECTORY
	}
	if flag&wasys.O_NOFOLLOW == 0 || p.slash || p.rel == "." {
		file, err := p.root.OpenFile(p.rel, host, filePerm)
		return file, toErrno(err)
	}
	// os.Root has no way to say "do not follow".
	var file *os.File
	errno := p.at(func(dir int, base string) error {
		fd, err := unix.Openat(dir, base, host|unix.O_NOFOLLOW|unix.O_CLOEXEC, filePerm)
		if err == nil {
			file = os.NewFile(uintptr(fd), base)
		}
		return err
	})
	return file, errno
}

// openFlags adds O_NONBLOCK, so that a FIFO cannot block the open, and O_NOCTTY. Append is set later, see newFile.
func openFlags(flag wasys.Oflag) int {
	host := unix.O_NONBLOCK | unix.O_NOCTTY
	for _, f := range []struct {
		wasi wasys.Oflag
		host int
	}{
		{wasys.O_RDWR, unix.O_RDWR},
		{wasys.O_WRONLY, unix.O_WRONLY},
		{wasys.O_CREAT, unix.O_CREAT},
		{wasys.O_EXCL, unix.O_EXCL},
		{wasys.O_TRUNC, unix.O_TRUNC},
		{wasys.O_DIRECTORY, unix.O_DIRECTORY},
		{wasys.O_DSYNC, unix.O_DSYNC},
		{wasys.O_RSYNC, unix.O_SYNC},
		{wasys.O_SYNC, unix.O_SYNC},
	} {
		if flag&f.wasi != 0 {
			host |= f.host
		}
	}
	return host
}

// Lstat implements FS.
func (f *FS) Lstat(guest string) (sys.Stat_t, wasys.Errno) {
	p, errno := f.find(guest)
	if errno != 0 {
		return sys.Stat_t{}, errno
	}
	return stat(p.root.Lstat(p.name()))
}

// Stat implements FS.
func (f *FS) Stat(guest string) (sys.Stat_t, wasys.Errno) {
	p, errno := f.find(guest)
	if errno != 0 {
		return sys.Stat_t{}, errno
	}
	return stat(p.root.Stat(p.name()))
}

func stat(info fs.FileInfo, err error) (sys.Stat_t, wasys.Errno) {
	if err != nil {
		return sys.Stat_t{}, toErrno(err)
	}
	return sys.NewStat_t(info), 0
}

// Mkdir implements FS.
func (f *FS) Mkdir(guest string, _ fs.FileMode) wasys.Errno {
	p, errno := f.findWritable(guest)
	switch {
	case errno != 0:
		return errno
	case p.point:
		return wasys.EEXIST
	default:
		return toErrno(p.root.Mkdir(p.name(), dirPerm))
	}
}

// Chmod implements FS.
func (f *FS) Chmod(guest string, perm fs.FileMode) wasys.Errno {
	p, errno := f.findWritable(guest)
	if errno != 0 {
		return errno
	}
	return toErrno(p.root.Chmod(p.name(), perm.Perm()))
}

// Rename implements FS. Like rename(2) it replaces a file, or an empty directory by a directory, which os.Root does not.
func (f *FS) Rename(from, to string) wasys.Errno {
	a, b, errno := f.findPair(from, to)
	if errno != 0 {
		return errno
	}
	if a.point || b.point {
		return wasys.EPERM
	}
	return a.at(func(oldDir int, oldBase string) error {
		if errno := b.at(func(newDir int, newBase string) error {
			return unix.Renameat(oldDir, oldBase, newDir, newBase)
		}); errno != 0 {
			return errno
		}
		return nil
	})
}

// findPair resolves two paths that must be in one mount: WASI's error for anything else, EXDEV, is not one that wazero
// can pass on.
func (f *FS) findPair(x, y string) (a, b place, errno wasys.Errno) {
	if a, errno = f.findWritable(x); errno != 0 {
		return a, b, errno
	}
	if b, errno = f.findWritable(y); errno != 0 {
		return a, b, errno
	}
	if a.mount != b.mount {
		return a, b, wasys.ENOTSUP
	}
	return a, b, 0
}

// Rmdir implements FS.
func (f *FS) Rmdir(guest string) wasys.Errno { return f.unlinkat(guest, unix.AT_REMOVEDIR) }

// Unlink implements FS.
func (f *FS) Unlink(guest string) wasys.Errno { return f.unlinkat(guest, 0) }

func (f *FS) unlinkat(guest string, flags int) wasys.Errno {
	p, errno := f.findWritable(guest)
	switch {
	case errno != 0:
		return errno
	case p.point:
		return wasys.EPERM
	}
	return p.at(func(dir int, base string) error { return unix.Unlinkat(dir, base, flags) })
}

// Link implements FS. A symbolic link is not followed, the link itself gets another name.
func (f *FS) Link(from, to string) wasys.Errno {
	a, b, errno := f.findPair(from, to)
	switch {
	case errno != 0:
		return errno
	case a.file != "" || b.file != "":
		return wasys.EPERM
	}
	return toErrno(a.root.Link(a.name(), b.name()))
}

// Symlink implements FS. Absolute targets are refused: they would lead nowhere here, and somewhere for a process of the
// host that sees the volume.
func (f *FS) Symlink(target, guest string) wasys.Errno {
	p, errno := f.findWritable(guest)
	switch {
	case errno != 0:
		return errno
	case path.IsAbs(target):
		return wasys.EPERM
	case p.point:
		return wasys.EEXIST
	}
	return toErrno(p.root.Symlink(strings.Clone(target), p.name()))
}

// Readlink implements FS.
func (f *FS) Readlink(guest string) (string, wasys.Errno) {
	p, errno := f.find(guest)
	if errno != 0 {
		return "", errno
	}
	target, err := p.root.Readlink(p.name())
	return target, toErrno(err)
}

// Utimens implements FS.
func (f *FS) Utimens(guest string, atim, mtim int64) wasys.Errno {
	p, errno := f.findWritable(guest)
	if errno != 0 {
		return errno
	}
	return toErrno(p.root.Chtimes(p.name(), toTime(atim), toTime(mtim)))
}

// toTime maps "leave it" to the zero Time, which is what os means by it.
func toTime(ns int64) time.Time {
	if ns == wasys.UTIME_OMIT {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
