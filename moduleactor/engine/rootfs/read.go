package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// ReadFile reads a file as the guest sees it, for the host's own use: at most limit bytes of a regular file. The error is
// fs.ErrNotExist if there is none.
func (f *FS) ReadFile(guest string, limit int64) (_ []byte, err error) {
	root, err := f.Root()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	file, dir, err := root.Open(strings.TrimPrefix(path.Clean("/"+guest), "/"), unix.O_RDONLY)
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return nil, &fs.PathError{Op: "read", Path: guest, Err: errors.New("is not a regular file")}
	case err != nil:
		return nil, err
	case dir != nil:
		return nil, errors.Join(&fs.PathError{Op: "read", Path: guest, Err: errors.New("is not a regular file (got d---------)")}, dir.Close())
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: guest, Err: fmt.Errorf("is larger than %d bytes", limit)}
	}
	return data, nil
}
