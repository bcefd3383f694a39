package daemon

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// renewals are what is known of the certificates of a cluster's node.
type renewals struct {
	client, serving prometheus.Counter // failures
	ages            prometheus.Histogram
}

func newRenewals() *renewals {
	failures := func(name string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "[ALPHA] Counter of certificate renewal errors."})
	}
	const day = 24 * 60 * 60
	return &renewals{
		client: failures("kubelet_certificate_manager_client_expiration_renew_errors"), serving: failures("kubelet_server_expiration_renew_errors"),
		ages: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kubelet_certificate_manager_server_rotation_seconds",
			Help:    "[ALPHA] Histogram of the number of seconds the previous certificate lived before being rotated.",
			Buckets: []float64{60, 60 * 60, 4 * 60 * 60, day, 7 * day, 30 * day, 90 * day, 180 * day, 360 * day, 4 * 360 * day},
		}),
	}
}

// collectors are for the registry. The functions tell until when the certificates in use are good, zero when there is none.
func (r *renewals) collectors(client, serving func() time.Time) []prometheus.Collector {
	left := func(name, help string, expires func() time.Time) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: "[ALPHA] Gauge of the " + help}, func() float64 {
			if at := expires(); !at.IsZero() {
				return math.Trunc(time.Until(at).Seconds())
			}
			return math.Inf(1)
		})
	}
	return []prometheus.Collector{
		r.client, r.serving, r.ages,
		left("kubelet_certificate_manager_client_ttl_seconds", "TTL (time-to-live) of the Kubelet's client certificate. The value is in seconds until "+
			"certificate expiry (negative if already expired). If client certificate is invalid or unused, the value will be +INF.", client),
		left("kubelet_certificate_manager_server_ttl_seconds", "shortest TTL (time-to-live) of the Kubelet's serving certificate. The value is in "+
			"seconds until certificate expiry (negative if already expired). If serving certificate is invalid or unused, the value will be +INF.", serving),
	}
}

// certificates makes the metrics of a node that has a cluster, which joins it later.
func (d *daemon) certificates() []prometheus.Collector {
	if d.Config.Kubeconfig == "" {
		return nil
	}
	return d.counted.renewals.collectors(
		func() time.Time {
			if d.cluster == nil {
				return time.Time{}
			}
			return d.cluster.client.Expires()
		},
		func() time.Time {
			if d.cluster == nil {
				return time.Time{}
			}
			return d.cluster.serving.Expires()
		})
}
