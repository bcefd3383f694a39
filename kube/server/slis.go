package server

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// indicators are the results of the health checks that somebody asked for, under the names that every component of Kubernetes
// has. They are an http.Handler.
type indicators struct {
	http.Handler
	last  *prometheus.GaugeVec
	total *prometheus.CounterVec
}

func newIndicators() *indicators {
	s := &indicators{
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubernetes_healthcheck", Help: "[STABLE] This metric records the result of a single healthcheck.",
		}, []string{"name", "type"}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubernetes_healthchecks_total", Help: "[STABLE] This metric records the results of all healthcheck.",
		}, []string{"name", "type", "status"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.last, s.total) // two fixed names cannot collide
	s.Handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return s
}

// observe notes the result of a check of a kind: healthz or readyz.
func (s *indicators) observe(check, kind string, err error) {
	result, status := 1.0, "success"
	if err != nil {
		result, status = 0, "error"
	}
	s.last.WithLabelValues(check, kind).Set(result)
	s.total.WithLabelValues(check, kind, status).Inc()
}
