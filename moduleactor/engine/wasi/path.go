package wasi

import (
	"strings"

	"golang.org/x/sys/unix"
)

// dir returns the directory behind a descriptor.
func (c call) dir(fd uint64, need Rights) (*dir, Errno) {
	d, errno := c.table.get(fd, 0)
	if errno != esuccess {
		return nil, errno
	}
	o, ok := d.object.(*dir)
	switch {
	case !ok:
		return nil, enotdir
	case !d.can(need):
		return nil, enotcapable
	default:
		return o, esuccess
	}
}

// at returns the directory and the path that arguments fd, path and length name, which start at n.
func (c call) at(n int, need Rights) (*dir, string, Errno) { return c.atSplit(n, n+1, need) }

func (c call) atSplit(fd, path int, need Rights) (*dir, string, Errno) {
	d, errno := c.dir(c.a[fd], need)
	if errno != esuccess {
		return nil, "", errno
	}
	p, errno := c.mem.path(c.a[path], c.a[path+1])
	return d, p, errno
}

func (c call) pathCreateDirectory() Errno {
	d, path, errno := c.at(0, rightPathCreateDirectory)
	if errno != esuccess {
		return errno
	}
	return toErrno(d.dir.Mkdir(path))
}

func (c call) pathRemoveDirectory() Errno {
	d, path, errno := c.at(0, rightPathRemoveDirectory)
	if errno != esuccess {
		return errno
	}
	return toErrno(d.dir.Rmdir(path))
}

func (c call) pathUnlinkFile() Errno {
	d, path, errno := c.at(0, rightPathUnlinkFile)
	if errno != esuccess {
		return errno
	}
	return toErrno(d.dir.Unlink(path))
}

const followLinks = 1

func (c call) pathFilestatGet(unstable bool) Errno {
	d, path, errno := c.atSplit(0, 2, rightPathFilestatGet)
	if errno != esuccess {
		return errno
	}
	if dev := c.device(d, path); dev != nil {
		st, _ := dev.stat()
		return c.mem.putFilestat(c.a[4], st, unstable)
	}
	st, err := d.dir.Stat(path, c.a[1]&followLinks != 0)
	if err != nil {
		return toErrno(err)
	}
	return c.mem.putFilestat(c.a[4], statOf(&st), unstable)
}

func (c call) pathFilestatSetTimes() Errno {
	d, path, errno := c.atSplit(0, 2, rightPathFilestatSetTimes)
	if errno != esuccess {
		return errno
	}
	atim, mtim, errno := times(c.a[4], c.a[5], c.a[6])
	if errno != esuccess {
		return errno
	}
	return toErrno(d.dir.SetTimes(path, c.a[1]&followLinks != 0, atim, mtim))
}

// pathLink never follows a symbolic link, and says so.
func (c call) pathLink() Errno {
	from, path, errno := c.atSplit(0, 2, rightPathLinkSource)
	if errno != esuccess {
		return errno
	}
	to, target, errno := c.at(4, rightPathLinkTarget)
	switch {
	case errno != esuccess:
		return errno
	case c.a[1]&followLinks != 0:
		return einval
	}
	return toErrno(from.dir.Link(path, to.dir, target))
}

func (c call) pathRename() Errno {
	from, path, errno := c.at(0, rightPathRenameSource)
	if errno != esuccess {
		return errno
	}
	to, target, errno := c.at(3, rightPathRenameTarget)
	if errno != esuccess {
		return errno
	}
	return toErrno(from.dir.Rename(path, to.dir, target))
}

func (c call) pathSymlink() Errno {
	target, errno := c.mem.path(c.a[0], c.a[1])
	if errno != esuccess {
		return errno
	}
	d, path, errno := c.at(2, rightPathSymlink)
	switch {
	case errno != esuccess:
		return errno
	case strings.IndexByte(target, 0) >= 0:
		return einval
	}
	return toErrno(d.dir.Symlink(target, path))
}

func (c call) pathReadlink() Errno {
	d, path, errno := c.at(0, rightPathReadlink)
	if errno != esuccess {
		return errno
	}
	buf, errno := c.mem.bytes(c.a[3], c.a[4])
	if errno != esuccess {
		return errno
	}
	var target [maxPath]byte // the kernel refuses an empty buffer, which the guest's may be
	n, err := d.dir.Readlink(path, target[:])
	if err != nil {
		return toErrno(err)
	}
	return c.mem.putU32(c.a[5], uint32(copy(buf, target[:n])))
}

// What path_open may be asked for.
const (
	openCreate = 1 << iota
	openDirectory
	openExclusive
	openTruncate
)

// pathOpen opens a file or a directory. Rights beyond those that the directory hands on are left out without an error:
// the runtime of Go asks for all that there are.
func (c call) pathOpen() Errno {
	parent, path, errno := c.atSplit(0, 2, rightPathOpen)
	if errno != esuccess {
		return errno
	}
	d := c.table.list[uint32(c.a[0])]
	oflags, flags := uint32(c.a[4]), fdflags(c.a[7])
	need := Rights(0)
	if oflags&openCreate != 0 {
		need |= rightPathCreateFile
	}
	if oflags&openTruncate != 0 {
		need |= rightPathFilestatSetSize
	}
	switch {
	case oflags >= openTruncate<<1, uint32(c.a[7])&^uint32(flagsAll) != 0, oflags&openCreate != 0 && oflags&openDirectory != 0:
		return einval
	case !d.can(need):
		return enotcapable
	case c.table.full():
		return emfile
	}
	base := Rights(c.a[5]) & d.inheriting
	o, errno := c.open(parent, path, hostFlags(uint32(c.a[1]), oflags, base, flags))
	if errno != esuccess {
		return errno
	}
	opened := &descriptor{object: o, base: base & o.rights(), flags: flags}
	if o.filetype() == directory {
		opened.inheriting = Rights(c.a[6]) & d.inheriting
	}
	fd := c.table.insert(opened)
	if errno := c.mem.putU32(c.a[8], fd); errno != esuccess {
		_ = c.table.release(fd)
		return errno
	}
	return esuccess
}

func (c call) open(d *dir, path string, flags int) (object, Errno) {
	if dev := c.device(d, path); dev != nil {
		switch {
		case flags&unix.O_DIRECTORY != 0:
			return nil, enotdir
		case flags&unix.O_EXCL != 0:
			return nil, eexist
		}
		return dev, esuccess
	}
	f, sub, err := d.dir.Open(path, flags)
	switch {
	case err != nil:
		return nil, toErrno(err)
	case sub != nil:
		return newDir(sub), esuccess
	default:
		return &file{File: f, append: flags&unix.O_APPEND != 0}, esuccess
	}
}

// hostFlags are the flags of open(2).
func hostFlags(lookup, oflags uint32, base Rights, flags fdflags) int {
	host := unix.O_RDONLY
	switch write := base&writeRights != 0; {
	case write && base&readRights != 0:
		host = unix.O_RDWR
	case write:
		host = unix.O_WRONLY
	}
	for _, f := range []struct {
		set  bool
		host int
	}{
		{lookup&followLinks == 0, unix.O_NOFOLLOW},
		{oflags&openDirectory != 0, unix.O_DIRECTORY},
		{oflags&openCreate != 0, unix.O_CREAT},
		{oflags&openExclusive != 0, unix.O_EXCL},
		{oflags&openTruncate != 0, unix.O_TRUNC},
		{flags&flagAppend != 0, unix.O_APPEND},
		{flags&flagDsync != 0, unix.O_DSYNC},
		{flags&(flagSync|flagRsync) != 0, unix.O_SYNC},
	} {
		if f.set {
			host |= f.host
		}
	}
	return host
}
