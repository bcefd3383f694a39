//go:build !linux

package rootfs

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openHost opens a path and the directory that has it. It follows symbolic links: for development only.
func openHost(host string) (parent, target *os.File, err error) {
	if host, err = filepath.EvalSymlinks(host); err != nil {
		return nil, nil, err
	}
	if target, err = os.OpenFile(host, os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return nil, nil, err
	}
	if parent, err = os.Open(filepath.Dir(host)); err != nil {
		return nil, nil, errors.Join(err, target.Close())
	}
	return parent, target, nil
}

// descriptor is the path of the file when it was opened.
func descriptor(f *os.File) string { return f.Name() }

// memoryFile is for nodes, of which there are none here.
func memoryFile(string, string) (*os.File, error) { return nil, unix.ENOTSUP }
