package daemon

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/kube/restmetrics"
	"github.com/wazlet/wazlet/kube/server"
	"github.com/wazlet/wazlet/kube/startup"
)

// counted is what of a cluster's node is counted beside the actors.
type counted struct {
	requests *server.RequestMetrics
	starts   *startup.Tracker
	synced   prometheus.Histogram
}

func newCounted() *counted {
	return &counted{
		requests: server.NewRequestMetrics(), starts: startup.New(),
		synced: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kubelet_pod_status_sync_duration_seconds",
			Help: "[ALPHA] Duration in seconds from the detection of a change of a Pod's status until the API server has it.",
			// Those of the kubelet, and finer ones where we are.
			Buckets: []float64{0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 0.500, 1, 5, 10, 20, 30, 45, 60},
		}),
	}
}

// collectors are for the registry.
func (c *counted) collectors() []prometheus.Collector {
	return append(restmetrics.New(), c.requests, c.starts, c.synced)
}

// seen notes a Pod that the watch showed.
func (c *counted) seen(p *corev1.Pod) { c.starts.Observe(p, time.Now()) }

// observe finds in the event stream what is taken off the start of a Pod.
func (c *counted) observe(e actors.Event) {
	switch e := e.(type) {
	case actors.Notice:
		uid, container := types.UID(e.Pod.UID), containerOf(e.FieldPath)
		switch {
		case container == "":
		case e.Reason == actors.ReasonPulling:
			c.starts.Began(uid, startup.Pull, container, e.Time)
		case e.Reason == actors.ReasonPulled, e.Reason == actors.ReasonFailed:
			c.starts.Ended(uid, startup.Pull, container, e.Time)
		case e.Reason == actors.ReasonStarted && strings.HasPrefix(e.FieldPath, "spec.initContainers{"):
			c.starts.Began(uid, startup.Init, container, e.Time)
		}
	case actors.Decision:
		c.starts.Ended(types.UID(e.Pod.UID), startup.Init, e.Container, e.Time)
	case actors.Transition, actors.Failure, actors.DeadLetter:
	}
}

// containerOf is the name in spec.containers{name}; empty when the path is another.
func containerOf(path string) string {
	_, name, _ := strings.Cut(strings.TrimSuffix(path, "}"), "{")
	return name
}
