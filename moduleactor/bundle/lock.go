package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// takeLock takes the lock of the attempt in dir, which must exist. ErrBusy: another holds it, so the attempt runs, is
// being started, or is being buried by someone else at this moment. The lock goes when the file is closed, in every
// process that inherited it, whichever way those end.
func takeLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, LockFile)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = flock(f)
		if err == nil && isAt(f, path) {
			return f, nil
		}
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrBusy)
		}
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The directory was moved away between open and flock: the lock would guard nothing. Open what is there now.
	}
}

// lockSoon is takeLock with patience for who holds the lock for moments only: whoever records how an attempt ended, and a
// child that another goroutine forks, between fork and exec.
func lockSoon(dir string) (*os.File, error) {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for range 50 {
		if f, err := takeLock(dir); !errors.Is(err, ErrBusy) {
			return f, err
		}
		<-t.C
	}
	return takeLock(dir)
}

// flock takes the lock without blocking. It succeeds on a file that has it already.
func flock(f *os.File) error {
	var err error
	if cerr := control(f, func(fd int) {
		for {
			if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}); cerr != nil {
		return cerr
	}
	return err
}

func isAt(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// control runs do with the descriptor, which cannot be closed meanwhile. (f.Fd would make it blocking.)
func control(f *os.File, do func(fd int)) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return c.Control(func(fd uintptr) { do(int(fd)) })
}

func exists(dir, name string) (bool, error) {
	switch _, err := os.Lstat(filepath.Join(dir, name)); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, err
	}
}
