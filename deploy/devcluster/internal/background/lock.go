package background

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// record is what the file DIR/lock says of the control plane. It is true of a process only while the file is locked.
type record struct {
	// PID is the process that serves; 0: none, or it is being started.
	PID int `json:"pid,omitempty"`
	// Netns is the network namespace that belongs to the directory.
	Netns string `json:"netns,omitempty"`
}

// Lock is the right to serve a directory. The kernel takes it back from a process that ends, however it ends, so that
// nothing is left to clean up after a kill.
type Lock struct{ file *os.File }

// errHeld says that somebody else has the lock.
var errHeld = errors.New("a control plane runs already")

func lockPath(dir string) string { return filepath.Join(dir, "lock") }

// Acquire takes the lock of a directory that exists.
func Acquire(dir string) (*Lock, error) {
	f, err := os.OpenFile(lockPath(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	l := &Lock{file: f}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, whole())
	if err == nil {
		return l, nil
	}
	defer f.Close()
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if r, err := l.read(); err == nil && r.PID != 0 {
		return nil, fmt.Errorf("%w in %s, process %d", errHeld, dir, r.PID)
	}
	return nil, fmt.Errorf("%w in %s", errHeld, dir)
}

// Close gives the lock back, unless a process that inherited it holds it still.
func (l *Lock) Close() error { return l.file.Close() }

// Serving records the caller as the process that serves.
func (l *Lock) Serving() error {
	r, err := l.read()
	if err != nil {
		return err
	}
	r.PID = os.Getpid()
	return l.write(r)
}

// read returns an empty record for an empty file, which is a new one.
func (l *Lock) read() (r record, err error) {
	data := make([]byte, 4096)
	n, _ := l.file.ReadAt(data, 0) // io.EOF always
	if n == 0 {
		return r, nil
	}
	if err := json.Unmarshal(data[:n], &r); err != nil {
		return r, fmt.Errorf("read %s: %w", l.file.Name(), err)
	}
	return r, nil
}

func (l *Lock) write(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt(data, 0)
	return err
}

// whole is a lock of a whole file. It belongs to the open file, so that a child inherits it, and others can ask who has
// it without taking it.
func whole() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK} }

// look returns the record of a directory, and if a process serves it.
func look(dir string) (record, bool, error) {
	f, err := os.Open(lockPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return record{}, false, fmt.Errorf("%s holds no control plane", dir)
	}
	if err != nil {
		return record{}, false, err
	}
	defer f.Close()
	holder := whole()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, holder); err != nil {
		return record{}, false, fmt.Errorf("ask who holds %s: %w", f.Name(), err)
	}
	r, err := (&Lock{file: f}).read()
	return r, holder.Type != unix.F_UNLCK, err
}
