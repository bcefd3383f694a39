package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// testHandler is a container that serves HTTP, started as the daemon does it.
type testHandler struct {
	t       *testing.T
	address string
	process *bundle.Process
	log     string
}

// startHandler starts one at an address that no other test has.
func startHandler(t *testing.T, address string, code []byte, change func(*bundle.Spec)) *testHandler {
	t.Helper()
	d := newDaemon(t)
	spec := d.spec("main", 0, code, func(s *bundle.Spec) {
		s.Shim = ""
		s.Args, s.Env = []string{"cgi", "last"}, []string{"OWN=own"}
		s.Handler = &bundle.Handler{Protocol: bundle.HandlerCGI, Timeout: time.Minute, MaxConcurrency: 4, MaxBodyBytes: 1 << 20}
		s.Listeners = []bundle.Listener{{Name: "http", Network: bundle.NetworkTCP, Address: netip.MustParseAddrPort(address)}}
		if change != nil {
			change(s)
		}
	})
	h := &testHandler{t: t, address: address, log: spec.Log.Path, process: d.start(spec, bundle.Limits{})}
	t.Cleanup(func() {
		_ = h.process.Signal(true)
		_, _ = h.process.Wait(context.Background())
	})
	return h
}

// inBoth runs a test with a process for the container and with a shared one.
func inBoth(t *testing.T, test func(t *testing.T, shared func(*bundle.Spec))) {
	t.Run("process", func(t *testing.T) { test(t, func(*bundle.Spec) {}) })
	t.Run("shared", func(t *testing.T) { test(t, func(s *bundle.Spec) { s.Shim = bundle.SharedShim("") }) })
}

// up waits until it runs.
func (h *testHandler) up() *testHandler {
	h.t.Helper()
	if _, ok, err := h.process.Started(h.t.Context()); err != nil || !ok {
		exit, _ := h.process.Wait(h.t.Context())
		h.t.Fatalf("it does not start: %v, %+v", err, exit)
	}
	return h
}

// ask makes one request on a connection of its own.
func (h *testHandler) ask(method, path string, body io.Reader) string {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+h.address+path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Close = true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, b)
}

// logged waits for a text in the log.
func (h *testHandler) logged(text string) {
	h.t.Helper()
	eventually(h.t, text, func() bool {
		b, err := os.ReadFile(h.log)
		return err == nil && bytes.Contains(b, []byte(text))
	})
}

func TestHandler(t *testing.T) { inBoth(t, testHandlerAnswers) }

func testHandlerAnswers(t *testing.T, isolation func(*bundle.Spec)) {
	h := startHandler(t, "127.92.1.1:8080", enginetest.C(t, "cgi.c"), isolation).up()
	if got := h.ask(http.MethodGet, "/hello?a=b", nil); got != "200 last own a=b" {
		t.Errorf("%q", got)
	}
	h.logged(" stderr F asked for /hello\n")
	h.logged(" stdout F 127.0.0.1 - - [")
	h.logged(`"GET /hello?a=b HTTP/1.1" 200 12 "-" "Go-http-client/1.1"`)
	body := strings.Repeat("0123456789", 50_000)
	if got := h.ask(http.MethodPost, "/echo", strings.NewReader(body)); got != "200 "+body {
		t.Errorf("an echo of %d bytes", len(got))
	}
	if got := h.ask(http.MethodGet, "/trap", nil); got != "502 502 Bad Gateway\n" {
		t.Errorf("%q", got)
	}
	h.logged(`wazlet: GET "/trap": exit code 134: wasm error: unreachable`)
	if got := h.ask(http.MethodGet, "/hello", nil); got != "200 last own " {
		t.Errorf("after it: %q", got)
	}
}

// A guest that does not end is ended, whatever it does, and disturbs no other.
func TestHandlerTimeout(t *testing.T) { inBoth(t, testHandlerTimeout) }

func testHandlerTimeout(t *testing.T, isolation func(*bundle.Spec)) {
	h := startHandler(t, "127.92.1.2:8080", enginetest.C(t, "cgi.c"), func(s *bundle.Spec) {
		s.Handler.Timeout = 500 * time.Millisecond
		isolation(s)
	}).up()
	for _, path := range []string{"/spin", "/recurse", "/sleep"} {
		if got := h.ask(http.MethodGet, path, nil); got != "504 504 Gateway Timeout\n" {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := h.ask(http.MethodGet, "/hello", nil); got != "200 last own " {
		t.Errorf("after them: %q", got)
	}
}

// A guest that takes all the memory there is leaves the container alone.
func TestHandlerMemory(t *testing.T) { inBoth(t, testHandlerMemory) }

func testHandlerMemory(t *testing.T, isolation func(*bundle.Spec)) {
	const limit = 8 << 20
	h := startHandler(t, "127.92.1.3:8080", enginetest.C(t, "cgi.c"), func(s *bundle.Spec) {
		s.MemoryBytes = limit
		isolation(s)
	}).up()
	for range 3 {
		if got := h.ask(http.MethodGet, "/hoard", nil); got != "200 last own " {
			t.Errorf("%q", got)
		}
	}
	exit := h.end()
	if exit.PeakMemoryBytes > limit || exit.PeakMemoryBytes < limit/2 {
		t.Errorf("a peak of %d bytes", exit.PeakMemoryBytes)
	}
}

// end ends it by SIGTERM.
func (h *testHandler) end() bundle.Exit {
	h.t.Helper()
	if err := h.process.Signal(false); err != nil {
		h.t.Fatal(err)
	}
	exit, err := h.process.Wait(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return exit
}

// SIGTERM closes the port; what has begun is answered.
func TestHandlerTerminates(t *testing.T) { inBoth(t, testHandlerTerminates) }

func testHandlerTerminates(t *testing.T, isolation func(*bundle.Spec)) {
	h := startHandler(t, "127.92.1.4:8080", enginetest.C(t, "cgi.c"), isolation).up()
	r, w := io.Pipe()
	answer := make(chan string, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.address+"/echo", r)
		if err != nil {
			answer <- err.Error()
			return
		}
		req.ContentLength = 8
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		b := make([]byte, 4)
		_, err = io.ReadFull(res.Body, b)
		answer <- fmt.Sprintf("%s %v", b, err)
		rest, err := io.ReadAll(res.Body)
		answer <- fmt.Sprintf("%s %v", rest, err)
	}()
	if _, err := io.WriteString(w, "what"); err != nil {
		t.Fatal(err)
	}
	if got := <-answer; got != "what <nil>" {
		t.Fatal(got)
	}
	if err := h.process.Signal(false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refusal", func() bool {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.address)
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if _, err := io.WriteString(w, "ever"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if got := <-answer; got != "ever <nil>" {
		t.Error(got)
	}
	exit, err := h.process.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := sameExit(bundle.Exit{Reason: bundle.Completed}, exit); d != "" {
		t.Error(d)
	}
}

// SIGKILL does not wait for what has begun.
func TestHandlerIsKilled(t *testing.T) {
	inBoth(t, func(t *testing.T, isolation func(*bundle.Spec)) {
		h := startHandler(t, "127.92.1.6:8080", enginetest.C(t, "cgi.c"), isolation).up()
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /spin HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := h.process.Signal(true); err != nil {
			t.Fatal(err)
		}
		exit, err := h.process.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if exit.Code != 137 || exit.Reason != bundle.Killed {
			t.Errorf("%+v", exit)
		}
	})
}

// What cannot be instantiated is known before it serves.
func TestHandlerStartError(t *testing.T) { inBoth(t, testHandlerStartError) }

func testHandlerStartError(t *testing.T, isolation func(*bundle.Spec)) {
	for name, tc := range map[string]struct {
		change func(*bundle.Spec)
		want   string
	}{
		"too little memory": {func(s *bundle.Spec) { s.MemoryBytes = 64 << 10 }, "the module cannot run here: "},
		"no port":           {func(s *bundle.Spec) { s.Listeners = nil }, "an HTTP handler has no port to listen at"},
	} {
		t.Run(name, func(t *testing.T) {
			h := startHandler(t, "127.92.1.5:8080", enginetest.C(t, "cgi.c"), func(s *bundle.Spec) {
				tc.change(s)
				isolation(s)
			})
			exit, err := h.process.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			message := exit.Message
			exit.Message = ""
			if d := cmp.Diff("", sameExit(bundle.Exit{Code: 128, Reason: bundle.StartError}, exit)); d != "" || !strings.HasPrefix(message, tc.want) {
				t.Errorf("%q %s", message, d)
			}
		})
	}
}
