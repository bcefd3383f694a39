package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wazlet/wazlet/kube/server"
)

func TestRequestsAreCounted(t *testing.T) {
	m := server.NewRequestMetrics()
	inside := ""
	refuse := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz/ping" {
				inside = gathered(t, m, "kubelet_http_inflight_requests")
			}
			if r.Header.Get("Authorization") == "" {
				http.Error(w, "Unauthorized", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	h := server.New(server.Handlers{Requests: m}, refuse)
	for _, r := range [][2]string{
		{"GET", "/healthz/ping"},
		{"GET", "/metrics/resource"},
		{"GET", "/metrics/x/y"},
		{"POST", "/exec/ns/p/c"},
		{"POST", "/portForward/ns/p"},
		{"GET", "/../../etc"},
		{"BREW", "/pods"},
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(r[0], r[1], nil))
	}
	const want = `kubelet_http_requests_total{long_running="false",method="GET",path="healthz",server_type="readwrite"} 1
kubelet_http_requests_total{long_running="false",method="GET",path="metrics/resource",server_type="readwrite"} 1
kubelet_http_requests_total{long_running="false",method="GET",path="other",server_type="readwrite"} 2
kubelet_http_requests_total{long_running="false",method="other",path="pods",server_type="readwrite"} 1
kubelet_http_requests_total{long_running="true",method="POST",path="exec",server_type="readwrite"} 1
kubelet_http_requests_total{long_running="true",method="POST",path="portForward",server_type="readwrite"} 1
`
	if diff := cmp.Diff(want, gathered(t, m, "kubelet_http_requests_total{")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.Contains(inside, `path="healthz",server_type="readwrite"} 1`) {
		t.Errorf("while a request was served: %s", inside)
	}
	if n := strings.Count(gathered(t, m, "kubelet_http_requests_duration_seconds_count"), "\n"); n != 6 {
		t.Errorf("%d series of durations, want 6", n)
	}
}

// gathered returns the samples that begin with prefix, as lines.
func gathered(t *testing.T, m *server.RequestMetrics, prefix string) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(m); err != nil {
		t.Fatal(err)
	}
	w := get(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), "/metrics")
	var lines strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			lines.WriteString(line)
		}
	}
	return lines.String()
}
