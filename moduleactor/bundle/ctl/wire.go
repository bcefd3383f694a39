package ctl

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
)

// Version is the version of the protocol.
const Version = 1

// Socket is the socket's name in the directory of an attempt.
const Socket = "ctl.sock"

// The verbs: Attach streams a guest's output and input, Refusals what is refused to it.
const (
	Attach   = "attach"
	Refusals = "refusals"
)

const (
	maxLine = 64 << 10
	// MaxPayload bounds the payload of a frame.
	MaxPayload = 32 << 10
	headerSize = 5
)

// Kind tells what a frame is.
type Kind byte

// The kinds of frames.
const (
	Stdin Kind = iota + 1
	StdinEnd
	Resize
	Stdout
	Stderr
	End
	Refusal
)

// Request is what every request has.
type Request struct {
	Version int    `json:"version"`
	Verb    string `json:"verb"`
}

// answer is the shim's first line.
type answer struct {
	Version int    `json:"version"`
	Error   string `json:"error,omitempty"`
}

// Conn is one connection after its first lines. One goroutine may read while another writes.
type Conn struct {
	net.Conn
	in       *bufio.Reader
	accepted bool
}

func newConn(c net.Conn) *Conn { return &Conn{Conn: c, in: bufio.NewReaderSize(c, 4096)} }

// ReadFrame reads one frame; the payload is the caller's. io.EOF is a clean end between frames.
func (c *Conn) ReadFrame() (Kind, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(c.in, header[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(header[1:])
	if n > MaxPayload {
		return 0, nil, fmt.Errorf("frame of %d bytes; allowed: %d", n, MaxPayload)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return 0, nil, unexpected(err)
	}
	return Kind(header[0]), payload, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// WriteFrame writes one frame of at most MaxPayload.
func (c *Conn) WriteFrame(kind Kind, payload []byte) error {
	_, err := c.Write(AppendFrame(nil, kind, payload))
	return err
}

// AppendFrame appends data as frames, as many as it takes.
func AppendFrame(to []byte, kind Kind, data []byte) []byte {
	for {
		n := min(len(data), MaxPayload)
		to = binary.BigEndian.AppendUint32(append(to, byte(kind)), uint32(n))
		to = append(to, data[:n]...)
		if data = data[n:]; len(data) == 0 {
			return to
		}
	}
}

// readLine reads one line of JSON. The decoder is not strict: the other side may be newer.
func (c *Conn) readLine(to any) ([]byte, error) {
	var line []byte
	for {
		part, err := c.in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, unexpected(err)
		}
		if err := json.Unmarshal(line, to); err != nil {
			return nil, fmt.Errorf("decode %.80q: %w", line, err)
		}
		return line, nil
	}
}

func (c *Conn) writeLine(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.Write(append(line, '\n'))
	return err
}

// AttachRequest is the request of Attach.
type AttachRequest struct {
	Request

	// Stdin says that the client has input.
	Stdin bool `json:"stdin,omitempty"`
}

// EncodeSize is the payload of Resize.
func EncodeSize(s pty.Size) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.Columns), s.Rows)
}

// DecodeSize reads the payload of Resize.
func DecodeSize(p []byte) (s pty.Size, ok bool) {
	if len(p) != 4 {
		return s, false
	}
	return pty.Size{Columns: binary.BigEndian.Uint16(p), Rows: binary.BigEndian.Uint16(p[2:])}, true
}

// Gone tells whether the other side has closed the connection, also while what it sent is not read.
func (c *Conn) Gone() bool {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, perr := unix.Poll(p, 0)
		gone = perr == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
	return gone || err != nil
}
