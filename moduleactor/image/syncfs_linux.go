package image

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFS makes everything on the file system of f durable.
func syncFS(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
