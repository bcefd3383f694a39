package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links at the end of a path are followed, one to the next; as on Linux.
const maxLinks = 40

// errEscapes is what os.Root says, too.
var errEscapes = errors.New("path escapes from parent")

// open opens what the place leads to, if that is a regular file or a directory. Nothing else is opened, not for a moment: whoever
// waits at a FIFO would go on, and with some devices to be opened is to be started.
func (p place) open(flags int) (*os.File, error) {
	if p.slash {
		flags &^= unix.O_NOFOLLOW
		p.slash = false // it is in flags as O_DIRECTORY, and would make the kernel follow a link, wherever that leads
	}
	for range maxLinks {
		file, target, err := p.openLast(flags)
		switch {
		case errors.Is(err, unix.EEXIST) && flags&unix.O_EXCL == 0: // somebody has made it just now
			continue
		case err != nil || target == "":
			return file, err
		case path.IsAbs(target):
			return nil, &fs.PathError{Op: "open", Path: p.rel, Err: errEscapes}
		}
		if target[len(target)-1] == '/' {
			flags |= unix.O_DIRECTORY
		}
		dir, _ := path.Split(p.rel)
		p.rel = dir + target // os.Root judges where that is
	}
	return nil, unix.ELOOP
}

// openLast opens the place, or tells where the symbolic link leads that is there.
func (p place) openLast(flags int) (file *os.File, target string, err error) {
	for len(p.rel) > 1 && p.rel[len(p.rel)-1] == '/' {
		p.rel = p.rel[:len(p.rel)-1]
	}
	if base := path.Base(p.rel); base == "." || base == ".." {
		if flags&unix.O_CREAT != 0 {
			return nil, "", unix.EISDIR
		}
		file, err = p.root.OpenFile(p.rel, flags&^unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
		return file, "", err
	}
	err = p.at(func(dir int, base string) error {
		fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) && flags&unix.O_CREAT != 0 {
			if fd, err = unix.Openat(dir, base, flags|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, filePerm); err == nil {
				file = os.NewFile(uintptr(fd), base)
			}
			return err
		}
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		file, target, err = reopen(fd, flags)
		return err
	})
	return file, target, err
}

// reopen opens what a descriptor only refers to.
func reopen(fd, flags int) (file *os.File, target string, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, "", err
	}
	kind := st.Mode & unix.S_IFMT
	switch {
	case flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL:
		return nil, "", unix.EEXIST
	case kind == unix.S_IFLNK && flags&unix.O_NOFOLLOW != 0:
		return nil, "", unix.ELOOP
	case kind == unix.S_IFLNK:
		target, err = readLink(fd)
		return nil, target, err
	case kind == unix.S_IFDIR && flags&unix.O_CREAT != 0:
		return nil, "", unix.EISDIR
	case kind != unix.S_IFREG && kind != unix.S_IFDIR && flags&unix.O_DIRECTORY != 0:
		return nil, "", unix.ENOTDIR
	case kind != unix.S_IFREG && kind != unix.S_IFDIR:
		return nil, "", unix.ENOTSUP
	}
	name := descriptorPath(fd)
	opened, err := unix.Open(name, flags&^(unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", err
	}
	return os.NewFile(uintptr(opened), name), "", nil
}

// readLink reads the symbolic link that a descriptor refers to; one that is empty leads nowhere.
func readLink(fd int) (string, error) {
	var buf [maxPath]byte
	n, err := unix.Readlinkat(fd, "", buf[:])
	if err == nil && n <= 0 {
		err = unix.ENOENT
	}
	return string(buf[:max(n, 0)]), err
}
