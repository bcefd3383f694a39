package startup

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// Seen measures what becomes of Pods, and when, from the moment in which the node first saw them: wherever they come from,
// and however long they existed before. Its methods may be called from any goroutine. It is a prometheus.Collector.
type Seen struct {
	worker, running prometheus.Histogram

	mu   sync.Mutex
	pods map[types.UID]sight
}

// sight is when a Pod was seen, and what has come of it.
type sight struct {
	at            time.Time
	begun, counts bool
}

// NewSeen returns a Seen that knows no Pod.
func NewSeen() *Seen {
	return &Seen{
		pods: map[types.UID]sight{},
		worker: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kubelet_pod_worker_start_duration_seconds",
			Help: "[ALPHA] Duration in seconds from kubelet seeing a pod to starting a worker.",
		}),
		running: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kubelet_pod_start_duration_seconds", Buckets: buckets(),
			Help: "[ALPHA] Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
		}),
	}
}

// Describe implements prometheus.Collector.
func (s *Seen) Describe(ch chan<- *prometheus.Desc) {
	s.worker.Describe(ch)
	s.running.Describe(ch)
}

// Collect implements prometheus.Collector.
func (s *Seen) Collect(ch chan<- prometheus.Metric) {
	s.worker.Collect(ch)
	s.running.Collect(ch)
}

// See notes a Pod; only the first time counts.
func (s *Seen) See(uid types.UID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.pods[uid]; !known {
		s.pods[uid] = sight{at: at}
	}
}

// Begun notes that somebody has begun to look after a Pod. One that began under another daemon never comes here, and does
// not count.
func (s *Seen) Begun(uid types.UID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, known := s.pods[uid]; known && !p.begun {
		p.begun, p.counts = true, true
		s.pods[uid] = p
		s.worker.Observe(max(0, at.Sub(p.at)).Seconds())
	}
}

// Running notes that a Pod runs; only the first time counts.
func (s *Seen) Running(uid types.UID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pods[uid]; p.counts {
		p.counts = false
		s.pods[uid] = p
		s.running.Observe(max(0, at.Sub(p.at)).Seconds())
	}
}

// Forget drops a Pod that is gone.
func (s *Seen) Forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pods, uid)
}
