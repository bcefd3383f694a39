package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// answerIn bounds the wait for a shim's first line: its guest may keep it from everything.
const answerIn = 10 * time.Second

// Dial connects to the shim of the attempt in dir and sends the request, which must have the fields of Request; the answer
// is decoded into reply, unless that is nil. It blocks until the shim has answered, for 10 seconds at most, and obeys ctx.
// fs.ErrNotExist: the shim has no socket, because it is older than that, or the attempt is over.
func Dial(ctx context.Context, dir string, request, reply any) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	raw, err := connect(ctx, dir)
	if err != nil {
		return nil, err
	}
	return Open(ctx, raw, request, reply)
}

// Pair returns a new connection, for Open, and its other end, for the Take of whoever the caller hands it to.
func Pair() (near net.Conn, far *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	f := os.NewFile(uintptr(fds[0]), "ctl")
	defer f.Close()
	far = os.NewFile(uintptr(fds[1]), "ctl")
	if near, err = net.FileConn(f); err != nil {
		return nil, nil, errors.Join(err, far.Close())
	}
	return near, far, nil
}

// Open is Dial on a connection, which it closes after an error.
func Open(ctx context.Context, raw net.Conn, request, reply any) (_ *Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			_ = raw.Close()
			err = errors.Join(ctx.Err(), err)
		}
	}()
	c := newConn(raw)
	if err := c.writeLine(request); err != nil {
		return nil, err
	}
	var a answer
	line, err := c.readLine(&a)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the shim's answer: %w", err)
	case a.Error != "":
		return nil, fmt.Errorf("the shim refused: %.500s", a.Error)
	case a.Version != Version:
		return nil, fmt.Errorf("the shim speaks version %d; allowed: %d", a.Version, Version)
	case reply != nil:
		err = json.Unmarshal(line, reply)
	}
	return c, err
}

// connect connects by descriptor: the path may be longer than an address can be, and must be no link to another socket.
func connect(ctx context.Context, dir string) (net.Conn, error) {
	path := filepath.Join(dir, Socket)
	fd, err := unix.Open(path, oPath|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, errors.Join(err, fmt.Errorf("%s is not a socket", path))
	}
	return (&net.Dialer{}).DialContext(ctx, "unix", descriptor(fd))
}

func descriptor(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
