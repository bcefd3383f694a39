package node

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func statfs(dir string) (Filesystem, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Filesystem{}, fmt.Errorf("statfs %s: %w", dir, err)
	}
	size := uint64(s.Bsize)
	return Filesystem{
		Bytes: s.Blocks * size, BytesFree: s.Bavail * size, Inodes: s.Files, InodesFree: s.Ffree,
	}, nil
}
