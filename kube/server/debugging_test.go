package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wazlet/wazlet/kube/server"
)

func TestDebuggingDisabled(t *testing.T) {
	full := everything()
	full.Logs = func(context.Context, server.LogRequest, io.Writer) error { return nil }
	full.Profiling, full.LogDir, full.NoDebugging = true, t.TempDir(), true
	h := server.New(full)
	for path, want := range map[string]int{
		"/run/a/b/c": 405, "/exec/a/b/c": 405, "/attach/a/b/c": 405, "/portForward/a/b": 405, "/containerLogs/a/b/c": 405,
		"/runningpods/": 405, "/debug/pprof/": 405, "/debug/pprof/heap": 405, "/logs/": 405, "/logs/x": 405,
		"/pods": 200, "/healthz": 200, "/configz": 404,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
			if method == http.MethodGet && w.Code != want {
				t.Errorf("%s: %d, want %d", path, w.Code, want)
			}
			if want == 405 && w.Body.String() != "Debug endpoints are disabled.\n" {
				t.Errorf("%s %s: %q", method, path, w.Body)
			}
		}
	}
}

func TestProfiling(t *testing.T) {
	h := server.New(server.Handlers{Profiling: true})
	for path, want := range map[string]string{
		"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile: total",
		"/debug/pprof/cmdline": filepath.Base(os.Args[0]), "/debug/pprof/symbol": "num_symbols",
	} {
		if w := get(h, path); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.100q", path, w.Code, w.Body)
		}
	}
	if w := get(server.New(server.Handlers{}), "/debug/pprof/"); w.Code != http.StatusNotFound {
		t.Errorf("not asked for: %d", w.Code)
	}
}

func TestRunningPods(t *testing.T) {
	h := server.New(server.Handlers{RunningPods: listing(pod("ns", "p"))})
	for _, path := range []string{"/runningpods", "/runningpods/"} {
		if w := get(h, path); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"name":"p"`) {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
}

func TestNodeLogs(t *testing.T) {
	outside, dir := t.TempDir(), filepath.Join(t.TempDir(), "log")
	for file, text := range map[string]string{
		filepath.Join(outside, "shadow"): "secret", filepath.Join(dir, "syslog"): "line 1\nline 2\n",
		filepath.Join(dir, "pods", "ns_p_u", "0.log"): "hello", filepath.Join(dir, "index"): "x",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"absolute": filepath.Join(outside, "shadow"), "relative": "../../" + filepath.Base(outside) + "/shadow", "out": outside, "inside": "pods/ns_p_u/0.log",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := serve(t, server.Auth{}, server.Handlers{LogDir: dir})
	client := n.admin()
	for _, tc := range []struct {
		path string
		code int
		body string
	}{
		{"/logs/syslog", 200, "line 1\nline 2\n"},
		{"/logs/pods/ns_p_u/0.log", 200, "hello"},
		{"/logs/inside", 200, "hello"},
		{"/logs/absolute", 404, "404 page not found\n"},
		{"/logs/relative", 404, "404 page not found\n"},
		{"/logs/out/shadow", 404, "404 page not found\n"},
		{"/logs/%2e%2e/" + filepath.Base(outside) + "/shadow", 404, "404 page not found\n"},
		{"/logs/..%2f..%2f" + filepath.Base(outside) + "/shadow", 404, "404 page not found\n"},
		{"/logs/none", 404, "404 page not found\n"},
		{"/logs/pipe", 403, "403 Forbidden\n"},
	} {
		if code, body := fetch(t, client, request(t, "GET", n.url(tc.path))); code != tc.code || body != tc.body {
			t.Errorf("%s: %d %q, want %d %q", tc.path, code, body, tc.code, tc.body)
		}
	}
	for _, path := range []string{"/logs", "/logs/"} {
		code, body := fetch(t, client, request(t, "GET", n.url(path)))
		if code != 200 || !strings.Contains(body, `<a href="pods/">`) || !strings.Contains(body, `<a href="syslog">`) {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	r := request(t, "GET", n.url("/logs/syslog"))
	r.Header.Set("Range", "bytes=-7")
	if code, body := fetch(t, client, r); code != http.StatusPartialContent || body != "line 2\n" {
		t.Errorf("the end of a file: %d %q", code, body)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if code, body := fetch(t, client, request(t, "GET", n.url("/logs/syslog"))); code != 500 || strings.Contains(body, dir) {
		t.Errorf("without the directory: %d %q", code, body)
	}
}

// TestFollowedLog reads lines through TLS while they are written, and has the client and the server end it.
func TestFollowedLog(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, who := range []string{"client", "server", "container"} {
			t.Run(protocol+" ended by the "+who, func(t *testing.T) {
				lines, ended := make(chan string), make(chan error, 1)
				n := serve(t, server.Auth{}, server.Handlers{
					Pods: listing(pod("ns", "p", statuses()...)),
					Logs: func(ctx context.Context, r server.LogRequest, w io.Writer) error {
						for {
							select {
							case line, more := <-lines:
								if !more {
									ended <- nil
									return nil
								}
								_, _ = fmt.Fprintf(w, "%s %s\n", r.Container, line)
							case <-ctx.Done():
								ended <- ctx.Err()
								return ctx.Err()
							}
						}
					},
				})
				client := n.admin()
				client.Transport.(*http.Transport).ForceAttemptHTTP2 = protocol == "HTTP/2.0"
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				w, err := client.Do(request(t, "GET", n.url("/containerLogs/ns/p/up?follow=true")).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				defer w.Body.Close()
				if w.Proto != protocol || w.StatusCode != http.StatusOK {
					t.Fatal(w.Proto, w.Status)
				}
				body := bufio.NewReader(w.Body)
				for _, line := range []string{"one", "two"} {
					lines <- line
					if got, err := body.ReadString('\n'); err != nil || got != "up "+line+"\n" {
						t.Errorf("%q, %v", got, err)
					}
				}
				switch who {
				case "client":
					leave()
				case "server":
					n.stop()
				case "container":
					close(lines)
				}
				if err := await(t, ended, "end of the log"); (err == nil) != (who == "container") {
					t.Errorf("ended with %v", err)
				}
				if rest, err := io.ReadAll(body); who == "container" && (err != nil || len(rest) > 0) {
					t.Errorf("after the end: %q, %v", rest, err)
				}
			})
		}
	}
}
