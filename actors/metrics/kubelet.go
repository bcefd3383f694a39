package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wazlet/wazlet/actors"
)

// kubelet are the kubelet's counters about Pods and what went wrong before anything of them ran.
type kubelet struct {
	podsStarted, podErrors prometheus.Counter
	containerErrors        *prometheus.CounterVec
	rejections             *prometheus.CounterVec
	pulls                  *prometheus.HistogramVec
}

func newKubelet() kubelet {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return kubelet{
		podsStarted: counter("kubelet_started_pods_total", "Pods whose volumes and address were there, so that containers could start."),
		podErrors:   counter("kubelet_started_pods_errors_total", "Pods for which there was no address."),
		containerErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_started_containers_errors_total", Help: "Attempts of containers that ended before the guest ran.",
		}, []string{"container_type", "code"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_admission_rejections_total", Help: "Pods that the node refused.",
		}, []string{"reason"}),
		pulls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_image_pull_duration_seconds", Help: "Duration of pulls of images that succeeded, waiting included.",
			// Those of the kubelet, and finer ones where modules are.
			Buckets: []float64{0.1, 0.25, 0.5, 1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600},
		}, []string{"image_size_in_bytes"}),
	}
}

func (k *kubelet) collectors() []prometheus.Collector {
	return []prometheus.Collector{k.podsStarted, k.podErrors, k.containerErrors, k.rejections, k.pulls}
}

// The states of a pod actor that say something here, and why it leaves the last one when all is there.
const (
	podAdmitting = "Admitting"
	podRejected  = "Rejected"
	podPreparing = "Preparing"
	podPrepared  = "prepared"
)

// transition counts Pods that are refused or get as far as their containers. A Pod that is recovered goes through Preparing
// again; see fresh.
func (m *Metrics) transition(e actors.Transition) {
	if e.Kind != actors.KindPod {
		return
	}
	switch {
	case e.From == podAdmitting && e.To == podRejected:
		m.rejected(e.Why)
	case e.From == podAdmitting && e.To == podPreparing:
		m.mu.Lock()
		m.fresh[e.Pod.UID] = true
		m.mu.Unlock()
	case e.From == podPreparing:
		m.mu.Lock()
		fresh := m.fresh[e.Pod.UID]
		delete(m.fresh, e.Pod.UID)
		m.mu.Unlock()
		if fresh && e.Why == podPrepared {
			m.kubelet.podsStarted.Inc()
		}
	case e.To == podEnded:
		m.forget(e.Pod.UID)
	}
}

// rejected counts a refused Pod under the reasons that the kubelet counts; what else a reason may be is up to whoever
// names resources.
func (m *Metrics) rejected(reason string) {
	known := []string{
		"AppArmor", "PodOSSelectorNodeLabelDoesNotMatch", "PodOSNotSupported", "InvalidNodeInfo", "InitContainerRestartPolicyForbidden",
		"SupplementalGroupsPolicyNotSupported", "UnexpectedAdmissionError", "UnknownReason", "UnexpectedPredicateFailureType",
		"OutOfcpu", "OutOfmemory", "OutOfephemeral-storage", "OutOfpods", "PodLevelResourcesNotSupported", "PodFeatureUnsupported",
		"TaintToleration", "Evicted", "SysctlForbidden", "TopologyAffinityError", string(actors.ReasonNodeShutdown), "VolumeAttachmentLimitExceeded",
		"NotForWasm",
	}
	switch {
	case slices.Contains(known, reason):
	case strings.HasPrefix(reason, "OutOf"):
		reason = "OutOfExtendedResources"
	default:
		reason = "Other"
	}
	m.kubelet.rejections.WithLabelValues(reason).Inc()
}

// podNotice counts what the node says of Pods as a whole.
func (m *Metrics) podNotice(n actors.Notice) {
	switch {
	case n.Reason == actors.ReasonFailedCreatePodSandBox:
		m.kubelet.podErrors.Inc()
	case n.Reason == actors.ReasonNodeShutdown: // refused by the node itself: there is no pod actor
		m.rejected(string(n.Reason))
	case n.Pull != (actors.Pull{}):
		m.kubelet.pulls.WithLabelValues(sizeBucket(n.Pull.Bytes)).Observe(n.Pull.Took.Seconds())
	}
}

// sizeBucket is the kubelet's word for the size of an image.
func sizeBucket(bytes int64) string {
	const mb, gb = 1 << 20, 1 << 30
	name := "N/A"
	for _, b := range []struct {
		above int64
		name  string
	}{
		{0, "0-10MB"},
		{10 * mb, "10MB-100MB"},
		{100 * mb, "100MB-500MB"},
		{500 * mb, "500MB-1GB"},
		{gb, "1GB-5GB"},
		{5 * gb, "5GB-10GB"},
		{10 * gb, "10GB-20GB"},
		{20 * gb, "20GB-30GB"},
		{30 * gb, "30GB-40GB"},
		{40 * gb, "40GB-60GB"},
		{60 * gb, "60GB-100GB"},
		{100 * gb, "GT100GB"},
	} {
		if bytes > b.above {
			name = b.name
		}
	}
	return name
}
