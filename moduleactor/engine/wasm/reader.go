package wasm

import (
	"fmt"
	"unicode/utf8"
)

// Reader walks over a binary. The first error sticks, and everything that is read after it is zero.
type Reader struct {
	b    []byte
	pos  int
	base int64 // offset of b in the file
	err  error
}

// NewReader returns a reader over b, whose first byte is at offset base of the file.
func NewReader(b []byte, base int64) *Reader { return &Reader{b: b, base: base} }

// Err is the first error, a *SyntaxError.
func (r *Reader) Err() error { return r.err }

// Left is how many bytes are left.
func (r *Reader) Left() int { return len(r.b) - r.pos }

// Pos is the position in what the reader is over; From returns what was read since such a position.
func (r *Reader) Pos() int { return r.pos }

// From returns the bytes from a position to the current one.
func (r *Reader) From(pos int) []byte { return r.b[min(pos, r.pos):r.pos] }

// Rest reads everything that is left.
func (r *Reader) Rest() []byte { return r.Bytes(r.Left()) }

// Fail sets the error, with the current offset, unless there is one.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = &SyntaxError{Offset: r.base + int64(r.pos), Text: fmt.Sprintf(format, args...)}
		r.pos = len(r.b)
	}
}

// Join takes over the error of a reader over a part.
func (r *Reader) Join(part *Reader) {
	if r.err == nil && part.err != nil {
		r.err = part.err
		r.pos = len(r.b)
	}
}

// Byte reads a byte.
func (r *Reader) Byte() byte {
	if r.pos >= len(r.b) {
		r.Fail("unexpected end")
		return 0
	}
	c := r.b[r.pos]
	r.pos++
	return c
}

// leb reads an unsigned LEB128 number of at most size bits.
func (r *Reader) leb(size uint) uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		c := r.Byte()
		if r.err != nil {
			return 0
		}
		low := uint64(c & 0x7f)
		if shift >= size || (size-shift < 7 && low>>(size-shift) != 0) {
			r.Fail("a number is larger than %d bits", size)
			return 0
		}
		v |= low << shift
		if c&0x80 == 0 {
			return v
		}
	}
}

// U32 reads an unsigned number.
func (r *Reader) U32() uint32 {
	if r.pos < len(r.b) && r.b[r.pos] < 0x80 { // nearly always
		r.pos++
		return uint32(r.b[r.pos-1])
	}
	return uint32(r.leb(32))
}

// Signed reads a signed LEB128 number of at most size bits. Whether the bits beyond size are right is not looked at.
func (r *Reader) Signed(size uint) int64 {
	var v int64
	for shift := uint(0); ; shift += 7 {
		c := r.Byte()
		if r.err != nil {
			return 0
		}
		if shift >= size {
			r.Fail("a number is larger than %d bits", size)
			return 0
		}
		v |= int64(c&0x7f) << shift
		if c&0x80 != 0 {
			continue
		}
		if shift+7 < 64 && c&0x40 != 0 {
			v |= -1 << (shift + 7)
		}
		return v
	}
}

// Count reads the length of a vector; each of its elements has at least one byte.
func (r *Reader) Count(what string) int {
	n := r.U32()
	if int64(n) > int64(r.Left()) {
		r.Fail("%d %s in %d bytes", n, what, r.Left())
		return 0
	}
	return int(n)
}

// Bytes reads n bytes; they are not copied.
func (r *Reader) Bytes(n int) []byte {
	if n > r.Left() {
		r.Fail("unexpected end")
		return nil
	}
	b := r.b[r.pos : r.pos+n]
	r.pos += n
	return b
}

// Name reads a name.
func (r *Reader) Name() string {
	n := r.U32()
	if int64(n) > int64(r.Left()) {
		r.Fail("a name of %d bytes in %d", n, r.Left())
		return ""
	}
	b := r.Bytes(int(n))
	if !utf8.Valid(b) {
		r.Fail("a name is not UTF-8")
		return ""
	}
	return string(b)
}

// Sub returns a reader over the next n bytes and skips them.
func (r *Reader) Sub(n uint32) *Reader {
	if int64(n) > int64(r.Left()) {
		r.Fail("a section of %d bytes in %d", n, r.Left())
		return &Reader{}
	}
	base := r.base + int64(r.pos)
	return &Reader{b: r.Bytes(int(n)), base: base}
}
