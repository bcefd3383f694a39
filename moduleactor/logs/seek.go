package logs

import (
	"errors"
	"io"
)

const blockBytes = 64 << 10

// tailStart is the offset at which the last n lines of a stream (or both) begin, found from the end. The entries of a
// split line count as one line, and so does a last line that is not finished. Entries that cannot be parsed count as
// none. Where lines of two streams are interwoven, the first line may lack its begin.
func tailStart(r io.ReaderAt, size int64, n int64, want Stream) (int64, error) {
	if n <= 0 {
		return size, nil
	}
	var (
		lines int64
		open  [3]bool // by stream: inside a line, seen from its end
		start = size
		buf   = make([]byte, 0, blockBytes+maxHeader)
	)
	end := size // of what is not in buf yet; buf begins there
	for end > 0 {
		k := min(end, blockBytes)
		keep := min(len(buf), maxHeader) // an entry's header may reach into the block after it
		buf = buf[:int(k)+keep]
		copy(buf[k:], buf[:keep])
		if err := readFull(r, buf[:k], end-k); err != nil {
			return 0, err
		}
		end -= k
		for i := int(k); i >= 0; i-- {
			if !isStart(buf, i, end, int(k), size) {
				continue
			}
			h, err := parseHeader(buf[i:])
			if err != nil || want != 0 && h.stream != want {
				continue
			}
			if !h.partial || !open[h.stream] {
				lines++
			}
			open[h.stream] = true
			if lines > n {
				return start, nil
			}
			start = end + int64(i)
		}
	}
	return start, nil
}

// isStart says that an entry begins at buf[i]. The first byte of the block after belongs to that block's own turn unless
// the newline before it is in this block.
func isStart(buf []byte, i int, end int64, k int, size int64) bool {
	if end+int64(i) >= size {
		return false
	}
	if i == 0 {
		return end == 0
	}
	return i <= k && buf[i-1] == '\n'
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
