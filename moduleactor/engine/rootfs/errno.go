package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"syscall"

	wasys "github.com/tetratelabs/wazero/experimental/sys"
)

// toErrno maps an error of os or unix. The end of a file is no error in WASI.
func toErrno(err error) wasys.Errno {
	if err == nil || errors.Is(err, io.EOF) {
		return 0
	}
	if done, ok := errors.AsType[wasys.Errno](err); ok {
		return done
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if errno == syscall.ENXIO { // a FIFO without a reader, a socket, a device without a driver
			return wasys.ENOTSUP
		}
		return wasys.UnwrapOSError(errno)
	}
	if errors.Is(err, fs.ErrClosed) {
		return wasys.EBADF
	}
	// What is left is os.Root's "path escapes from parent", which has no name.
	return wasys.EPERM
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
