package cgi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func refused(status int) seen {
	return seen{status, "text/plain; charset=utf-8", fmt.Sprintf("%d %s\n", status, http.StatusText(status))}
}

func TestResponse(t *testing.T) {
	long := strings.Repeat("0123456789", 10_000)
	for name, tc := range map[string]struct {
		guest  guest
		method string
		want   seen
		log    string // a line of stderr
	}{
		"document":         {guest: prints("Content-Type: text/x\n\nhello"), want: seen{200, "text/x", "hello"}},
		"large document":   {guest: prints("Content-Type: text/x\n\n" + long), want: seen{200, "text/x", long}},
		"empty document":   {guest: prints("Content-Type: text/x\n\n"), want: seen{200, "text/x", ""}},
		"status":           {guest: prints("Status: 418 Teapot\nContent-Type: text/x\n\nshort and stout"), want: seen{418, "text/x", "short and stout"}},
		"no content":       {guest: prints("Status: 204\n\nignored"), want: seen{204, "", ""}},
		"HEAD":             {guest: prints("Content-Type: text/x\n\nhello"), method: http.MethodHead, want: seen{200, "text/x", ""}},
		"declared length":  {guest: prints("Content-Type: text/x\nContent-Length: 5\n\nhello"), want: seen{200, "text/x", "hello"}},
		"client redirect":  {guest: prints("Location: http://example.com/\n\n"), want: seen{302, "", ""}},
		"byte by byte":     {guest: byteByByte("Status: 201 x\r\nContent-Type: text/x\r\n\r\nhello"), want: seen{201, "text/x", "hello"}},
		"no output":        {guest: prints(""), want: refused(502), log: `wazlet: METHOD "/": the module ended before an empty line ended its header`},
		"half a header":    {guest: prints("Content-Type: a/b\n"), want: refused(502), log: `wazlet: METHOD "/": the module ended before an empty line ended its header`},
		"no header":        {guest: prints("hello\n\n"), want: refused(502), log: `wazlet: METHOD "/": a header line without a colon: "hello"`},
		"no Content-Type":  {guest: prints("Status: 200\n\nhello"), want: refused(502), log: `wazlet: METHOD "/": a body without a Content-Type`},
		"too large header": {guest: prints("X: " + long), want: refused(502), log: `wazlet: METHOD "/": the header does not end within 65536 bytes`},
		"failure":          {guest: fails("", Result{Code: 3}), want: refused(502), log: `wazlet: METHOD "/": exit code 3`},
		"failure after the header": {
			guest: fails("Content-Type: a/b\n\n", Result{Code: 134, Message: "unreachable\nwasm stack"}), want: refused(502),
			log: "wazlet: METHOD \"/\": exit code 134: unreachable\n\twasm stack",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, tc.guest, nil)
			method := tc.method
			if method == "" {
				method = http.MethodGet
			}
			got, err := w.do(method, "/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if tc.log != "" {
				w.logged(&w.stderr, strings.ReplaceAll(tc.log, "METHOD", method)+"\n")
			}
		})
	}
}

func byteByByte(out string) guest {
	return func(_ context.Context, in Input) Result {
		for i := range len(out) {
			_, _ = in.Stdout.Write([]byte(out[i : i+1]))
		}
		return Result{}
	}
}

func fails(out string, res Result) guest {
	return func(_ context.Context, in Input) Result {
		_, _ = io.WriteString(in.Stdout, out)
		return res
	}
}

// What goes wrong once a client has had something of the response cuts its connection.
func TestCutResponse(t *testing.T) {
	const header = "Content-Type: text/x\n\n"
	for name, tc := range map[string]struct {
		guest guest
		log   string
	}{
		"failure":   {fails(header+"hello", Result{Code: 1}), "exit code 1"},
		"too short": {prints("Content-Length: 10\n" + header + "hello"), "a body of 5 bytes with a Content-Length of 10"},
		"too long":  {prints("Content-Length: 2\n" + header + "hello"), "the body is longer than its Content-Length of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, tc.guest, nil)
			if got, err := w.get("/"); err == nil {
				t.Errorf("a whole response: %v", got)
			}
			w.logged(&w.stderr, "wazlet: GET \"/\": "+tc.log+"\n")
			w.logged(&w.stdout, `"GET / HTTP/1.1" 200 `)
		})
	}
}

func TestLocalRedirect(t *testing.T) {
	var envs []string
	w := serve(t, func(_ context.Context, in Input) Result {
		envs = append(envs, strings.Join(slices.DeleteFunc(slices.Clone(in.Env), func(kv string) bool {
			name, _, _ := strings.Cut(kv, "=")
			return !slices.Contains([]string{"REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_LENGTH", "HTTP_X_A"}, name)
		}), " "))
		switch {
		case slices.Contains(in.Env, "PATH_INFO=/loop"):
			_, _ = io.WriteString(in.Stdout, "Location: /loop\n\n")
		case slices.Contains(in.Env, "PATH_INFO=/there"):
			_, _ = io.WriteString(in.Stdout, "Content-Type: text/x\n\nthere")
		default:
			_, _ = io.WriteString(in.Stdout, "Location: /there?a=b\n\nignored")
		}
		return Result{}
	}, nil)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.addr+"/", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-A", "1")
	res, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != 200 || string(body) != "there" {
		t.Errorf("%d %q %v", res.StatusCode, body, err)
	}
	want := []string{
		"REQUEST_METHOD=POST PATH_INFO=/ QUERY_STRING= CONTENT_LENGTH=4 HTTP_X_A=1",
		"REQUEST_METHOD=GET PATH_INFO=/there QUERY_STRING=a=b HTTP_X_A=1",
	}
	if diff := cmp.Diff(want, envs); diff != "" {
		t.Error(diff)
	}
	got, err := w.get("/loop")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(refused(502), got); diff != "" {
		t.Error(diff)
	}
	w.logged(&w.stderr, "wazlet: GET \"/loop\": more than 10 local redirects\n")
}

// echoes answers with the request's body.
func echoes(_ context.Context, in Input) Result {
	_, _ = io.WriteString(in.Stdout, "Content-Type: text/x\n\n")
	if in.Stdin != nil {
		_, _ = io.Copy(in.Stdout, in.Stdin)
	}
	return Result{}
}

func TestRequestLimits(t *testing.T) {
	const most = 1 << 20
	w := serve(t, echoes, nil)
	chunked := func(n int) io.Reader { return io.MultiReader(strings.NewReader(strings.Repeat("x", n))) }
	for name, tc := range map[string]struct {
		body io.Reader
		want seen
	}{
		"no body":              {nil, seen{200, "text/x", ""}},
		"the largest body":     {strings.NewReader(strings.Repeat("x", most)), seen{200, "text/x", strings.Repeat("x", most)}},
		"too large a body":     {strings.NewReader(strings.Repeat("x", most+1)), refused(413)},
		"small chunks":         {chunked(10), seen{200, "text/x", "xxxxxxxxxx"}},
		"the largest of those": {chunked(MaxChunkedBytes), seen{200, "text/x", strings.Repeat("x", MaxChunkedBytes)}},
		"no length":            {chunked(MaxChunkedBytes + 1), refused(411)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := w.do(http.MethodPost, "/", tc.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, tc := range map[string]struct{ request, want string }{
		"header":    {"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		"path":      {"GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 431 "},
		"zero byte": {"GET /%00 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 "},
		"CONNECT":   {"CONNECT h:1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "HTTP/1.1 501 "},
		"no host":   {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
	} {
		t.Run(name, func(t *testing.T) {
			if got := w.raw(tc.request); !strings.HasPrefix(got, tc.want) {
				t.Errorf("%.100q, want %s", got, tc.want)
			}
		})
	}
	small := serve(t, echoes, func(c *Config) { c.Limits.MaxBodyBytes = 10 })
	got, err := small.do(http.MethodPost, "/", chunked(11))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(refused(413), got); diff != "" {
		t.Error(diff)
	}
}

// TestStreams shows that a guest has the first part of a body before the client sends the second, and the client that of
// the response.
func TestStreams(t *testing.T) {
	w := serve(t, func(_ context.Context, in Input) Result {
		_, _ = io.WriteString(in.Stdout, "Content-Type: text/x\n\n")
		for r := bufio.NewReader(in.Stdin); ; {
			line, err := r.ReadString('\n')
			_, _ = io.WriteString(in.Stdout, line)
			if err != nil {
				return Result{}
			}
		}
	}, nil)
	c := w.dial()
	defer c.Close()
	from := bufio.NewReader(c)
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\none\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body := bufio.NewReader(res.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "one\n" {
		t.Fatalf("%q %v", line, err)
	}
	if _, err := io.WriteString(c, "two\n"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(body); err != nil || string(rest) != "two\n" {
		t.Errorf("%q %v", rest, err)
	}
}

// blocks waits until it is stopped, after it has said so.
func blocks(out string, up chan<- struct{}) guest {
	return func(ctx context.Context, in Input) Result {
		_, _ = io.WriteString(in.Stdout, out)
		up <- struct{}{}
		<-ctx.Done()
		return Result{Code: 137}
	}
}

func TestTimeout(t *testing.T) {
	short := func(c *Config) { c.Limits.Timeout = 20 * time.Millisecond }
	t.Run("before the response", func(t *testing.T) {
		w := serve(t, blocks("", make(chan struct{}, 1)), short)
		got, err := w.get("/")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(refused(504), got); diff != "" {
			t.Error(diff)
		}
		w.logged(&w.stderr, "wazlet: GET \"/\": not done in time\n")
	})
	t.Run("after a part of it", func(t *testing.T) {
		w := serve(t, blocks("Content-Type: text/x\n\nhello", make(chan struct{}, 1)), short)
		if got, err := w.get("/"); err == nil {
			t.Errorf("%v", got)
		}
		w.logged(&w.stderr, "wazlet: GET \"/\": not done in time\n")
	})
	t.Run("the client does not send", func(t *testing.T) {
		w := serve(t, echoes, short)
		if got := w.raw("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\none\n"); strings.HasSuffix(got, "0\r\n\r\n") {
			t.Errorf("a whole response: %q", got)
		}
		w.logged(&w.stdout, `"POST / HTTP/1.1" `)
	})
	t.Run("the client does not read", func(t *testing.T) {
		w := serve(t, func(_ context.Context, in Input) Result {
			if _, err := io.WriteString(in.Stdout, "Content-Type: text/x\n\n"); err != nil {
				return Result{Code: 1}
			}
			for block := make([]byte, 1<<20); ; {
				if _, err := in.Stdout.Write(block); err != nil {
					return Result{Code: 1}
				}
			}
		}, func(c *Config) { c.Limits.Timeout = 200 * time.Millisecond })
		c := w.dial()
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		w.logged(&w.stderr, "wazlet: GET \"/\": not done in time\n")
	})
}

func TestClientGone(t *testing.T) {
	up := make(chan struct{}, 1)
	w := serve(t, blocks("", up), nil)
	c := w.dial()
	if _, err := io.WriteString(c, "GET /gone HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-up
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	w.logged(&w.stdout, `"GET /gone HTTP/1.1" 499 0 "-" "-"`)
	if lines := w.stderr.lines(); len(lines) > 0 {
		t.Errorf("it says %q", lines)
	}
}

// TestConcurrency fills the handler and its queue.
func TestConcurrency(t *testing.T) {
	up, release := make(chan struct{}, 10), make(chan struct{})
	w := serve(t, func(_ context.Context, in Input) Result {
		up <- struct{}{}
		<-release
		_, _ = io.WriteString(in.Stdout, "Content-Type: text/x\n\nhello")
		return Result{}
	}, func(c *Config) { c.Limits.MaxConcurrency = 1 })
	answers := make(chan string, 10)
	for range 2 + QueueFactor {
		go func() {
			c := w.dial()
			defer c.Close()
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			b, _ := io.ReadAll(c)
			answers <- string(b)
		}()
	}
	<-up
	// One runs, as many as may wait do, and one is too many.
	if got := <-answers; !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "\r\nRetry-After: 1\r\n") {
		t.Errorf("%q", got)
	}
	select {
	case <-up:
		t.Error("two instances run")
	default:
	}
	close(release)
	for range 1 + QueueFactor {
		if got := <-answers; !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("%q", got)
		}
	}
}

func TestNoInstance(t *testing.T) {
	w := serve(t, prints("Content-Type: text/x\n\nhello"), func(c *Config) { c.Ready = 1 })
	w.refuse.Store(true)
	statuses := map[int]int{}
	for range 5 { // those that were made before are used up
		got, err := w.get("/")
		if err != nil {
			t.Fatal(err)
		}
		statuses[got.Status]++
	}
	if statuses[200] < 1 || statuses[200] > 2 || statuses[503] != 5-statuses[200] {
		t.Errorf("%v", statuses)
	}
	w.logged(&w.stderr, "no instance: short buffer\n")
	w.refuse.Store(false)
	if got, err := w.get("/"); err != nil || got.Status != 200 || got.Body != "hello" {
		t.Errorf("%v %v", got, err)
	}
}

// TestShutdown ends the server in the middle of a request.
func TestShutdown(t *testing.T) {
	up, release := make(chan struct{}, 1), make(chan struct{})
	w := serve(t, func(_ context.Context, in Input) Result {
		up <- struct{}{}
		<-release
		_, _ = io.WriteString(in.Stdout, "Content-Type: text/x\n\nhello")
		return Result{}
	}, nil)
	type answer struct {
		seen seen
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		got, err := w.get("/")
		answers <- answer{got, err}
	}()
	<-up
	w.stop()
	for { // until the listener is closed
		c, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}).Head("http://" + w.addr)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err == nil {
			_ = c.Body.Close()
		}
	}
	close(release)
	got := <-answers
	if diff := cmp.Diff(seen{200, "text/x", "hello"}, got.seen); diff != "" || got.err != nil {
		t.Errorf("%v %s", got.err, diff)
	}
	w.end()
}

// TestShutdownAnswersWhoHasConnected: who has a connection before the port is closed gets an answer, even to what is sent after that.
func TestShutdownAnswersWhoHasConnected(t *testing.T) {
	w := serve(t, prints("Content-Type: text/x\n\nhello"), nil)
	early := w.dial()
	defer early.Close()
	if _, err := w.get("/"); err != nil { // connections are taken in the order in which they come
		t.Fatal(err)
	}
	w.stop()
	for {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.addr)
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err == nil {
			_ = c.Close()
		}
	}
	if _, err := io.WriteString(early, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(early); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") || !strings.Contains(string(got), "Connection: close\r\n") {
		t.Errorf("%q, %v", got, err)
	}
	w.end()
}

// TestKill ends the server in the middle of a request, which it does not answer.
func TestKill(t *testing.T) {
	up := make(chan struct{}, 1)
	w := serve(t, blocks("", up), nil)
	failed := make(chan error, 1)
	go func() {
		_, err := w.get("/")
		failed <- err
	}()
	<-up
	w.kill()
	w.end()
	if <-failed == nil {
		t.Error("it is answered")
	}
}

func TestLogs(t *testing.T) {
	w := serve(t, func(_ context.Context, in Input) Result {
		_, _ = io.WriteString(in.Stderr, "one\ntw")
		_, _ = io.WriteString(in.Stderr, "o\nthree")
		_, _ = io.WriteString(in.Stdout, "Content-Type: text/x\n\nhello")
		return Result{}
	}, nil)
	w.raw("GET /a?b=\"c\" HTTP/1.1\r\nHost: h\r\nConnection: close\r\nReferer: http://x/\r\nUser-Agent: \"evil\"\\ \xff\r\n\r\n")
	w.logged(&w.stdout, `127.0.0.1 - - [22/Nov/2026:01:02:03 +0000] "GET /a?b=\x22c\x22 HTTP/1.1" 200 5 "http://x/" "\x22evil\x22\x5c \xff"`+"\n")
	if diff := cmp.Diff([]string{"one", "two", "three"}, w.stderr.lines()); diff != "" {
		t.Error(diff)
	}
}

func TestLinesAreBounded(t *testing.T) {
	var b bytes.Buffer
	l := &lines{w: &b}
	for range 3 {
		_, _ = l.Write(bytes.Repeat([]byte("x"), maxLine/2))
	}
	_, _ = l.Write([]byte("y\nz"))
	l.flush()
	want := strings.Repeat("x", maxLine) + "\n" + strings.Repeat("x", maxLine/2) + "y\nz\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestConfig(t *testing.T) {
	_, err := New(t.Context(), Config{Limits: Limits{Timeout: -1, MaxBodyBytes: -1}, Ready: -1})
	want := "http handler: limits.timeout: want more than 0 (got -1ns)\nlimits.maxConcurrency: want 1 or more (got 0)\n" +
		"limits.maxBodyBytes: want 0 or more (got -1)\nready: want 0 or more (got -1)\ninstantiate, stdout, stderr: want all of them"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	broken := errors.New("no _start")
	_, err = New(t.Context(), Config{
		Limits: Limits{Timeout: 1, MaxConcurrency: 1}, Stdout: io.Discard, Stderr: io.Discard,
		Instantiate: func(context.Context) (Instance, error) { return nil, broken },
	})
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// A body that no guest reads is read after the response if the client sends it, and ends the connection otherwise: what
// comes of it later must not pass for a request.
func TestUnreadBody(t *testing.T) {
	w := serve(t, prints("Content-Type: text/x\nContent-Length: 5\n\nhello"), nil)
	c := w.dial()
	defer c.Close()
	from := bufio.NewReader(c)
	ask := func(body string) string {
		t.Helper()
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n"+body); err != nil {
			t.Fatal(body, err)
		}
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(body, err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(body, err)
		}
		return string(b)
	}
	for _, body := range []string{"whatever", "whatever", "half"} {
		if got := ask(body); got != "hello" {
			t.Errorf("%q", got)
		}
	}
	// The connection ends by itself. What is sent before that is not answered.
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"[:3])
	if rest, err := io.ReadAll(from); len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
}
