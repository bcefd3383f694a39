// Package restmetrics counts what client-go asks of the API server, under the names that every Kubernetes component has.
package restmetrics

import (
	"context"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/metrics"
)

// New returns the metrics, which from then on count the requests of the whole process: client-go keeps them in global
// variables, which can be set once. What a second call returns stays zero.
func New() []prometheus.Collector {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rest_client_requests_total", Help: "[ALPHA] Number of HTTP requests, partitioned by status code, method, and host.",
	}, []string{"code", "method", "host"})
	retries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rest_client_request_retries_total", Help: "[ALPHA] Number of request retries, partitioned by status code, verb, and host.",
	}, []string{"code", "verb", "host"})
	took := histogram("rest_client_request_duration_seconds", "[ALPHA] Request latency in seconds. Broken down by verb, and host.")
	waited := histogram("rest_client_rate_limiter_duration_seconds",
		"[ALPHA] Client side rate limiter latency in seconds. Broken down by verb, and host.")
	metrics.Register(metrics.RegisterOpts{
		RequestResult: counter{requests}, RequestRetry: counter{retries}, RequestLatency: latency{took}, RateLimiterLatency: latency{waited},
	})
	return []prometheus.Collector{requests, retries, took, waited}
}

func histogram(name, help string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60},
	}, []string{"verb", "host"})
}

// counter is a metrics.ResultMetric and a metrics.RetryMetric.
type counter struct{ *prometheus.CounterVec }

func (c counter) Increment(_ context.Context, code, method, host string) {
	c.WithLabelValues(code, method, host).Inc()
}

func (c counter) IncrementRetry(_ context.Context, code, method, host string) {
	c.WithLabelValues(code, method, host).Inc()
}

// latency is a metrics.LatencyMetric.
type latency struct{ *prometheus.HistogramVec }

func (l latency) Observe(_ context.Context, verb string, u url.URL, d time.Duration) {
	l.WithLabelValues(verb, u.Host).Observe(d.Seconds())
}
