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
	"github.com/wazlet/wazlet/podactor"
)

// counted is what is counted beside the actors.
type counted struct {
	requests   *server.RequestMetrics
	starts     *startup.Tracker
	sights     *startup.Seen
	operations *operations
	synced     prometheus.Histogram
	collected  *prometheus.CounterVec
	renewals   *renewals // registered by a node that has a cluster
}

func newCounted() *counted {
	return &counted{
		requests: server.NewRequestMetrics(), starts: startup.New(), sights: startup.NewSeen(), operations: newOperations(),
		renewals: newRenewals(),
		synced: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kubelet_pod_status_sync_duration_seconds",
			Help: "[ALPHA] Duration in seconds to sync a pod status update. Measures time from detection of a change to pod status until the API " +
				"is successfully updated for that pod, even if multiple intevening changes to pod status occur.",
			// Those of the kubelet, and finer ones where we are.
			Buckets: []float64{0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 0.500, 1, 5, 10, 20, 30, 45, 60},
		}),
		collected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_image_garbage_collected_total",
			Help: "[ALPHA] Total number of images garbage collected by the kubelet, whether through disk usage or image age.",
		}, []string{"reason"}),
	}
}

// collectors are for the registry.
func (c *counted) collectors() []prometheus.Collector {
	return append(append(restmetrics.New(), c.operations.collectors()...), c.requests, c.starts, c.sights, c.synced, c.collected)
}

// watched notes a Pod that the watch showed.
func (c *counted) watched(p *corev1.Pod) {
	now := time.Now()
	c.starts.Observe(p, now)
	if !over(p.Status.Phase) {
		c.sights.See(p.UID, now)
	}
}

// static notes the Pods of manifests.
func (c *counted) static(pods []*corev1.Pod) {
	now := time.Now()
	for _, p := range pods {
		c.sights.See(p.UID, now)
	}
}

// status notes what the node says of a Pod.
func (c *counted) status(pod *corev1.Pod, s corev1.PodStatus) {
	if s.Phase == corev1.PodRunning {
		c.sights.Running(pod.UID, time.Now())
	}
}

// forget drops a Pod that is gone.
func (c *counted) forget(uid types.UID) {
	c.starts.Forget(uid)
	c.sights.Forget(uid)
	c.operations.forget(string(uid))
}

// observe finds in the event stream when somebody began to look after a Pod, and what is taken off its start.
func (c *counted) observe(e actors.Event) {
	c.operations.observe(e)
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
	case actors.Transition:
		if e.Kind == actors.KindPod && e.From == podactor.StageAdmitting.String() {
			c.sights.Begun(types.UID(e.Pod.UID), e.Time)
		}
	case actors.Failure, actors.DeadLetter:
	}
}

// containerOf is the name in spec.containers{name}; empty when the path is another.
func containerOf(path string) string {
	_, name, _ := strings.Cut(strings.TrimSuffix(path, "}"), "{")
	return name
}
