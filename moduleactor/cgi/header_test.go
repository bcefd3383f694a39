package cgi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHeader(t *testing.T) {
	for name, tc := range map[string]struct {
		block string
		want  header
		err   string
	}{
		"document": {
			block: "Content-Type: text/html\nSet-Cookie: a=1\nset-cookie: b=2\n\n",
			want: header{status: 200, length: -1, fields: http.Header{
				"Content-Type": {"text/html"}, "Set-Cookie": {"a=1", "b=2"},
			}},
		},
		"CRLF, status, length": {
			block: "Status: 404 Not Found\r\nContent-Type:text/html \r\nContent-Length: 12\r\n\r\n",
			want:  header{status: 404, length: 12, fields: http.Header{"Content-Type": {"text/html"}, "Content-Length": {"12"}}},
		},
		"status alone": {block: "Status: 204\n\n", want: header{status: 204, length: -1, fields: http.Header{}}},
		"local redirect": {
			block: "Location: /there?x=1\n\n",
			want:  header{status: 200, length: -1, local: "/there?x=1", fields: http.Header{"Location": {"/there?x=1"}}},
		},
		"client redirect": {
			block: "Location: https://example.com/\n\n",
			want:  header{status: 302, length: -1, fields: http.Header{"Location": {"https://example.com/"}}},
		},
		"client redirect with document": {
			block: "Location: /there\nStatus: 303 See Other\nContent-Type: text/plain\nSet-Cookie: a=1\n\n",
			want: header{status: 303, length: -1, fields: http.Header{
				"Location": {"/there"}, "Content-Type": {"text/plain"}, "Set-Cookie": {"a=1"},
			}},
		},
		"fields that are the server's": {
			block: "Content-Type: a/b\nConnection: close\nTransfer-Encoding: chunked\nUpgrade: x\nX-CGI-Foo: 1\n\n",
			want:  header{status: 200, length: -1, fields: http.Header{"Content-Type": {"a/b"}}},
		},
		"nothing":                {block: "\n", err: "want Content-Type, Location or Status in the header"},
		"no CGI field":           {block: "X-A: b\n\n", err: "want Content-Type, Location or Status in the header"},
		"no colon":               {block: "hello world\n\n", err: `a header line without a colon: "hello world"`},
		"folded":                 {block: "Content-Type: a/b\n ;c=d:e\n\n", err: `want a header field's name before the colon, without spaces: " ;c=d:e"`},
		"no name":                {block: ": x\n\n", err: `want a header field's name before the colon, without spaces: ": x"`},
		"space in a name":        {block: "Content-Type : x\n\n", err: `want a header field's name before the colon, without spaces: "Content-Type : x"`},
		"bytes that are no name": {block: "\xff: x\n\n", err: `want a header field's name before the colon, without spaces: "\xff: x"`},
		"carriage return":        {block: "Content-Type: a\rX: b\n\n", err: "Content-Type: a control character (0x0d) in its value"},
		"zero byte":              {block: "X: a\x00b\n\n", err: "X: a control character (0x00) in its value"},
		"twice":                  {block: "Status: 200\nStatus: 201\n\n", err: "Status: given twice"},
		"informational":          {block: "Status: 101 Switching\n\n", err: `want a Status of 200 to 599, and words after a space (got "101 Switching")`},
		"no number":              {block: "Status: OK\n\n", err: `want a Status of 200 to 599, and words after a space (got "OK")`},
		"plus":                   {block: "Status: +20\n\n", err: `want a Status of 200 to 599, and words after a space (got "+20")`},
		"negative length":        {block: "Content-Type: a/b\nContent-Length: -1\n\n", err: `Content-Length: want a number (got "-1")`},
		"local redirect with more": {
			block: "Location: /a\nSet-Cookie: a=b\n\n",
			err:   `the Location "/a" is a local redirect, which has no other fields; with a Status (302) it is the client's`,
		},
		"relative redirect": {block: "Location: there\n\n", err: `want an absolute URI as Location, or a path that begins with / (got "there")`},
		"empty redirect":    {block: "Location:\nStatus: 302\n\n", err: `want an absolute URI as Location, or a path that begins with / (got "")`},
	} {
		t.Run(name, func(t *testing.T) {
			if end := endOfHeader([]byte(tc.block), 0); end != len(tc.block) {
				t.Errorf("the block ends after %d bytes of %d", end, len(tc.block))
			}
			got, err := parseHeader([]byte(tc.block))
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("%v, want %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(header{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"Content-Type: text/html\n\nbody", "Status: 404 x\r\nLocation: /a\r\n\r\n", "Location: http://a b/\n\n", "a\n\r\n\n", "Content-Length: 99999999999999999999\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end := endOfHeader(b, 0)
		if end == 0 {
			return
		}
		for i := range end { // however it is cut into writes, it ends at the same place
			if endOfHeader(b[:i], 0) != 0 || endOfHeader(b[:end], lineStart(b[:i])) != end {
				t.Fatalf("cut at %d of %q", i, b[:end])
			}
		}
		h, err := parseHeader(b[:end])
		if err != nil {
			return
		}
		if h.status < 200 || h.status > 599 {
			t.Errorf("status %d", h.status)
		}
		for name, values := range h.fields {
			if name == "" || strings.ContainsAny(name, " :\r\n\x00") || hopByHop(name) {
				t.Errorf("field %q", name)
			}
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") {
					t.Errorf("value %q", v)
				}
			}
		}
	})
}
