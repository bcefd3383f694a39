package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errLink is why a path is refused that somebody may have changed since it was checked.
var errLink = errors.New("is a symbolic link, which is not followed here")

// openHost opens a clean absolute path and the directory that has it. No part of the path may be a symbolic link: it is
// walked one name at a time, each below what was opened before. openat2(2) would do that in one call where there is one.
func openHost(host string) (parent, target *os.File, err error) {
	if target, err = openPart(unix.AT_FDCWD, "/", "/"); err != nil {
		return nil, nil, err
	}
	if parent, err = openPart(unix.AT_FDCWD, "/", "/"); err != nil {
		return nil, nil, errors.Join(err, target.Close())
	}
	for part := range strings.SplitSeq(host[1:], "/") {
		if part == "" { // of "/"
			break
		}
		_ = parent.Close()
		parent = target
		if target, err = openPart(int(parent.Fd()), part, filepath.Join(parent.Name(), part)); err != nil {
			return nil, nil, errors.Join(err, parent.Close())
		}
	}
	return parent, target, nil
}

// openPart opens one name of a directory for nothing but to refer to it. path is for messages.
func openPart(dir int, name, path string) (*os.File, error) {
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	var fd int
	open := func(flags int) error {
		return retry(func() (err error) {
			fd, err = unix.Openat(dir, name, flags, 0)
			return err
		})
	}
	err := open(flags | unix.O_DIRECTORY) // which makes the kernel mount what is mounted on demand
	if errors.Is(err, unix.ENOTDIR) {
		err = open(flags)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	info, err := f.Stat()
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		err = &fs.PathError{Op: "open", Path: path, Err: errLink}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// descriptor is a path that leads to the open file.
func descriptor(f *os.File) string { return descriptorPath(int(f.Fd())) }

func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// memoryFile is a file that is in no directory, and that nobody can change.
func memoryFile(name, data string) (_ *os.File, err error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.WriteString(data); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
