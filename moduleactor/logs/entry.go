package logs

import (
	"bytes"
	"fmt"
	"time"
)

// maxHeader bounds the part of an entry before its text: a time, a stream and tags.
const maxHeader = 256

// header is the part of an entry before its text.
type header struct {
	time    time.Time
	stream  Stream
	partial bool
	// size is its length with the space at its end.
	size int
}

// parseHeader parses the begin of an entry: time, stream, and tags separated by colons, of which the first is F or P. The
// text may be empty, and then the space before it may be missing.
func parseHeader(b []byte) (header, error) {
	b = b[:min(len(b), maxHeader)]
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	stamp, rest, ok := bytes.Cut(b, []byte(" "))
	if !ok {
		return header{}, fmt.Errorf("want a time, a stream, a tag and text (got %.80q)", b)
	}
	name, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return header{}, fmt.Errorf("want a stream, a tag and text after the time (got %.80q)", b)
	}
	tags, _, spaced := bytes.Cut(rest, []byte(" "))
	h := header{size: len(stamp) + 1 + len(name) + 1 + len(tags)}
	if spaced {
		h.size++
	}
	var err error
	if h.time, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
		return header{}, fmt.Errorf("time: want RFC 3339 (got %.80q)", stamp)
	}
	switch string(name) {
	case "stdout":
		h.stream = Stdout
	case "stderr":
		h.stream = Stderr
	default:
		return header{}, fmt.Errorf("stream: want stdout or stderr (got %.80q)", name)
	}
	tag, _, _ := bytes.Cut(tags, []byte(":"))
	switch string(tag) {
	case "F":
	case "P":
		h.partial = true
	default:
		return header{}, fmt.Errorf("tag: want F or P (got %.80q)", tags)
	}
	return h, nil
}
