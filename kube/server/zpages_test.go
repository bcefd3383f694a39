package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/wazlet/wazlet/kube/server"
)

func zPages() http.Handler {
	p := pod("ns", "p")
	p.Spec.Containers = []corev1.Container{{Name: "c"}}
	started := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return server.New(server.Handlers{
		Pods: listing(p), Profiling: true,
		Status: &server.Status{
			Started: started, Version: "v1.36.3", Clock: clocktesting.NewFakePassiveClock(started.Add(26*time.Hour + 3*time.Minute + 4*time.Second)),
		},
		Flags: func() map[string]string { return map[string]string{"root-dir": "/r", "config": "f=g"} },
	})
}

const zWarning = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.\n"

func TestZPages(t *testing.T) {
	h := zPages()
	const structured = "application/json;v=v1beta1;g=config.k8s.io;as="
	for _, c := range []struct {
		path, accept string
		code         int
		want         string
	}{
		{"/statusz", "", 200, "\nkubelet statusz\n" + zWarning + "\nStarted: Sun Mar  1 12:00:00 UTC 2026\nUp: 26 hr 03 min 04 sec\nGo version: " +
			runtime.Version() + "\nBinary version: v1.36.3\n\nPaths: /checkpoint /debug /flagz /healthz /pods /readyz /statusz\n"},
		{"/statusz", structured + "Statusz", 200, fmt.Sprintf(`{"kind":"Statusz","apiVersion":"config.k8s.io/v1beta1","metadata":{"name":"kubelet"},`+
			`"startTime":"2026-03-01T12:00:00Z","uptimeSeconds":93784,"goVersion":%q,"binaryVersion":"v1.36.3",`+
			`"paths":["/checkpoint","/debug","/flagz","/healthz","/pods","/readyz","/statusz"]}`+"\n", runtime.Version())},
		{"/flagz", "application/yaml, */*;q=0.1", 200, "\nkubelet flagz\n" + zWarning + "config=f=g\nroot-dir=/r\n"},
		{"/flagz", structured + "Flagz", 200, `{"kind":"Flagz","apiVersion":"config.k8s.io/v1beta1","metadata":{"name":"kubelet"},` +
			`"flags":{"config":"f=g","root-dir":"/r"}}` + "\n"},
		{"/flagz", structured + "Statusz", 406, "only text/plain and application/json;g=config.k8s.io;v=v1beta1;as=Flagz are served\n"},
		{"/statusz", "application/json, ;", 406, "only text/plain and application/json;g=config.k8s.io;v=v1beta1;as=Statusz are served\n"},
	} {
		r := httptest.NewRequest(http.MethodGet, c.path, nil)
		if c.accept != "" {
			r.Header.Set("Accept", c.accept)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.code {
			t.Errorf("%s of %q: %d, want %d", c.path, c.accept, w.Code, c.code)
		}
		if diff := cmp.Diff(c.want, w.Body.String()); diff != "" {
			t.Errorf("%s of %q (-want +got):\n%s", c.path, c.accept, diff)
		}
	}
	for _, path := range []string{"/statusz", "/flagz", "/debug/flags/v"} {
		if w := get(server.New(server.Handlers{}), path); w.Code != http.StatusNotFound {
			t.Errorf("%s without anything to say: %d", path, w.Code)
		}
	}
}

func TestVerbosity(t *testing.T) {
	var set []int
	h := server.New(server.Handlers{SetVerbosity: func(v int) { set = append(set, v) }})
	for _, c := range []struct {
		method, body string
		code         int
		want         string
	}{
		{"PUT", "4", 200, "successfully set klog.logging.verbosity to 4\n"},
		{"PUT", "0", 200, "successfully set klog.logging.verbosity to 0\n"},
		{"PUT", "", 400, "want a verbosity, a number from 0 (got \"\")\n"},
		{"PUT", "-1", 400, "want a verbosity, a number from 0 (got \"-1\")\n"},
		{"PUT", strings.Repeat("9", 1<<20), 400, "want a verbosity, a number from 0 (got \"9999999999999999\")\n"},
		{"GET", "4", 406, "unsupported http method\n"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, "/debug/flags/v", strings.NewReader(c.body)))
		if w.Code != c.code || w.Body.String() != c.want {
			t.Errorf("%s %.20q: %d %q, want %d %q", c.method, c.body, w.Code, w.Body, c.code, c.want)
		}
	}
	if diff := cmp.Diff([]int{4, 0}, set); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
}

func TestCheckpoint(t *testing.T) {
	h := zPages()
	for _, c := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"POST", "/checkpoint/ns/p/c", 500, "checkpointing of ns/p/c failed (guests of WebAssembly cannot be checkpointed)\n"},
		{"POST", "/checkpoint/ns/p/other", 404, "container other does not exist\n"},
		{"POST", "/checkpoint/ns/other/c", 404, "pod does not exist\n"},
		{"GET", "/checkpoint/ns/p/c", 405, "Method Not Allowed\n"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.code || w.Body.String() != c.want {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, w.Code, w.Body, c.code, c.want)
		}
	}
}
