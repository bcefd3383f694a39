package pty

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open returns both ends of a new terminal. Neither becomes the caller's controlling terminal. Both must be closed;
// reading from the master fails with EIO once nobody has the slave open any more.
func Open() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	var fd uintptr
	if err := control(master, func(m int) error {
		if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		// By descriptor, not by name: /dev/pts may show another instance of devpts.
		const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC | unix.O_NONBLOCK
		var errno unix.Errno
		if fd, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, flags); errno != 0 {
			return errno
		}
		return nil
	}); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open a terminal: %w", err), master.Close())
	}
	return master, os.NewFile(fd, "terminal"), nil
}

// Resize tells the terminal and who runs in it how large it is now.
func Resize(f *os.File, s Size) error {
	return control(f, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Columns})
	})
}

// Control makes the terminal the calling process's controlling one, so that ^C becomes SIGINT. The process must lead its
// session and have none yet.
func Control(slave *os.File) error {
	return control(slave, func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCSCTTY, 0) })
}

// control runs do with the descriptor. (os.File.Fd would make it blocking.)
func control(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var derr error
	if err := c.Control(func(fd uintptr) { derr = do(int(fd)) }); err != nil {
		return err
	}
	return derr
}
