package metrics

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/actors"
)

// Config is where the gauges come from. Each function is called at each scrape, so that it may be a closure over what is
// made later; one that is nil has no metrics.
type Config struct {
	// Actors is Registry.Snapshot.
	Actors func() []actors.Info
	// Counters is System.Counters.
	Counters func() actors.Counters
	// Pods lists the node's Pods with their current status.
	Pods func(ctx context.Context) ([]*corev1.Pod, error)
	// Clock tells which restarts are still ahead; nil: the real one.
	Clock clock.PassiveClock
	// Node is the value of kubelet_node_name's label.
	Node string
	// Others are metrics that other packages make.
	Others []prometheus.Collector
}

// Metrics is an actors.Observer and an http.Handler.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	started     *prometheus.CounterVec
	terminated  *prometheus.CounterVec
	restarts    *prometheus.CounterVec
	backoff     prometheus.Histogram
	transitions *prometheus.CounterVec
	crashes     *prometheus.CounterVec
	letters     *prometheus.CounterVec
	notices     *prometheus.CounterVec

	kubelet kubelet

	mu      sync.Mutex
	types   map[string]map[string]string // Pod UID, container: container_type
	fresh   map[string]bool              // UIDs of Pods that were admitted and never got as far as their containers
	working map[string]work              // by Pod UID
}

// New returns metrics that are all zero.
func New(c Config) (*Metrics, error) {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(), types: map[string]map[string]string{}, fresh: map[string]bool{}, working: map[string]work{},
		kubelet: newKubelet(),
	}
	m.counters()
	all := []prometheus.Collector{
		m.started, m.terminated, m.restarts, m.backoff, m.transitions, m.crashes, m.letters, m.notices,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newScrape(c),
	}
	if c.Node != "" {
		name := prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubelet_node_name", Help: "[ALPHA] The node's name. The count is always 1.",
		}, []string{"node"})
		name.WithLabelValues(c.Node).Set(1)
		all = append(all, name)
	}
	var errs []error
	all = append(all, m.kubelet.collectors()...)
	for _, collector := range append(all, c.Others...) {
		errs = append(errs, m.registry.Register(collector))
	}
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
	return m, errors.Join(errs...)
}

func (m *Metrics) counters() {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m.started = vec("kubelet_started_containers_total", "[ALPHA] Cumulative number of containers started", "container_type")
	m.terminated = vec("kubelet_terminated_containers_total", "[ALPHA] Cumulative number of container terminations.", "container_type", "exit_code", "reason")
	m.restarts = vec("wazlet_container_restarts_total", "Restarts that a supervisor decided after a container had run.", "reason")
	m.backoff = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "wazlet_backoff_seconds", Help: "Delays of restarts and of retried pulls as decided; 0 is at once.",
		Buckets: []float64{0, 1, 10, 20, 40, 80, 160, 300},
	})
	m.transitions = vec("wazlet_actor_transitions_total", "Changes of state.", "kind", "to")
	m.crashes = vec("wazlet_actor_crashes_total", "Panics of actors: bugs of wazlet.", "kind")
	m.letters = vec("wazlet_dead_letters_total", "Messages that found no actor, by type.", "message")
	m.notices = vec("wazlet_pod_events_total", "Events about Pods.", "type", "reason")
}

// ServeHTTP serves the text and OpenMetrics formats.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// Gatherer gives the metrics to another exporter.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Observe counts one event. It never blocks; safe from any goroutine.
func (m *Metrics) Observe(e actors.Event) {
	switch e := e.(type) {
	case actors.Transition:
		m.transitions.WithLabelValues(e.Kind.String(), e.To).Inc()
		m.transition(e)
	case actors.Decision:
		m.decision(e)
	case actors.Failure:
		m.crashes.WithLabelValues(e.Kind.String()).Inc()
	case actors.DeadLetter:
		m.letters.WithLabelValues(e.Message).Inc()
	case actors.Notice:
		m.notice(e)
	}
}

func (m *Metrics) decision(d actors.Decision) {
	if d.Directive == actors.DirectiveRestart {
		m.backoff.Observe(d.Delay.Seconds())
	}
	if d.Container == "" {
		return
	}
	m.done(d.Pod.UID, workCreate, d.Time)
	if neverRan(d.Reason) {
		m.kubelet.containerErrors.WithLabelValues(m.containerType(d.Pod.UID, d.Container), string(d.Reason)).Inc()
		return
	}
	m.terminated.WithLabelValues(m.containerType(d.Pod.UID, d.Container), strconv.Itoa(int(d.Code)), string(d.Reason)).Inc()
	if d.Directive == actors.DirectiveRestart {
		m.restarts.WithLabelValues(string(d.Reason)).Inc()
	}
}

// neverRan tells the reasons of attempts that failed before the guest ran from those of endings. A decision does not say
// it otherwise.
func neverRan(r actors.Reason) bool {
	switch r {
	case actors.ReasonCompleted, actors.ReasonError, actors.ReasonOOMKilled, actors.ReasonStartError,
		actors.ReasonContainerStatusUnknown, actors.ReasonCrash:
		return false
	default:
		return true
	}
}

func (m *Metrics) notice(n actors.Notice) {
	kind := "Normal"
	if n.Warning {
		kind = "Warning"
	}
	m.notices.WithLabelValues(kind, string(n.Reason)).Inc()
	m.podNotice(n)
	if n.Reason != actors.ReasonStarted {
		return
	}
	m.done(n.Pod.UID, workCreate, n.Time)
	if kind, name := parseFieldPath(n.FieldPath); name != "" {
		m.started.WithLabelValues(kind).Inc()
		m.remember(n.Pod.UID, name, kind)
	}
}

// parseFieldPath takes spec.initContainers{name} apart into the kubelet's container_type and the name.
func parseFieldPath(path string) (containerType, name string) {
	list, name, ok := strings.Cut(strings.TrimSuffix(path, "}"), "{")
	if !ok {
		return "", ""
	}
	switch list {
	case "spec.initContainers":
		return "init_container", name
	case "spec.ephemeralContainers":
		return "ephemeral_container", name
	default:
		return ordinary, name
	}
}

const ordinary = "container"

// remember keeps what kind of container this is for when it ends, ordinary ones excepted.
func (m *Metrics) remember(uid, container, kind string) {
	if kind == ordinary {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.types[uid] == nil {
		m.types[uid] = map[string]string{}
	}
	m.types[uid][container] = kind
}

func (m *Metrics) forget(uid string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.types, uid)
	delete(m.fresh, uid)
	delete(m.working, uid)
}

func (m *Metrics) containerType(uid, container string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if kind, ok := m.types[uid][container]; ok {
		return kind
	}
	return ordinary
}
