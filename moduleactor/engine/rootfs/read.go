package rootfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ReadFile reads a file as the guest sees it, for the host's own use: at most limit bytes of a regular file. The error is
// fs.ErrNotExist if there is none.
func (f *FS) ReadFile(guest string, limit int64) ([]byte, error) {
	p, errno := f.find(guest)
	if errno != 0 {
		return nil, errno
	}
	file, err := p.root.OpenFile(p.name(), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0) // a FIFO must not block
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: guest, Err: fmt.Errorf("is not a regular file (got %s)", info.Mode().Type())}
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: guest, Err: fmt.Errorf("is larger than %d bytes", limit)}
	}
	return data, nil
}
