package wire

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is the name of the socket in the directory of a shim.
const Socket = "ctl.sock"

// backlog is how many daemons may be about to connect; there is one, and who looks by hand.
const backlog = 16

// errDescriptors says that the kernel had no room for all descriptors that came with a message.
var errDescriptors = errors.New("descriptors were lost: too many open files")

// Listen makes the socket in dir, in place of one that is there. What it returns is to be inherited by the shim, which
// makes a Listener of it. The name is given to the kernel by descriptor, since that of a socket may not be long.
func Listen(dir string) (*os.File, error) {
	if err := os.Remove(filepath.Join(dir, Socket)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return inDir(dir, func(fd int, addr unix.Sockaddr) error {
		if err := unix.Bind(fd, addr); err != nil {
			return os.NewSyscallError("bind", err)
		}
		return os.NewSyscallError("listen", unix.Listen(fd, backlog))
	})
}

// Dial connects to the shim of dir.
func Dial(dir string) (*Conn, error) {
	f, err := inDir(dir, func(fd int, addr unix.Sockaddr) error {
		return os.NewSyscallError("connect", unix.Connect(fd, addr))
	})
	if err != nil {
		return nil, err
	}
	return newConn(f)
}

func inDir(dir string, do func(fd int, addr unix.Sockaddr) error) (*os.File, error) {
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir, Socket))
	if err := do(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(int(d.Fd())) + "/" + Socket}); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, Socket), err)
	}
	return f, nil
}

// Listener is a shim's side of its socket.
type Listener struct {
	f   *os.File
	raw syscall.RawConn
}

// NewListener takes over what Listen returned, in the process that inherited it.
func NewListener(fd uintptr) (*Listener, error) {
	unix.CloseOnExec(int(fd))
	if err := unix.SetNonblock(int(fd), true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(fd, Socket)
	raw, err := f.SyscallConn()
	return &Listener{f: f, raw: raw}, err
}

// Accept waits for the next connection.
func (l *Listener) Accept() (*Conn, error) {
	var fd int
	var err error
	if rerr := l.raw.Read(func(s uintptr) bool {
		fd, err = retry(func() (int, error) {
			n, _, err := unix.Accept4(int(s), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return n, err
		})
		return !errors.Is(err, unix.EAGAIN)
	}); rerr != nil {
		return nil, os.ErrClosed
	}
	if err != nil {
		return nil, os.NewSyscallError("accept", err)
	}
	return newConn(os.NewFile(uintptr(fd), "ctl"))
}

// Close ends Accept.
func (l *Listener) Close() error { return l.f.Close() }

// Conn is one connection. One goroutine receives; any may send.
type Conn struct {
	f   *os.File
	raw syscall.RawConn
	// sending keeps one message in the air, so that a full socket is waited for by its turn.
	sending sync.Mutex
	in, oob []byte
}

func newConn(f *os.File) (*Conn, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Conn{f: f, raw: raw, in: make([]byte, maxPacket)}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.f.Close() }

// Send sends a message, and the files with it: the other side gets descriptors of the same open files. They must not be
// closed meanwhile.
func (c *Conn) Send(m Message, with ...*os.File) error {
	b, err := encode(m)
	if err == nil && len(with) > maxFiles {
		err = fmt.Errorf("want at most %d files (got %d)", maxFiles, len(with))
	}
	if err != nil {
		return fmt.Errorf("send %s: %w", m.Op, err)
	}
	var oob []byte
	if len(with) > 0 {
		fds := make([]int, len(with))
		for i, f := range with {
			if fds[i], err = number(f); err != nil {
				return fmt.Errorf("send %s: %w", m.Op, err)
			}
		}
		oob = unix.UnixRights(fds...)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.send(b, oob)
}

// number is the file's descriptor. (f.Fd would make it blocking.)
func number(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	n := -1
	err = raw.Control(func(fd uintptr) { n = int(fd) })
	return n, err
}

func (c *Conn) send(b, oob []byte) error {
	var err error
	if werr := c.raw.Write(func(fd uintptr) bool {
		_, err = retry(func() (int, error) { return unix.SendmsgN(int(fd), b, oob, nil, unix.MSG_NOSIGNAL) })
		return !errors.Is(err, unix.EAGAIN)
	}); werr != nil {
		return os.ErrClosed
	}
	return os.NewSyscallError("sendmsg", err)
}

// Receive waits for the next message. The files that came with it are the caller's. io.EOF: the other side is
// gone. A message that cannot be understood is an error after which nothing more should be believed.
func (c *Conn) Receive() (Message, []*os.File, error) {
	var n, oobn, flags int
	var err error
	if c.oob == nil {
		c.oob = make([]byte, unix.CmsgSpace(4*maxFiles))
	}
	oob := c.oob
	if rerr := c.raw.Read(func(fd uintptr) bool {
		n, err = retry(func() (int, error) {
			var n int
			n, oobn, flags, _, err = unix.Recvmsg(int(fd), c.in, oob, unix.MSG_CMSG_CLOEXEC)
			return n, err
		})
		return !errors.Is(err, unix.EAGAIN)
	}); rerr != nil {
		return Message{}, nil, os.ErrClosed // there is no deadline, so that nothing else ends a wait
	}
	if err != nil {
		return Message{}, nil, os.NewSyscallError("recvmsg", err)
	}
	if n == 0 {
		return Message{}, nil, io.EOF
	}
	with, err := descriptors(oob[:oobn])
	var m Message
	if err == nil && flags&unix.MSG_TRUNC != 0 {
		err = fmt.Errorf("message: want at most %d bytes", maxPacket)
	}
	if err == nil {
		m, err = decode(c.in[:n])
	}
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		m.Error = errDescriptors.Error()
	}
	if err != nil || m.Error != "" {
		CloseAll(with)
		with = nil
	}
	return m, with, err
}

// CloseAll closes files that came with a message.
func CloseAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// descriptors are those that came.
func descriptors(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	var files []*os.File
	for i := range list {
		if fds, err := unix.ParseUnixRights(&list[i]); err == nil {
			for _, fd := range fds {
				files = append(files, os.NewFile(uintptr(fd), "received"))
			}
		}
	}
	return files, nil
}

func retry(do func() (int, error)) (int, error) {
	for {
		if n, err := do(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
