package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wazlet/wazlet/actors"
)

// kubelet are the kubelet's counters about Pods and what went wrong before anything of them ran.
type kubelet struct {
	podsStarted, podErrors prometheus.Counter
	containerErrors        *prometheus.CounterVec
	rejections             *prometheus.CounterVec
	pulls                  *prometheus.HistogramVec
	work                   *prometheus.HistogramVec
}

func newKubelet() kubelet {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return kubelet{
		podsStarted: counter("kubelet_started_pods_total", "[ALPHA] Cumulative number of pods started"),
		podErrors:   counter("kubelet_started_pods_errors_total", "[ALPHA] Cumulative number of errors when starting pods"),
		containerErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_started_containers_errors_total", Help: "[ALPHA] Cumulative number of errors when starting containers",
		}, []string{"container_type", "code"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_admission_rejections_total", Help: "[ALPHA] Cumulative number pod admission rejections by the Kubelet.",
		}, []string{"reason"}),
		pulls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_image_pull_duration_seconds", Help: "[ALPHA] Duration in seconds to pull an image.",
			// Those of the kubelet, and finer ones where modules are.
			Buckets: []float64{0.1, 0.25, 0.5, 1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600},
		}, []string{"image_size_in_bytes"}),
		work: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_pod_worker_duration_seconds",
			Help: "[ALPHA] Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync",
		}, []string{"operation_type"}),
	}
}

func (k *kubelet) collectors() []prometheus.Collector {
	return []prometheus.Collector{k.podsStarted, k.podErrors, k.containerErrors, k.rejections, k.pulls, k.work}
}

// The states of a pod actor that say something here, and why it leaves the last one when all is there.
const (
	podAdmitting = "Admitting"
	podRejected  = "Rejected"
	podPreparing = "Preparing"
	podPrepared  = "prepared"
	podEnding    = "Terminating"
	podFinished  = "Finished"
	podEnded     = "Ended"
)

// transition counts Pods that are refused or get as far as their containers. A Pod that is recovered goes through Preparing
// again; see fresh.
func (m *Metrics) transition(e actors.Transition) {
	if e.Kind != actors.KindPod {
		return
	}
	m.worked(e)
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

// The operations on a Pod that a kubelet's worker would do, and that have a beginning and an end here: from its admission to
// the first container that starts, or fails to, and from when it is to go to when nothing of it runs.
const (
	workCreate = "create"
	workKill   = "kill"
)

// work is an operation on a Pod that is under way.
type work struct {
	what string
	from time.Time
}

// worked measures the operations whose beginnings and ends are changes of state.
func (m *Metrics) worked(e actors.Transition) {
	switch {
	case e.From == podAdmitting && e.To == podPreparing:
		m.begin(e.Pod.UID, work{workCreate, e.Time})
	case e.To == podEnding && itself(e.Why):
		m.drop(e.Pod.UID) // it came to its end by itself: nothing was done to it
	case e.To == podEnding:
		m.begin(e.Pod.UID, work{workKill, e.Time})
	case e.To == podFinished, e.To == podEnded:
		m.done(e.Pod.UID, workKill, e.Time)
	}
}

// itself tells why a Pod ends whose containers have ended.
func itself(why string) bool { return why == "all containers succeeded" || why == "a container failed" }

func (m *Metrics) begin(uid string, w work) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.working[uid] = w
}

func (m *Metrics) drop(uid string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.working, uid)
}

// done measures an operation if it is the one that is under way.
func (m *Metrics) done(uid, what string, at time.Time) {
	m.mu.Lock()
	w := m.working[uid]
	if w.what == what {
		delete(m.working, uid)
	}
	m.mu.Unlock()
	if w.what == what {
		m.kubelet.work.WithLabelValues(what).Observe(max(0, at.Sub(w.from)).Seconds())
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
