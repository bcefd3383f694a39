package cgi

import (
	"bytes"
	"io"
	"strconv"
)

// maxLine is the most bytes of a line of stderr that are kept together.
const maxLine = 16 << 10

// logAccess writes a line of the combined log format, as Apache's httpd and nginx do.
func (x *exchange) logAccess() {
	const common = 256
	b := make([]byte, 0, common)
	host, _ := splitHostPort(x.r.RemoteAddr)
	b = append(b, host...)
	b = x.begin.AppendFormat(append(b, " - - ["...), "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	b = appendEscaped(b, x.r.Method)
	b = appendEscaped(append(b, ' '), x.r.RequestURI)
	b = appendEscaped(append(b, ' '), x.r.Proto)
	status := x.w.status
	if x.w.gone || status == 0 {
		status = statusClientGone
	}
	b = strconv.AppendInt(append(b, `" `...), int64(status), 10)
	sent := x.w.bytes
	if x.r.Method == "HEAD" {
		sent = 0
	}
	b = strconv.AppendInt(append(b, ' '), sent, 10)
	b = appendQuoted(append(b, ' '), x.r.Referer())
	b = appendQuoted(append(b, ' '), x.r.UserAgent())
	_, _ = x.s.cfg.Stdout.Write(append(b, '\n')) // a log that cannot be written must not keep anything from being served
}

func appendQuoted(b []byte, s string) []byte {
	if s == "" {
		return append(b, `"-"`...)
	}
	return append(appendEscaped(append(b, '"'), s), '"')
}

// appendEscaped writes what could end a field, or is no ASCII to look at, as \xHH.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// lines hands on whole lines only, so that those of several instances do not mix.
type lines struct {
	w    io.Writer
	part []byte
}

// Write never fails: a guest is not to know of it.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	if i := bytes.LastIndexByte(p, '\n') + 1; i > 0 {
		if len(l.part) > 0 {
			l.part = append(l.part, p[:i]...)
			_, _ = l.w.Write(l.part)
			l.part = l.part[:0]
		} else {
			_, _ = l.w.Write(p[:i])
		}
		p = p[i:]
	}
	for len(p) > 0 {
		k := min(len(p), maxLine-len(l.part))
		l.part = append(l.part, p[:k]...)
		p = p[k:]
		if len(l.part) == maxLine {
			l.flush()
		}
	}
	return n, nil
}

// flush ends a line that is not finished.
func (l *lines) flush() {
	if len(l.part) > 0 {
		_, _ = l.w.Write(append(l.part, '\n'))
		l.part = l.part[:0]
	}
}
