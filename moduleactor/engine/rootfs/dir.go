package rootfs

import (
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// Omit as a time leaves the time as it is.
const Omit = int64(-1) << 63

// Dir is an open directory of the guest. One goroutine uses it.
type Dir struct {
	fs *FS
	*mount
	// root is the directory itself, nil before the first use of one that was left for later; name is its path when it was opened, which only finds the mounts below it: a directory
	// that has one cannot be renamed by a guest.
	root *os.Root
	name string
	list *os.File // for listing, once it is wanted
	last bool     // the texts were listed too, which come last
}

func newDir(f *FS, m *mount, root *os.Root, rel, name string) (*Dir, error) {
	opened, err := root.OpenRoot(rel)
	if err != nil {
		return nil, err
	}
	return &Dir{fs: f, mount: m, root: opened, name: name}, nil
}

// ready opens a root that was left for later.
func (d *Dir) ready() error {
	if d.root != nil {
		return nil
	}
	if err := d.fs.ready(); err != nil {
		return err
	}
	opened, err := d.fs.Root()
	if err != nil {
		return err
	}
	d.mount, d.root = opened.mount, opened.root
	return nil
}

// Close closes the directory.
func (d *Dir) Close() error {
	if d.root == nil {
		return nil
	}
	if d.list != nil {
		_ = d.list.Close()
	}
	return d.root.Close()
}

// Name is the path, without the leading slash, that a path relative to d has for the guest, and whether the root file
// system has it and not a mount.
func (d *Dir) Name(guest string) (string, bool) {
	if check(guest) != nil {
		return "", false
	}
	p, err := d.find(guest)
	return path.Join(d.name, guest), err == nil && p.mount.name == ""
}

// File is an open regular file.
type File struct {
	*os.File
	// FD is its descriptor, Stat what it was when it was opened.
	FD   int
	Stat unix.Stat_t
	// ReadOnly is set if its mount is.
	ReadOnly bool
}

// What a new file gets before the umask: a guest of WASI cannot say.
const (
	filePerm = 0o666
	dirPerm  = 0o777
)

// Open opens a regular file, or a directory. Flags are those of open(2); O_NOFOLLOW is honoured for the last element.
func (d *Dir) Open(guest string, flags int) (*File, *Dir, error) {
	p, err := d.find(guest)
	if err != nil {
		return nil, nil, err
	}
	if p.readOnly && flags&(unix.O_RDWR|unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC) != 0 {
		return nil, nil, unix.EROFS
	}
	if p.slash {
		if flags&unix.O_CREAT != 0 {
			return nil, nil, unix.EISDIR // Linux would make a file, and then say that it is no directory
		}
		flags |= unix.O_DIRECTORY
	}
	// A FIFO must not block the open, and a terminal not become ours.
	open := p.open
	if p.text != nil {
		open = p.text.open
	}
	file, err := open(flags | unix.O_NONBLOCK | unix.O_NOCTTY)
	if err != nil {
		return nil, nil, err
	}
	f := &File{File: file, ReadOnly: p.readOnly}
	if f.FD, err = fdOf(file); err == nil {
		err = retry(func() error { return unix.Fstat(f.FD, &f.Stat) })
	}
	switch kind := f.Stat.Mode & unix.S_IFMT; {
	case err == nil && kind == unix.S_IFREG:
		return f, nil, nil
	case err == nil && kind == unix.S_IFDIR:
		defer file.Close()
		name := path.Join(d.name, guest)
		if name == "." {
			name = ""
		}
		// Not by its name, which may be that of a FIFO by now: to open one as a directory would wait for ever.
		root, err := os.OpenRoot(descriptor(file))
		if err != nil {
			return nil, nil, err
		}
		return nil, &Dir{fs: d.fs, mount: p.mount, root: root, name: name}, nil
	case err == nil:
		err = unix.ENOTSUP
	}
	_ = file.Close()
	return nil, nil, err
}

// fdOf is the file's descriptor. Fd would make it blocking, and not all that calls itself a regular file has something to read: in
// /proc and /sys some wait for it.
func fdOf(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(n uintptr) { fd = int(n) })
	return fd, err
}

// Stat describes what the path leads to, a symbolic link itself if it is not to be followed.
func (d *Dir) Stat(guest string, follow bool) (st unix.Stat_t, err error) {
	p, err := d.find(guest)
	if err != nil {
		return st, err
	}
	if p.text != nil {
		return p.text.stat()
	}
	if p.rel == "." {
		return st, p.at(func(dir int, _ string) error { return unix.Fstat(dir, &st) })
	}
	if follow || p.slash {
		info, err := p.root.Stat(p.name())
		if err != nil {
			return st, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return fromInfo(info), nil
		}
	}
	return st, p.at(func(dir int, base string) error { return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) })
}

// SetTimes sets the times of what the path leads to, in nanoseconds since 1970, or Omit.
func (d *Dir) SetTimes(guest string, follow bool, atim, mtim int64) error {
	p, err := d.findWritable(guest)
	switch {
	case err != nil:
		return err
	case follow || p.slash || p.rel == ".":
		return p.root.Chtimes(p.name(), toTime(atim), toTime(mtim))
	default:
		return p.at(func(dir int, base string) error { return utimensat(dir, base, atim, mtim) })
	}
}

// toTime maps "leave it" to the zero Time, which is what os means by it.
func toTime(ns int64) time.Time {
	if ns == Omit {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// SetTimes sets the file's times like Dir.SetTimes.
func (f *File) SetTimes(atim, mtim int64) error {
	if f.ReadOnly {
		return unix.EROFS
	}
	return retry(func() error { return futimens(f.FD, atim, mtim) })
}

// Sync writes the directory to the disk.
func (d *Dir) Sync() error {
	if err := d.openList(); err != nil {
		return err
	}
	return d.list.Sync()
}

// Entry is one name in a directory.
type Entry struct {
	Name string
	Ino  uint64
	Mode uint32 // the type, as in Stat_t
}

func (d *Dir) openList() (err error) {
	if err := d.ready(); err != nil {
		return err
	}
	if d.list == nil {
		d.list, err = d.root.Open(".")
	}
	return err
}

// Rewind lets ReadDir begin again.
func (d *Dir) Rewind() error {
	if d.list == nil {
		return nil
	}
	d.last = false
	_, err := d.list.Seek(0, io.SeekStart)
	return err
}

// ReadDir returns at most n more entries; none: that was all.
func (d *Dir) ReadDir(n int) ([]Entry, error) {
	if err := d.openList(); err != nil {
		return nil, err
	}
	var out []Entry
	for len(out) == 0 {
		entries, err := d.list.ReadDir(n)
		for _, e := range entries {
			var st unix.Stat_t
			if unix.Fstatat(int(d.list.Fd()), e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW) == nil { // else it was removed meanwhile
				out = append(out, Entry{Name: e.Name(), Ino: st.Ino, Mode: uint32(st.Mode) & unix.S_IFMT})
			}
		}
		if err == io.EOF || len(entries) == 0 { //nolint:errorlint // as ReadDir promises it
			if d.last {
				break
			}
			d.last = true
			return d.texts()
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}
