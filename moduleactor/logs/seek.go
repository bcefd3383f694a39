package logs

import (
	"bytes"
	"errors"
	"io"
)

const blockBytes = 64 << 10

// tailStart is the offset at which the last n lines of a stream (or both) begin, found from the end. The entries of a
// split line count as one line, and so does a last line that is not finished. Entries that cannot be parsed count as
// none. Where lines of two streams are interwoven, the first line may lack its begin.
func tailStart(r io.ReaderAt, size int64, n int64, want Stream) (int64, error) {
	t := tailScan{left: n, want: want, start: size}
	buf := make([]byte, 0, blockBytes+maxHeader)
	for end := size; end > 0 && n > 0; {
		k := min(end, blockBytes)
		keep := min(len(buf), maxHeader) // an entry's header may reach into the block after it
		buf = buf[:int(k)+keep]
		copy(buf[k:], buf[:keep])
		end -= k
		if err := readFull(r, buf[:k], end); err != nil {
			return 0, err
		}
		if t.block(buf, int(k), end, size) {
			break
		}
	}
	return t.start, nil
}

// tailScan meets the entries of a file from the last to the first.
type tailScan struct {
	want  Stream
	left  int64   // lines to go
	open  [3]bool // by stream: a line that ends further on began to be seen
	start int64   // of the earliest entry that is wanted
}

// block looks at the entries that begin in buf[:k], or right after it, if that is where the newline before them is. buf
// begins at offset at of a file of so many bytes. It returns true when all lines are found.
func (t *tailScan) block(buf []byte, k int, at, size int64) bool {
	for end := k; ; {
		newline := bytes.LastIndexByte(buf[:end], '\n')
		if newline < 0 && at > 0 {
			return false // the begin of this entry is in the block before
		}
		begin := newline + 1
		if at+int64(begin) < size && t.entry(buf[begin:], at+int64(begin)) {
			return true
		}
		if newline < 0 {
			return false
		}
		end = newline
	}
}

// entry counts the entry at an offset. It returns true when that belongs to a line too many.
func (t *tailScan) entry(b []byte, at int64) bool {
	h, err := parseHeader(b)
	if err != nil || t.want != 0 && h.stream != t.want {
		return false
	}
	if !h.partial || !t.open[h.stream] {
		t.left--
	}
	t.open[h.stream] = true
	if t.left < 0 {
		return true
	}
	t.start = at
	return false
}

func readFull(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF // truncated under our hands
	}
	return err
}
