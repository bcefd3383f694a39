package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/kube/server"
)

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func pod(namespace, name string, statuses ...corev1.ContainerStatus) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	p.Status.ContainerStatuses = statuses
	for _, s := range statuses {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: s.Name})
	}
	return p
}

func listing(pods ...*corev1.Pod) func(context.Context) ([]*corev1.Pod, error) {
	return func(context.Context) ([]*corev1.Pod, error) { return pods, nil }
}

func TestPods(t *testing.T) {
	own := pod("shop", "cart")
	own.Kind, own.APIVersion = "Pod", "v1" // as decoded from a manifest
	h := server.New(server.Handlers{Pods: listing(own, pod("batch", "job"))})
	w := get(h, "/pods")
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != "application/json" {
		t.Fatalf("%d %s", w.Code, got)
	}
	const item = `{"metadata":{"name":%q,"namespace":%q},"spec":{"containers":null},"status":{}}`
	want := `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[` + fmt.Sprintf(item, "cart", "shop") + "," + fmt.Sprintf(item, "job", "batch") + "]}\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if own.Kind != "Pod" {
		t.Error("the caller's Pod was changed")
	}
}

func TestPodsOfAnEmptyNode(t *testing.T) {
	w := get(server.New(server.Handlers{Pods: listing()}), "/pods")
	if want := `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}` + "\n"; w.Body.String() != want {
		t.Errorf("%s, want %s", w.Body, want)
	}
}

func TestPodsError(t *testing.T) {
	w := get(server.New(server.Handlers{Pods: func(context.Context) ([]*corev1.Pod, error) {
		return nil, errors.New("ask node: deadline exceeded")
	}}), "/pods")
	if w.Code != http.StatusInternalServerError || w.Body.String() != "ask node: deadline exceeded\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestRoutes(t *testing.T) {
	full := server.New(server.Handlers{
		Pods: listing(), Logs: func(context.Context, server.LogRequest, io.Writer) error { return nil },
		ConfigZ: func() any { return map[string]any{"kubeletconfig": map[string]any{"maxPods": 250}} },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "up 1") }),
	})
	for _, tc := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/configz", 200, `{"kubeletconfig":{"maxPods":250}}` + "\n"},
		{"GET", "/metrics", 200, "up 1"},
		{"GET", "/healthz", 200, "ok"},
		{"HEAD", "/pods", 200, ""},
		{"GET", "/", 404, "404 page not found\n"},
		{"GET", "/pods/x", 404, "404 page not found\n"},
		{"POST", "/pods", 405, "Method Not Allowed\n"},
		{"PUT", "/containerLogs/a/b/c", 405, "Method Not Allowed\n"},
		{"DELETE", "/configz", 405, "Method Not Allowed\n"},
	} {
		w := httptest.NewRecorder()
		full.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, nil))
		if w.Code != tc.code || (tc.method != "HEAD" && w.Body.String() != tc.body) {
			t.Errorf("%s %s: %d %q, want %d %q", tc.method, tc.path, w.Code, w.Body, tc.code, tc.body)
		}
	}
	bare := server.New(server.Handlers{})
	for _, path := range []string{"/pods", "/containerLogs/a/b/c", "/configz", "/metrics"} {
		if w := get(bare, path); w.Code != http.StatusNotFound {
			t.Errorf("%s without its function: %d", path, w.Code)
		}
	}
}

func TestConfigThatCannotBeEncoded(t *testing.T) {
	w := get(server.New(server.Handlers{ConfigZ: func() any { return func() {} }}), "/configz")
	if w.Code != http.StatusInternalServerError {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestHealth(t *testing.T) {
	ill := errors.New("pods/1 handles podactor.Apply for 34s")
	for _, tc := range []struct {
		name, path     string
		healthy, ready error
		code           int
		body           string
	}{
		{"well", "/healthz", nil, nil, 200, "ok"},
		{"well, with a slash", "/healthz/", nil, nil, 200, "ok"},
		{"well, verbose", "/healthz?verbose", nil, nil, 200, "[+]ping ok\n[+]syncloop ok\nhealthz check passed\n"},
		{"ill", "/healthz", ill, nil, 500, "[+]ping ok\n[-]syncloop failed: pods/1 handles podactor.Apply for 34s\nhealthz check failed\n"},
		{"ill, but only ping is asked", "/healthz/ping", ill, nil, 200, "ok"},
		{"ill, and that is asked", "/healthz/syncloop", ill, nil, 500, "[-]syncloop failed: pods/1 handles podactor.Apply for 34s\nhealthz check failed\n"},
		{"ill, and that is excluded", "/healthz?exclude=syncloop&verbose", ill, nil, 200, "[+]ping ok\n[+]syncloop excluded: ok\nhealthz check passed\n"},
		{"an exclusion of nothing", "/healthz?exclude=etcd&verbose", nil, nil, 200, "[+]ping ok\n[+]syncloop ok\nwarn: some health checks cannot be excluded: no matches for \"etcd\"\nhealthz check passed\n"},
		{"a check that is not there", "/healthz/etcd", nil, nil, 404, "no check \"etcd\", there are: ping, syncloop\n"},
		{"ready", "/readyz", ill, nil, 200, "ok"},
		{"not ready", "/readyz", nil, errors.New("recovering 3 Pods"), 500, "[+]ping ok\n[-]ready failed: recovering 3 Pods\nreadyz check failed\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := server.New(server.Handlers{Healthy: func() error { return tc.healthy }, Ready: func() error { return tc.ready }})
			w := get(h, tc.path)
			if w.Code != tc.code || w.Body.String() != tc.body {
				t.Errorf("got  %d %q\nwant %d %q", w.Code, w.Body, tc.code, tc.body)
			}
		})
	}
}

func TestMiddlewareIsAroundEverything(t *testing.T) {
	var order []string
	named := func(name string) server.Middleware {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				order = append(order, name)
				if r.Header.Get("Authorization") == "" {
					http.Error(w, "Unauthorized", http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	h := server.New(server.Handlers{Pods: listing()}, named("outer"), named("inner"))
	for _, path := range []string{"/pods", "/healthz", "/nowhere"} {
		if w := get(h, path); w.Code != http.StatusUnauthorized {
			t.Errorf("%s passed with %d", path, w.Code)
		}
	}
	order = nil
	r := httptest.NewRequest(http.MethodGet, "/pods", nil)
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if diff := cmp.Diff([]string{"outer", "inner"}, order); diff != "" || w.Code != http.StatusOK {
		t.Errorf("%d, order (-want +got):\n%s", w.Code, diff)
	}
}

// TestPodsDecode makes sure that a client of the API machinery reads what is served.
func TestPodsDecode(t *testing.T) {
	in := pod("shop", "cart", corev1.ContainerStatus{Name: "app", RestartCount: 3, Ready: true})
	w := get(server.New(server.Handlers{Pods: listing(in)}), "/pods")
	var out corev1.PodList
	decoder := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]corev1.Pod{*in}, out.Items); diff != "" || strings.Count(w.Body.String(), "\n") != 1 {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What was asked for counts, as a whole; a check that was left out, or asked for by itself, does not.
func TestIndicators(t *testing.T) {
	var problem error
	h := server.New(server.Handlers{Healthy: func() error { return problem }})
	get(h, "/healthz")
	get(h, "/healthz?exclude=ping")
	get(h, "/healthz/ping")
	get(h, "/readyz")
	problem = errors.New("stuck")
	get(h, "/healthz")
	want := `kubernetes_healthcheck{name="ping",type="healthz"} 1
kubernetes_healthcheck{name="ping",type="readyz"} 1
kubernetes_healthcheck{name="syncloop",type="healthz"} 0
kubernetes_healthchecks_total{name="ping",status="success",type="healthz"} 2
kubernetes_healthchecks_total{name="ping",status="success",type="readyz"} 1
kubernetes_healthchecks_total{name="syncloop",status="error",type="healthz"} 1
kubernetes_healthchecks_total{name="syncloop",status="success",type="healthz"} 2
`
	var got strings.Builder
	for line := range strings.Lines(get(h, "/metrics/slis").Body.String()) {
		if !strings.HasPrefix(line, "#") {
			got.WriteString(line)
		}
	}
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
