package bundle

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
)

// stdio connects the standard streams of a command with those of whoever asked for it.
type stdio struct {
	// child is what the command gets: pipes, /dev/null, or three times a terminal.
	child [3]*os.File
	// in, out and errs are our ends; with a terminal in and out are its master.
	in, out, errs *os.File
	tty           bool
	copies        sync.WaitGroup
}

func openStdio(o ExecOptions) (_ *stdio, err error) {
	s := &stdio{tty: o.TTY}
	if o.TTY {
		master, slave, err := pty.Open()
		s.in, s.out, s.child = master, master, [3]*os.File{slave, slave, slave}
		return s, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.child[0], s.in, err = pipeOrNull(o.Stdin != nil); err != nil {
		return nil, err
	}
	if s.out, s.child[1], err = outPipe(o.Stdout != nil); err != nil {
		return nil, err
	}
	s.errs, s.child[2], err = outPipe(o.Stderr != nil)
	return s, err
}

func pipeOrNull(wanted bool) (r, w *os.File, err error) {
	if wanted {
		return os.Pipe()
	}
	r, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
	return r, nil, err
}

func outPipe(wanted bool) (r, w *os.File, err error) {
	if wanted {
		return os.Pipe()
	}
	w, r, err = pipeOrNull(false)
	return r, w, err
}

// copy starts to copy. Input and sizes are read until the client has no more of them or the command is dead, which
// nobody waits for; drain waits for the output.
func (s *stdio) copy(o ExecOptions, dead <-chan struct{}) {
	if o.Stdin != nil {
		go func() {
			pump(s.in, o.Stdin)
			s.endInput()
		}()
	}
	if o.Resize != nil && s.tty {
		go s.resize(o.Resize, dead)
	}
	stdout := o.Stdout
	if stdout == nil && s.tty {
		stdout = io.Discard // somebody must read a terminal
	}
	for _, c := range []struct {
		from *os.File
		to   io.Writer
	}{{s.out, stdout}, {s.errs, o.Stderr}} {
		if c.from != nil && c.to != nil {
			s.copies.Go(func() {
				pump(c.to, c.from)
				_ = c.from.Close() // if the client takes no more, the command must notice
			})
		}
	}
}

// endInput passes the end of input on. To a terminal that is ^D, once for what was typed of a line and once for the end:
// a client whose terminal is gone is often known by nothing else.
func (s *stdio) endInput() {
	if s.tty {
		_, _ = s.in.WriteString("\x04\x04")
		return
	}
	_ = s.in.Close()
}

// pump copies until either side fails: the end of a stream, a client that is gone, or, of a terminal, EIO. A panic of a
// client's stream is one more way to fail.
func pump(to io.Writer, from io.Reader) {
	defer func() { _ = recover() }()
	_, _ = io.Copy(to, from)
}

func (s *stdio) resize(sizes <-chan pty.Size, dead <-chan struct{}) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok || errors.Is(pty.Resize(s.in, size), os.ErrClosed) {
				return
			}
		case <-dead:
			return
		}
	}
}

func (s *stdio) drain() { s.copies.Wait() }

// closeChild closes what only the command needs.
func (s *stdio) closeChild() {
	for _, f := range s.child {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (s *stdio) close() {
	s.closeChild()
	for _, f := range []*os.File{s.in, s.out, s.errs} {
		if f != nil {
			_ = f.Close()
		}
	}
}
