//go:build !linux

package image

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFS starts to write what every file system has not written yet. Only Linux can wait for it, and for one alone.
func syncFS(*os.File) error { return unix.Sync() }
