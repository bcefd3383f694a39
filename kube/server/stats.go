package server

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// measured registers what tells of the use of resources.
func (h Handlers) measured(mux *http.ServeMux) {
	if h.Stats != nil {
		mux.HandleFunc("GET /stats/summary", h.serveSummary)
		mux.HandleFunc("POST /stats/summary", h.serveSummary)
		mux.HandleFunc("GET /metrics/resource", h.serveResourceMetrics)
	}
	if h.ProbeMetrics != nil {
		mux.Handle("GET /metrics/probes", h.ProbeMetrics)
	}
}

func (h Handlers) serveSummary(w http.ResponseWriter, r *http.Request) {
	// Not FormValue, which keeps the files of a multipart body on disk.
	if err := r.ParseForm(); err != nil {
		http.Error(w, fmt.Sprintf("parse form failed: %v", err), http.StatusBadRequest)
		return
	}
	only := r.Form.Get("only_cpu_and_memory") == "true"
	summary, err := h.Stats(r.Context(), only)
	if err != nil {
		http.Error(w, fmt.Sprintf("Internal Error: %v", err), http.StatusInternalServerError)
		return
	}
	answer := *summary
	if answer.Pods == nil {
		answer.Pods = []stats.PodStats{} // Go clients take null for none, others do not
	}
	writeJSON(w, http.StatusOK, answer)
}

// serveResourceMetrics is what metrics-server reads. A node that cannot be measured says so in resource_scrape_error.
func (h Handlers) serveResourceMetrics(w http.ResponseWriter, r *http.Request) {
	summary, err := h.Stats(r.Context(), true)
	if err != nil && h.Logger != nil {
		h.Logger.Error("measure the node for /metrics/resource", zap.Error(err))
	}
	if err != nil || summary == nil {
		summary = nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(resources{summary}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
}

// resources collects the metrics of one summary; nil is a summary that could not be had.
type resources struct{ *stats.Summary }

// Describe says nothing in advance: what there is depends on the Pods.
func (resources) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. Names, texts and types are those of the kubelet's resource metrics, which
// are a stable API.
func (s resources) Collect(ch chan<- prometheus.Metric) {
	failed := 1.0
	if s.Summary != nil {
		failed = 0
		node := series{ch: ch, prefix: "node", of: "node"}
		node.cpu(s.Node.CPU)
		node.memory(s.Node.Memory)
		node.swap(s.Node.Swap)
		for i := range s.Pods {
			s.pod(ch, &s.Pods[i])
		}
	}
	series{ch: ch}.send("resource_scrape_error", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
		prometheus.GaugeValue, failed, time.Time{})
}

func (s resources) pod(ch chan<- prometheus.Metric, p *stats.PodStats) {
	for i := range p.Containers {
		c := &p.Containers[i]
		container := series{
			ch: ch, prefix: "container", of: "container",
			labels: []string{"container", "pod", "namespace"}, values: []string{c.Name, p.PodRef.Name, p.PodRef.Namespace},
		}
		if c.StartTime.Unix() > 0 {
			container.send("container_start_time_seconds", "[STABLE] Start time of the container since unix epoch in seconds",
				prometheus.GaugeValue, float64(c.StartTime.UnixNano())/float64(time.Second), time.Time{})
		}
		container.cpu(c.CPU)
		container.memory(c.Memory)
		container.swap(c.Swap)
		container.swapLimit(c.Swap)
	}
	pod := series{
		ch: ch, prefix: "pod", of: "pod", labels: []string{"pod", "namespace"}, values: []string{p.PodRef.Name, p.PodRef.Namespace},
	}
	pod.cpu(p.CPU)
	pod.memory(p.Memory)
	pod.swap(p.Swap)
}

// A series sends the metrics of a node, a Pod or a container.
type series struct {
	ch             chan<- prometheus.Metric
	prefix, of     string
	labels, values []string
}

func (s series) cpu(c *stats.CPUStats) {
	if c != nil && c.UsageCoreNanoSeconds != nil {
		s.send(s.prefix+"_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the "+s.of+" in core-seconds",
			prometheus.CounterValue, float64(*c.UsageCoreNanoSeconds)/float64(time.Second), c.Time.Time)
	}
}

func (s series) memory(m *stats.MemoryStats) {
	if m != nil && m.WorkingSetBytes != nil {
		s.send(s.prefix+"_memory_working_set_bytes", "[STABLE] Current working set of the "+s.of+" in bytes",
			prometheus.GaugeValue, float64(*m.WorkingSetBytes), m.Time.Time)
	}
}

func (s series) swap(w *stats.SwapStats) {
	if w == nil || w.SwapUsageBytes == nil {
		return
	}
	help := "[ALPHA] Current swap usage of the " + s.of + " in bytes. Reported only on non-windows systems"
	if s.prefix != "node" {
		help = "[ALPHA] Current amount of the " + s.of + " swap usage in bytes. Reported only on non-windows systems"
	}
	s.send(s.prefix+"_swap_usage_bytes", help, prometheus.GaugeValue, float64(*w.SwapUsageBytes), w.Time.Time)
}

func (s series) swapLimit(w *stats.SwapStats) {
	if w == nil || w.SwapAvailableBytes == nil {
		return
	}
	limit := float64(*w.SwapAvailableBytes)
	if w.SwapUsageBytes != nil {
		limit += float64(*w.SwapUsageBytes)
	}
	s.send(s.prefix+"_swap_limit_bytes", "[ALPHA] Current amount of the "+s.of+" swap limit in bytes. Reported only on non-windows systems",
		prometheus.GaugeValue, limit, w.Time.Time)
}

// send gives a metric the time at which it was measured, if it has one.
func (s series) send(name, help string, kind prometheus.ValueType, value float64, at time.Time) {
	desc := prometheus.NewDesc(name, help, s.labels, nil)
	m, err := prometheus.NewConstMetric(desc, kind, value, s.values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(desc, err)
	} else if !at.IsZero() {
		m = prometheus.NewMetricWithTimestamp(at, m)
	}
	s.ch <- m
}
