package wasi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// stdin makes an object of what a guest reads.
func (in *Instance) stdin(r io.Reader) (object, error) {
	switch r := r.(type) {
	case nil:
		return &device{nullDevice}, nil
	case *os.File:
		o, kind, err := fromFile(r, false)
		if o != nil || err != nil {
			return o, err
		}
		p := newPump(r)
		p.kind = kind
		return p, nil
	default:
		return newPump(r), nil
	}
}

// stdout makes an object of what a guest writes to.
func stdout(w io.Writer) (object, error) {
	switch w := w.(type) {
	case nil:
		return &device{nullDevice}, nil
	case *os.File:
		o, kind, err := fromFile(w, true)
		if o != nil || err != nil {
			return o, err
		}
		return &sink{w: w, kind: kind}, nil
	default:
		return &sink{w: w}, nil
	}
}

// fromFile makes an object of a file that is not ours, nil if it can only be used as a Reader or Writer of that kind.
func fromFile(f *os.File, write bool) (object, filetype, error) {
	fd, mode, err := descriptorOf(f)
	if err != nil {
		return nil, 0, err
	}
	kind := kindOf(mode)
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return &file{File: &rootfs.File{File: f, FD: fd}, borrowed: true}, kind, nil
	case unix.S_IFDIR:
		return nil, 0, fmt.Errorf("%s is a directory", f.Name())
	case unix.S_IFSOCK:
		if kind, err = socketKind(fd); err != nil {
			return nil, 0, err
		}
	}
	if s, err := newStream(f, kind, streamRights, false); err == nil {
		return s, kind, nil
	}
	if mode&unix.S_IFMT == unix.S_IFIFO || mode&unix.S_IFMT == unix.S_IFSOCK {
		if s, err := adopt(f, write, streamRights); err == nil {
			return s, kind, nil
		}
	}
	return nil, kind, nil
}

// sink is any Writer.
type sink struct {
	w    io.Writer
	kind filetype
}

func (s *sink) filetype() filetype { return s.kind }
func (s *sink) rights() Rights     { return streamRights }
func (s *sink) close() error       { return nil }

func (s *sink) stat() (filestat, Errno) { return filestat{nlink: 1, kind: s.kind}, esuccess }

func (s *sink) read([]byte) (int, Errno) { return 0, ebadf }

func (s *sink) write(p []byte) (int, Errno) {
	n, err := s.w.Write(p)
	if err != nil {
		return n, toErrno(err)
	}
	return n, esuccess
}

// pump is any Reader. A goroutine reads it when the guest has asked for more than there is, so that a guest that never
// reads costs none.
type pump struct {
	r    io.Reader
	kind filetype

	mu      sync.Mutex
	buf     []byte // what was read and not yet taken
	store   []byte
	err     error
	reading bool
	wake    func()
}

// pumpSize is how much is read ahead.
const pumpSize = 4096

func newPump(r io.Reader) *pump { return &pump{r: r} }

func (p *pump) filetype() filetype { return p.kind }
func (p *pump) rights() Rights     { return streamRights }
func (p *pump) close() error       { return nil }

func (p *pump) stat() (filestat, Errno) { return filestat{nlink: 1, kind: p.kind}, esuccess }

func (p *pump) write([]byte) (int, Errno) { return 0, ebadf }

func (p *pump) read(b []byte) (int, Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.buf) > 0:
		n := copy(b, p.buf)
		p.buf = p.buf[n:]
		return n, esuccess
	case p.err != nil:
		return 0, toErrno(p.err)
	}
	p.more()
	return 0, eagain
}

// more lets a goroutine read, unless one does.
func (p *pump) more() {
	if p.reading {
		return
	}
	if p.store == nil {
		p.store = make([]byte, pumpSize)
	}
	p.reading = true
	go p.fill()
}

func (p *pump) fill() {
	n, err := p.readSome()
	p.mu.Lock()
	p.buf, p.err, p.reading = p.store[:n], err, false
	wake := p.wake
	p.mu.Unlock()
	if wake != nil {
		wake()
	}
}

func (p *pump) readSome() (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = 0, fmt.Errorf("read stdin: %v", r)
		}
	}()
	for range 100 {
		if n, err = p.r.Read(p.store); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// ready implements waiter.
func (p *pump) ready(write bool) (n uint64, hangup, ok bool) {
	if write {
		return 0, false, true // it fails at once
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.buf) == 0 && p.err == nil {
		p.more()
		return 0, false, false
	}
	return uint64(len(p.buf)), len(p.buf) == 0, true
}

// watch implements waiter.
func (p *pump) watch(_ bool, wake func()) func() {
	p.set(wake)
	return func() { p.set(nil) }
}

func (p *pump) set(wake func()) {
	p.mu.Lock()
	p.wake = wake
	p.mu.Unlock()
}

// signals makes a Reader of a channel.
type signals struct {
	from   <-chan byte
	closed <-chan struct{}
}

var errClosed = errors.New("the instance is closed")

func (s *signals) Read(b []byte) (int, error) {
	select {
	case n, ok := <-s.from:
		if !ok {
			return 0, io.EOF
		}
		b[0] = n
		return 1, nil
	case <-s.closed:
		return 0, errClosed
	}
}
