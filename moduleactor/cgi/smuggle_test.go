package cgi

import (
	"context"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestSmuggling: no request is hidden in another. What is ambiguous is refused, and the connection with it; a guest never sees what a
// client has put into the body, or behind a request that is none.
func TestSmuggling(t *testing.T) {
	const hidden = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, tc := range map[string]struct{ request, want string }{
		"two lengths":           {"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc" + hidden, "400"},
		"a list of lengths":     {"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 30\r\n\r\nabc" + hidden, "400"},
		"a negative length":     {"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n" + hidden, "400"},
		"a signed length":       {"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc" + hidden, "400"},
		"a length in hex":       {"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\nabc" + hidden, "400"},
		"an unknown coding":     {"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x\r\n\r\n" + hidden, "501"},
		"two codings":           {"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, "501"},
		"a coding in disguise":  {"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" + hidden, "400"},
		"a space before :":      {"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden, "400"},
		"a length that is long": {"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: " + length(hidden) + "\r\nConnection: close\r\n\r\n" + hidden, "200"},
		"a chunk":               {"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + hex(hidden) + "\r\n" + hidden + "\r\n0\r\n\r\n", "200"},
		"a wrong chunk":         {"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + hidden, "400"},
		"a huge chunk":          {"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + hidden, "400"},
		"a trailer":             {"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: Proxy\r\nConnection: close\r\n\r\n0\r\nProxy: x\r\nX-T: y\r\n\r\n", "200"},
		"no name":               {"GET /a HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n" + hidden, "400"},
		"a name with a space":   {"GET /a HTTP/1.1\r\nHost: h\r\nA B: x\r\n\r\n" + hidden, "400"},
		"a zero in a value":     {"GET /a HTTP/1.1\r\nHost: h\r\nA: x\x00y\r\n\r\n" + hidden, "400"},
		"a return in a value":   {"GET /a HTTP/1.1\r\nHost: h\r\nA: x\ry\r\n\r\n" + hidden, "400"},
		"a zero in the path":    {"GET /a\x00b HTTP/1.1\r\nHost: h\r\n\r\n" + hidden, "400"},
		"a path with a space":   {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n" + hidden, "400"},
		"two hosts":             {"GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n" + hidden, "400"},
		"a host that is none":   {"GET /a HTTP/1.1\r\nHost: a/b c\r\n\r\n" + hidden, "400"},
		"a method that is none": {"G(T /a HTTP/1.1\r\nHost: h\r\n\r\n" + hidden, "400"},
		"version 2":             {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden, "505"},
		"version 9":             {"GET /a HTTP/9.1\r\nHost: h\r\n\r\n" + hidden, "505"},
		"no version":            {"GET /a\r\n\r\n" + hidden, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var seen [][]string
			w := serve(t, func(_ context.Context, in Input) Result {
				if in.Stdin != nil {
					_, _ = io.Copy(io.Discard, in.Stdin)
				}
				_, _ = io.WriteString(in.Stdout, "Content-Type: text/x\n\n")
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, in.Env)
				return Result{}
			}, nil)
			if got := w.raw(tc.request); !strings.HasPrefix(got, "HTTP/1.1 "+tc.want+" ") || strings.Count(got, "HTTP/1.1 ") != 1 {
				t.Errorf("%q, want one answer, %s", got, tc.want)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, env := range seen {
				for _, kv := range env {
					if kv == "PATH_INFO=/smuggled" || strings.HasPrefix(kv, "HTTP_PROXY=") || strings.HasPrefix(kv, "HTTP_X_T=") {
						t.Errorf("a guest sees %q", env)
					}
				}
			}
			if ran := tc.want == "200"; ran != (len(seen) == 1) {
				t.Errorf("%d instances ran", len(seen))
			}
		})
	}
}

func length(s string) string { return strconv.Itoa(len(s)) }
func hex(s string) string    { return strconv.FormatInt(int64(len(s)), 16) }
