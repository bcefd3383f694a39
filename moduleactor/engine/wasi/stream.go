package wasi

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stream is a pipe, a terminal or a socket, nonblocking and known to Go's netpoller.
type stream struct {
	f     *os.File
	raw   syscall.RawConn
	fd    int
	kind  filetype
	can   Rights
	owned bool
	// drain knows of a listener, and of a client's connection.
	drain *Drain
}

// newStream makes a stream of a file; one that the netpoller does not take is an error.
func newStream(f *os.File, kind filetype, can Rights, owned bool) (*stream, error) {
	if err := f.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &stream{f: f, raw: raw, kind: kind, can: can, owned: owned}
	flags := 0
	// Not Fd, which makes it blocking. It may have been called before.
	controlled := raw.Control(func(fd uintptr) {
		s.fd = int(fd)
		flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0)
	})
	if err := errors.Join(controlled, err); err != nil {
		return nil, err
	}
	if flags&unix.O_NONBLOCK == 0 {
		return nil, fmt.Errorf("%s: %w", f.Name(), errBlocking)
	}
	return s, nil
}

var errBlocking = errors.New("is not nonblocking")

func (s *stream) filetype() filetype { return s.kind }
func (s *stream) rights() Rights     { return s.can }

func (s *stream) stat() (filestat, Errno) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(s.fd, &st) }); err != nil {
		return filestat{}, toErrno(err)
	}
	out := statOf(&st)
	out.kind = s.kind
	return out, esuccess
}

func (s *stream) close() error {
	if s.drain != nil {
		s.drain.closing(s)
	}
	if !s.owned {
		return nil
	}
	return s.f.Close()
}

func (s *stream) read(p []byte) (int, Errno)  { return transferred(unix.Read(s.fd, p)) }
func (s *stream) write(p []byte) (int, Errno) { return transferred(unix.Write(s.fd, p)) }

// ready implements waiter.
func (s *stream) ready(write bool) (n uint64, hangup, ok bool) {
	events := pollNow(s.fd, write)
	if events == 0 {
		return 0, false, false
	}
	if !write {
		if count, err := readable(s.fd); err == nil {
			n = uint64(max(count, 0))
		}
	}
	return n, events&pollHangup != 0, true
}

// pollNow asks the kernel; it does not wait.
func pollNow(fd int, write bool) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | pollHangup&^unix.POLLHUP}}
	if write {
		fds[0].Events = unix.POLLOUT
	}
	_ = retry(func() error {
		_, err := unix.Poll(fds, 0)
		return err
	})
	return fds[0].Revents
}

// past is a deadline that ends whatever waits.
var past = time.Unix(1, 0) //nolint:gochecknoglobals // a constant

// watch implements waiter with a goroutine that the netpoller parks.
func (s *stream) watch(write bool, wake func()) func() {
	until, deadline := s.raw.Read, s.f.SetReadDeadline
	if write {
		until, deadline = s.raw.Write, s.f.SetWriteDeadline
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = until(func(fd uintptr) bool { return pollNow(int(fd), write) != 0 }) // an error is the deadline
		wake()
	}()
	return func() {
		_ = deadline(past)
		<-done
		_ = deadline(time.Time{})
	}
}

// descriptorOf is the descriptor and the mode of a file, whose blocking is left as it is.
func descriptorOf(f *os.File) (fd int, mode uint32, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var st unix.Stat_t
	controlled := raw.Control(func(n uintptr) {
		fd = int(n)
		err = retry(func() error { return unix.Fstat(fd, &st) })
	})
	return fd, uint32(st.Mode), errors.Join(controlled, err)
}

// adopt makes a nonblocking copy of a socket, or of one end of a pipe, and a stream of it. A pipe is opened anew, so that the
// processes which share our end of it stay as they are.
func adopt(f *os.File, write bool, can Rights) (*stream, error) {
	old, mode, err := descriptorOf(f)
	if err != nil {
		return nil, err
	}
	var fd int
	kind := unknownFile
	if mode&unix.S_IFMT == unix.S_IFIFO {
		flags := unix.O_RDONLY
		if write {
			flags = unix.O_WRONLY
		}
		fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", old), flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	} else {
		if kind, err = socketKind(old); err != nil {
			return nil, err
		}
		fd, err = unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
	}
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), f.Name())
	s, err := newStream(file, kind, can, true)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

// socketKind tells a socket's type.
func socketKind(fd int) (filetype, error) {
	t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err != nil:
		return unknownFile, err
	case t == unix.SOCK_DGRAM:
		return socketDgram, nil
	default:
		return socketStream, nil
	}
}
