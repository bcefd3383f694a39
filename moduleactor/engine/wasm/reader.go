package wasm

import (
	"fmt"
	"unicode/utf8"
)

// reader walks over bytes; the first error sticks and everything read after it is zero.
type reader struct {
	b    []byte
	pos  int
	base int64 // offset of b in the file
	err  error
}

func (r *reader) left() int { return len(r.b) - r.pos }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &SyntaxError{Offset: r.base + int64(r.pos), Text: fmt.Sprintf(format, args...)}
		r.pos = len(r.b)
	}
}

func (r *reader) byte() byte {
	if r.left() == 0 {
		r.fail("unexpected end")
		return 0
	}
	c := r.b[r.pos]
	r.pos++
	return c
}

// leb reads an unsigned LEB128 number of at most size bits.
func (r *reader) leb(size uint) uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		c := r.byte()
		if r.err != nil {
			return 0
		}
		low := uint64(c & 0x7f)
		if shift >= size || (size-shift < 7 && low>>(size-shift) != 0) {
			r.fail("a number is larger than %d bits", size)
			return 0
		}
		v |= low << shift
		if c&0x80 == 0 {
			return v
		}
	}
}

func (r *reader) u32() uint32 { return uint32(r.leb(32)) }

// count reads the length of a vector; each of its elements has at least one byte.
func (r *reader) count(what string) int {
	n := r.u32()
	if int64(n) > int64(r.left()) {
		r.fail("%d %s in %d bytes", n, what, r.left())
		return 0
	}
	return int(n)
}

func (r *reader) bytes(n int) []byte {
	if n > r.left() {
		r.fail("unexpected end")
		return nil
	}
	b := r.b[r.pos : r.pos+n]
	r.pos += n
	return b
}

func (r *reader) name() string {
	n := r.u32()
	if int64(n) > int64(r.left()) {
		r.fail("a name of %d bytes in %d", n, r.left())
		return ""
	}
	b := r.bytes(int(n))
	if !utf8.Valid(b) {
		r.fail("a name is not UTF-8")
		return ""
	}
	return string(b)
}

// sub returns a reader over the next n bytes and skips them.
func (r *reader) sub(n uint32) *reader {
	if int64(n) > int64(r.left()) {
		r.fail("a section of %d bytes in %d", n, r.left())
		return &reader{}
	}
	base := r.base + int64(r.pos)
	return &reader{b: r.bytes(int(n)), base: base}
}
