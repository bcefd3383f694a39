// Package startup measures how long Pods take to start, by the rule of Kubernetes' service level indicator: from the
// creation of a Pod to the first time that the API shows all its containers as started, without the time in which images
// were pulled and init containers ran. Pods with volumes that hold state, and those that the scheduler could not place at
// once, do not count.
//
//	watch ──────────────────────► Observe, Forget ─┐
//	pulls and init containers ──► Began, Ended ────┴─► kubelet_pod_start_{sli,total}_duration_seconds
package startup

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// An Activity is something that is not the node's fault.
type Activity uint8

// The activities. Pulls of one Pod may overlap; init containers run one after the other.
const (
	Pull Activity = iota + 1
	Init
)

// Tracker follows Pods from when they are first seen until they have started. Its methods may be called from any
// goroutine. It is a prometheus.Collector.
type Tracker struct {
	sli, total prometheus.Histogram

	mu   sync.Mutex
	pods map[types.UID]*start
}

// start is what is known of a Pod that is starting. Done says that it does not count, or was counted.
type start struct {
	done  bool
	begun map[key]time.Time
	spans map[Activity][]span
}

type key struct {
	what      Activity
	container string
}

type span struct{ from, to time.Time }

// New returns a Tracker that knows no Pod.
func New() *Tracker {
	histogram := func(name, what string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Buckets: buckets(), Help: "[ALPHA] Duration in seconds to start a pod" +
			what + " time to pull images and run init containers, measured from pod creation timestamp to when all its containers are " +
			"reported as started and observed via watch"})
	}
	return &Tracker{
		sli: histogram("kubelet_pod_start_sli_duration_seconds", ", excluding"), pods: map[types.UID]*start{},
		total: histogram("kubelet_pod_start_total_duration_seconds", " since creation, including"),
	}
}

// buckets are the kubelet's for everything that has to do with the start of a Pod.
func buckets() []float64 {
	return []float64{0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600}
}

// Describe implements prometheus.Collector.
func (t *Tracker) Describe(ch chan<- *prometheus.Desc) {
	t.sli.Describe(ch)
	t.total.Describe(ch)
}

// Collect implements prometheus.Collector.
func (t *Tracker) Collect(ch chan<- prometheus.Metric) {
	t.sli.Collect(ch)
	t.total.Collect(ch)
}

// Observe notes a Pod as a watch showed it. A Pod that had a start time when it was first seen began under another daemon
// and does not count.
func (t *Tracker) Observe(pod *corev1.Pod, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.pods[pod.UID]
	if s == nil {
		s = &start{begun: map[key]time.Time{}, spans: map[Activity][]span{}, done: !pod.Status.StartTime.IsZero()}
		t.pods[pod.UID] = s
	}
	if over(pod) || unscheduled(pod) {
		s.done = true
	}
	if s.done || !started(pod) {
		return
	}
	s.done = true
	took := at.Sub(pod.CreationTimestamp.Time)
	t.total.Observe(took.Seconds())
	if !stateful(pod) {
		t.sli.Observe(max(0, took-merged(s.spans[Pull])-merged(s.spans[Init])).Seconds())
	}
}

// Forget drops a Pod that is gone.
func (t *Tracker) Forget(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pods, uid)
}

// Began notes the beginning of an activity for a container.
func (t *Tracker) Began(uid types.UID, what Activity, container string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.pods[uid]; s != nil && !s.done {
		s.begun[key{what, container}] = at
	}
}

// Ended notes its end; one that had not begun is ignored.
func (t *Tracker) Ended(uid types.UID, what Activity, container string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.pods[uid]
	if s == nil || s.done {
		return
	}
	k := key{what, container}
	if from, ok := s.begun[k]; ok {
		delete(s.begun, k)
		s.spans[what] = append(s.spans[what], span{from, at})
	}
}

// merged is how long at least one of some spans lasted.
func merged(spans []span) time.Duration {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) })
	var sum time.Duration
	var end time.Time
	for _, s := range spans {
		if s.from.Before(end) {
			s.from = end
		}
		if s.to.After(s.from) {
			sum += s.to.Sub(s.from)
			end = s.to
		}
	}
	return sum
}

func over(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// started tells whether every container runs.
func started(pod *corev1.Pod) bool {
	return len(pod.Status.ContainerStatuses) == len(pod.Spec.Containers) &&
		!slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
			return c.State.Running == nil || c.State.Running.StartedAt.IsZero()
		})
}

func unscheduled(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse
	})
}

// stateful tells whether a Pod has a volume of a kind that outlives it.
func stateful(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Secret == nil && v.ConfigMap == nil && v.DownwardAPI == nil && v.EmptyDir == nil && v.Projected == nil
	})
}
