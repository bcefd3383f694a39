package cgi

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// header is what an instance says before the body of its response.
type header struct {
	status int
	fields http.Header
	// local is the target of a local redirect: the response is that of another request.
	local string
	// length is the body's as the guest declared it, -1 if it did not.
	length int64
}

// endOfHeader is the length of the header block in b with the empty line that ends it, 0 if it has not ended yet. from is
// where to look: what is before was looked at.
func endOfHeader(b []byte, from int) int {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0
		}
		end := from + i + 1
		line := b[from:end]
		if len(line) == 1 || len(line) == 2 && line[0] == '\r' {
			return end
		}
		from = end
	}
}

// lineStart is where the line begins that is not finished in b.
func lineStart(b []byte) int { return bytes.LastIndexByte(b, '\n') + 1 }

// parseHeader reads a header block with the empty line at its end, strictly: a module that nobody tests against other
// servers should hear of its mistakes.
func parseHeader(block []byte) (header, error) {
	h := header{fields: http.Header{}, length: -1}
	seen := map[string]string{}
	for line := range bytes.Lines(block) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) == 0 {
			break
		}
		name, value, err := parseField(line)
		if err != nil {
			return header{}, err
		}
		switch name {
		case "Status", "Location", "Content-Type", "Content-Length":
			if _, dup := seen[name]; dup {
				return header{}, fmt.Errorf("%s: given twice", name)
			}
			seen[name] = value
			if name == "Status" {
				continue
			}
		}
		if !hopByHop(name) {
			h.fields[name] = append(h.fields[name], value)
		}
	}
	return h, h.judge(seen)
}

// parseField parses one line.
func parseField(line []byte) (name, value string, err error) {
	k, v, ok := bytes.Cut(line, []byte(":"))
	switch {
	case !ok:
		return "", "", fmt.Errorf("a header line without a colon: %.80q", line)
	case len(k) == 0 || bytes.ContainsFunc(k, func(r rune) bool { return !isToken(r) }):
		return "", "", fmt.Errorf("want a header field's name before the colon, without spaces: %.80q", line)
	}
	v = bytes.Trim(v, " \t")
	for _, c := range v {
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", "", fmt.Errorf("%.80s: a control character (%#02x) in its value", k, c)
		}
	}
	return textproto.CanonicalMIMEHeaderKey(string(k)), string(v), nil
}

// isToken tells whether r may be in a field's name.
func isToken(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}

// hopByHop fields are the server's business, X-CGI- ones mean nothing here; both are removed, as sections 6.3.4 and 6.3.5
// allow.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return strings.HasPrefix(name, "X-Cgi-")
}

// judge makes one of the four kinds of response (section 6.2) of the CGI fields.
func (h *header) judge(seen map[string]string) error {
	status, hasStatus := seen["Status"]
	location, hasLocation := seen["Location"]
	_, hasType := seen["Content-Type"]
	if !hasStatus && !hasLocation && !hasType {
		return errors.New("want Content-Type, Location or Status in the header")
	}
	h.status = http.StatusOK
	if hasStatus {
		n, err := parseStatus(status)
		if err != nil {
			return err
		}
		h.status = n
	}
	if l, ok := seen["Content-Length"]; ok {
		n, err := strconv.ParseUint(l, 10, 63)
		if err != nil {
			return fmt.Errorf("Content-Length: want a number (got %.80q)", l)
		}
		h.length = int64(n)
	}
	switch {
	case !hasLocation:
		return nil
	case strings.HasPrefix(location, "/") && !hasStatus:
		if len(h.fields) > 1 {
			return fmt.Errorf("the Location %.80q is a local redirect, which has no other fields; with a Status (302) it is the client's", location)
		}
		h.local = location
		_, err := url.ParseRequestURI(location)
		return err
	}
	if u, err := url.Parse(location); err != nil || location == "" || !hasStatus && !u.IsAbs() {
		return fmt.Errorf("want an absolute URI as Location, or a path that begins with / (got %.80q)", location)
	}
	if !hasStatus {
		h.status = http.StatusFound
	}
	return nil
}

// parseStatus parses "404 Not Found". The words are not sent: HTTP/1.1 has made them optional.
func parseStatus(s string) (int, error) {
	digits, _, _ := strings.Cut(s, " ")
	n, err := strconv.Atoi(digits)
	if err != nil || len(digits) != 3 || n < 200 || n > 599 {
		return 0, fmt.Errorf("want a Status of 200 to 599, and words after a space (got %.80q)", s)
	}
	return n, nil
}

// bodyless tells whether responses with a status have no body.
func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}
