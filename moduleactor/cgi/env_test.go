package cgi

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// showsEnv is a guest that answers with its environment.
func showsEnv(_ context.Context, in Input) Result {
	_, _ = fmt.Fprintf(in.Stdout, "Content-Type: text/plain\n\n%s", strings.Join(in.Env, "\n"))
	return Result{}
}

func TestMetaVariables(t *testing.T) {
	own := []string{"A=b", "HTTP_KEPT=container", "GATEWAY_INTERFACE=CGI/1.1", "SERVER_SOFTWARE=wazlet/test", "SCRIPT_NAME="}
	container := []string{"A=b", "CONTENT_LENGTH=5", "REMOTE_USER=root", "HTTP_KEPT=container"}
	for name, tc := range map[string]struct {
		request string
		pass    bool
		want    []string
	}{
		"plain": {
			request: "GET /a%20b/c?x=1&y=%20 HTTP/1.1\r\nHost: example.com:8080\r\nConnection: close\r\n\r\n",
			want: []string{
				"REQUEST_METHOD=GET", "REQUEST_URI=/a%20b/c?x=1&y=%20", "PATH_INFO=/a b/c", "QUERY_STRING=x=1&y=%20", "SERVER_PROTOCOL=HTTP/1.1",
				"SERVER_NAME=example.com", "SERVER_ADDR=127.0.0.1", "SERVER_PORT=PORT", "REMOTE_ADDR=127.0.0.1", "REMOTE_HOST=127.0.0.1",
				"REMOTE_PORT=CLIENT", "HTTP_HOST=example.com:8080",
			},
		},
		"body": {
			request: "POST / HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\nContent-Type: text/x\r\nContent-Length: 3\r\n\r\nabc",
			want: []string{
				"REQUEST_METHOD=POST", "REQUEST_URI=/", "PATH_INFO=/", "QUERY_STRING=", "SERVER_PROTOCOL=HTTP/1.1",
				"SERVER_NAME=[::1]", "SERVER_ADDR=127.0.0.1", "SERVER_PORT=PORT", "REMOTE_ADDR=127.0.0.1", "REMOTE_HOST=127.0.0.1",
				"REMOTE_PORT=CLIENT", "CONTENT_LENGTH=3", "CONTENT_TYPE=text/x", "HTTP_HOST=[::1]",
			},
		},
		"chunked body": {
			request: "PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
			want: []string{
				"REQUEST_METHOD=PUT", "REQUEST_URI=/", "PATH_INFO=/", "QUERY_STRING=", "SERVER_PROTOCOL=HTTP/1.1",
				"SERVER_NAME=h", "SERVER_ADDR=127.0.0.1", "SERVER_PORT=PORT", "REMOTE_ADDR=127.0.0.1", "REMOTE_HOST=127.0.0.1",
				"REMOTE_PORT=CLIENT", "CONTENT_LENGTH=5", "HTTP_HOST=h",
			},
		},
		"HTTP/1.0 without a host": {
			request: "GET / HTTP/1.0\r\n\r\n",
			want: []string{
				"REQUEST_METHOD=GET", "REQUEST_URI=/", "PATH_INFO=/", "QUERY_STRING=", "SERVER_PROTOCOL=HTTP/1.0",
				"SERVER_NAME=127.0.0.1", "SERVER_ADDR=127.0.0.1", "SERVER_PORT=PORT", "REMOTE_ADDR=127.0.0.1", "REMOTE_HOST=127.0.0.1",
				"REMOTE_PORT=CLIENT",
			},
		},
		"fields": {
			request: "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nProxy: evil:1\r\nProxy-Authorization: x\r\nAuthorization: Bearer y\r\n" +
				"Cookie: a=1\r\nCookie: b=2\r\nAccept: text/html\r\nAccept: text/*\r\nX_Under: 1\r\nkept: client\r\nx-Mixed-9: v\r\nTE: trailers\r\n\r\n",
			want: []string{
				"REQUEST_METHOD=GET", "REQUEST_URI=/", "PATH_INFO=/", "QUERY_STRING=", "SERVER_PROTOCOL=HTTP/1.1",
				"SERVER_NAME=h", "SERVER_ADDR=127.0.0.1", "SERVER_PORT=PORT", "REMOTE_ADDR=127.0.0.1", "REMOTE_HOST=127.0.0.1",
				"REMOTE_PORT=CLIENT", "HTTP_HOST=h", "HTTP_ACCEPT=text/html, text/*", "HTTP_COOKIE=a=1; b=2", "HTTP_X_MIXED_9=v",
			},
		},
		"Authorization passed": {
			pass:    true,
			request: "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer y\r\n\r\n",
			want: []string{
				"REQUEST_METHOD=GET", "REQUEST_URI=/", "PATH_INFO=/", "QUERY_STRING=", "SERVER_PROTOCOL=HTTP/1.1",
				"SERVER_NAME=h", "SERVER_ADDR=127.0.0.1", "SERVER_PORT=PORT", "REMOTE_ADDR=127.0.0.1", "REMOTE_HOST=127.0.0.1",
				"REMOTE_PORT=CLIENT", "HTTP_HOST=h", "HTTP_AUTHORIZATION=Bearer y",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, showsEnv, func(c *Config) { c.Env, c.PassAuthorization = container, tc.pass })
			c := w.dial()
			defer c.Close()
			if _, err := io.WriteString(c, tc.request); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			_, body, _ := strings.Cut(string(b), "\r\n\r\n")
			_, serverPort, _ := net.SplitHostPort(w.addr)
			_, clientPort, _ := net.SplitHostPort(c.LocalAddr().String())
			body = strings.ReplaceAll(body, "SERVER_PORT="+serverPort, "SERVER_PORT=PORT")
			body = strings.ReplaceAll(body, "REMOTE_PORT="+clientPort, "REMOTE_PORT=CLIENT")
			if diff := cmp.Diff(slices.Concat(own, tc.want), strings.Split(body, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
