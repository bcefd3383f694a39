package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// RequestMetrics count requests under the kubelet's names; it is a Handlers.Requests and a prometheus.Collector.
type RequestMetrics struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
}

// NewRequestMetrics returns metrics without any request.
func NewRequestMetrics() *RequestMetrics {
	labels := []string{"method", "path", "server_type", "long_running"}
	return &RequestMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_http_requests_total", Help: "[ALPHA] Number of the http requests received since the server started",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_http_requests_duration_seconds", Help: "[ALPHA] Duration in seconds to serve http requests",
		}, labels),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubelet_http_inflight_requests", Help: "[ALPHA] Number of the inflight http requests",
		}, labels),
	}
}

// Describe implements prometheus.Collector.
func (m *RequestMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.total.Describe(ch)
	m.duration.Describe(ch)
	m.inFlight.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *RequestMetrics) Collect(ch chan<- prometheus.Metric) {
	m.total.Collect(ch)
	m.duration.Collect(ch)
	m.inFlight.Collect(ch)
}

// wrap counts what next serves, refused requests too.
func (m *RequestMetrics) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		labels := requestLabels(r)
		m.total.WithLabelValues(labels...).Inc()
		inFlight := m.inFlight.WithLabelValues(labels...)
		inFlight.Inc()
		defer inFlight.Dec()
		defer prometheus.NewTimer(m.duration.WithLabelValues(labels...)).ObserveDuration()
		next.ServeHTTP(w, r)
	})
}

const other = "other"

// requestLabels are method, path, server_type and long_running. Whoever sends nonsense must not make new series.
func requestLabels(r *http.Request) []string {
	method := r.Method
	if !slices.Contains([]string{
		http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPatch,
		http.MethodPost, http.MethodPut, http.MethodTrace,
	}, method) {
		method = other
	}
	path := rootOf(r.URL.Path)
	long := slices.Contains([]string{"exec", "attach", "portForward", "debug"}, path)
	return []string{method, path, "readwrite", strconv.FormatBool(long)}
}

// rootOf is the first part of a path that the server may know, or other.
func rootOf(path string) string {
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 3)
	if parts[0] == "metrics" && len(parts) > 1 {
		parts[0] += "/" + parts[1]
	}
	if slices.Contains(roots(), parts[0]) || slices.Contains([]string{"metrics/probes", "metrics/resource", "metrics/slis"}, parts[0]) {
		return parts[0]
	}
	return other
}

// roots are the first parts of all paths that a server may have.
func roots() []string {
	return []string{
		"attach", "checkpoint", "configz", "containerLogs", "debug", "exec", "flagz", "healthz", "logs", "metrics", "pods", "portForward",
		"readyz", "run", "runningpods", "stats", "statusz",
	}
}
