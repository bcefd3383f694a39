package rootfs

import (
	"path"

	"golang.org/x/sys/unix"
)

// Mkdir makes a directory.
func (d *Dir) Mkdir(guest string) error {
	p, err := d.findWritable(guest)
	switch {
	case err != nil:
		return err
	case p.point:
		return unix.EEXIST
	default:
		return p.root.Mkdir(p.name(), dirPerm)
	}
}

// Rename renames like rename(2): it replaces a file, or an empty directory by a directory, which os.Root does not.
func (d *Dir) Rename(from string, dir *Dir, to string) error {
	a, b, err := d.findPair(from, dir, to)
	switch {
	case err != nil:
		return err
	case a.point || b.point:
		return unix.EBUSY
	case a.rel == "." || b.rel == ".":
		return unix.EINVAL
	}
	return a.at(func(oldDir int, oldBase string) error {
		return b.at(func(newDir int, newBase string) error {
			return unix.Renameat(oldDir, oldBase, newDir, newBase)
		})
	})
}

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(guest string) error { return d.unlinkat(guest, unix.AT_REMOVEDIR) }

// Unlink removes a name of anything else.
func (d *Dir) Unlink(guest string) error { return d.unlinkat(guest, 0) }

func (d *Dir) unlinkat(guest string, flags int) error {
	p, err := d.findWritable(guest)
	switch {
	case err != nil:
		return err
	case p.point:
		return unix.EBUSY
	case p.rel == ".":
		return unix.EINVAL
	}
	return p.at(func(dir int, base string) error { return unix.Unlinkat(dir, base, flags) })
}

// Link gives a file another name. A symbolic link is not followed, the link itself gets another name.
func (d *Dir) Link(from string, dir *Dir, to string) error {
	a, b, err := d.findPair(from, dir, to)
	switch {
	case err != nil:
		return err
	case a.file != "" || b.file != "":
		return unix.EPERM
	case a.rel == "." || b.rel == ".":
		return unix.EPERM
	case a.slash: // the kernel would follow it
		return a.noFile(unix.EPERM)
	}
	return a.at(func(oldDir int, oldBase string) error {
		return b.at(func(newDir int, newBase string) error {
			return unix.Linkat(oldDir, oldBase, newDir, newBase, 0)
		})
	})
}

// Symlink makes a symbolic link. Absolute targets are refused: they would lead nowhere here, and somewhere for a process
// of the host that sees the volume.
func (d *Dir) Symlink(target, guest string) error {
	p, err := d.findWritable(guest)
	switch {
	case err != nil:
		return err
	case path.IsAbs(target):
		return unix.EPERM
	case p.point:
		return unix.EEXIST
	case target == "":
		return unix.ENOENT
	}
	return p.at(func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
}

// Readlink reads a symbolic link into buf, as much as fits.
func (d *Dir) Readlink(guest string, buf []byte) (n int, err error) {
	p, err := d.find(guest)
	if err != nil {
		return 0, err
	}
	switch {
	case p.text != nil:
		return 0, unix.EINVAL
	case p.slash: // the kernel would follow it
		return 0, p.noFile(unix.EINVAL)
	}
	err = p.at(func(dir int, base string) (err error) {
		n, err = unix.Readlinkat(dir, base, buf)
		return err
	})
	return max(n, 0), err
}

// noFile is why a place that ends in a slash is not what is wanted: it is a directory, if it is anything.
func (p place) noFile(directory error) error {
	if _, err := p.root.Stat(p.name()); err != nil {
		return err
	}
	return directory
}
