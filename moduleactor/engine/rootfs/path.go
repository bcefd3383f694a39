package rootfs

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxPath bounds a path of the guest, as on Linux.
const maxPath = 4096

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

// place is a path of the guest resolved to a mount; the last element of rel is not yet looked at. It is never "..".
type place struct {
	*mount
	// root is the mount's, or that of the directory that the path is relative to.
	root *os.Root
	rel  string
	// slash is a trailing slash, which wants a directory.
	slash bool
	// point is a mount point or above one: it cannot be removed or renamed.
	point bool
}

// check refuses what is no path below a directory. It allows "a/..", and leaves links to os.Root.
func check(guest string) error {
	switch name := path.Clean(guest); {
	case guest == "":
		return unix.ENOENT
	case len(guest) > maxPath:
		return unix.ENAMETOOLONG
	case strings.IndexByte(guest, 0) >= 0:
		return unix.EINVAL
	case guest[0] == '/', name == "..", strings.HasPrefix(name, "../"):
		return unix.EPERM
	default:
		return nil
	}
}

// find resolves the guest's path to a mount, lexically: symbolic links never lead to another one.
func (d *Dir) find(guest string) (place, error) {
	if err := check(guest); err != nil {
		return place{}, err
	}
	if err := d.ready(); err != nil {
		return place{}, err
	}
	name := path.Join(d.name, guest)
	if name == "." {
		name = ""
	}
	p := place{slash: strings.HasSuffix(guest, "/")}
	for _, m := range d.fs.mounts {
		if m.name == name || name == "" || strings.HasPrefix(m.name, name+"/") {
			p.point = true
		}
		if rel, ok := m.rel(name); ok && p.mount == nil {
			p.mount, p.root, p.rel = m, m.root, rel
		}
	}
	switch {
	case p.file != "" && (p.rel != "." || p.slash):
		return place{}, unix.ENOTDIR
	case p.file != "":
		p.rel = p.file
	case p.mount == d.mount:
		p.root, p.rel = d.root, path.Clean(guest)
		// As it was given ".." is the parent of where a link leads. At the end it must be gone: see at.
		if last := path.Base(guest); last != "." && last != ".." {
			p.rel = strings.TrimRight(guest, "/")
		} else {
			p.slash = p.rel != "."
		}
	}
	return p, nil
}

// findWritable is find for what changes the file system.
func (d *Dir) findWritable(guest string) (place, error) {
	p, err := d.find(guest)
	if err == nil && p.readOnly {
		return place{}, unix.EROFS
	}
	return p, err
}

// findPair resolves two paths that must be in one mount.
func (d *Dir) findPair(from string, dir *Dir, to string) (a, b place, err error) {
	if a, err = d.findWritable(from); err != nil {
		return a, b, err
	}
	if b, err = dir.findWritable(to); err != nil {
		return a, b, err
	}
	if a.mount != b.mount {
		return a, b, unix.EXDEV
	}
	return a, b, nil
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
func (p place) at(do func(dir int, base string) error) error {
	dir, base := path.Split(p.rel)
	if dir = strings.TrimRight(dir, "/"); dir == "" {
		dir = "."
	}
	parent, err := p.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer parent.Close()
	if p.slash {
		base += "/"
	}
	return retry(func() error { return do(int(parent.Fd()), base) })
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
