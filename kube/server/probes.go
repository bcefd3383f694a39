package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Probe names one probe of one container.
type Probe struct {
	// Type is Liveness, Readiness or Startup.
	Type                              string
	Container, Pod, Namespace, PodUID string
}

// ProbeMetrics count results of probes under the kubelet's names; it is a Handlers.ProbeMetrics.
type ProbeMetrics struct {
	http.Handler
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewProbeMetrics returns metrics without any probe. started is when the process started.
func NewProbeMetrics(started time.Time) *ProbeMetrics {
	m := &ProbeMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prober_probe_total",
			Help: "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
		}, []string{"probe_type", "result", "container", "pod", "namespace", "pod_uid"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "prober_probe_duration_seconds",
			Help: "[ALPHA] Duration in seconds for a probe response.",
		}, []string{"probe_type", "container", "pod", "namespace"}),
	}
	start := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "process_start_time_seconds", Help: "[ALPHA] Start time of the process since unix epoch in seconds.",
	})
	start.Set(float64(started.UnixNano()) / float64(time.Second))
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.total, m.duration, start) // three fixed names cannot collide
	m.Handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return m
}

// Observe counts a result: successful, failed or unknown, as the kubelet calls them.
func (m *ProbeMetrics) Observe(p Probe, result string, took time.Duration) {
	m.total.WithLabelValues(p.Type, result, p.Container, p.Pod, p.Namespace, p.PodUID).Inc()
	m.duration.WithLabelValues(p.Type, p.Container, p.Pod, p.Namespace).Observe(took.Seconds())
}

// Forget drops what was counted for a container's probe, when the probe will not run again.
func (m *ProbeMetrics) Forget(p Probe) {
	m.total.DeletePartialMatch(prometheus.Labels{
		"probe_type": p.Type, "container": p.Container, "pod": p.Pod, "namespace": p.Namespace, "pod_uid": p.PodUID,
	})
	m.duration.DeleteLabelValues(p.Type, p.Container, p.Pod, p.Namespace)
}
