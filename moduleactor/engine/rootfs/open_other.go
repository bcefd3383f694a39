//go:build !linux

package rootfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// open opens what the place leads to, whatever that is: for development only.
func (p place) open(flags int) (*os.File, error) {
	if flags&unix.O_NOFOLLOW == 0 || p.slash || p.rel == "." {
		return p.root.OpenFile(p.rel, flags&^unix.O_NOFOLLOW, filePerm)
	}
	// os.Root has no way to say "do not follow".
	var file *os.File
	err := p.at(func(dir int, base string) error {
		fd, err := unix.Openat(dir, base, flags|unix.O_CLOEXEC, filePerm)
		if err == nil {
			file = os.NewFile(uintptr(fd), base)
		}
		return err
	})
	return file, err
}
