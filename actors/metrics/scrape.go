package metrics

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// podsWithin bounds how long a scrape waits for the list of Pods.
const podsWithin = 5 * time.Second

// configSource is the annotation that says where a Pod came from; anything but "api" is a static Pod.
const configSource = "kubernetes.io/config.source"

// scrape reads gauges at the moment of the scrape.
type scrape struct {
	Config
	runningPods, runningContainers, desiredPods   *prometheus.Desc
	activePods, mirrorPods                        *prometheus.Desc
	actors, length, highWater, handled, inBackoff *prometheus.Desc
	guard                                         *prometheus.Desc

	mu    sync.Mutex
	seen  map[string]uint64       // handled messages by actor, as of the last scrape
	total map[actors.Kind]float64 // handled messages by kind, actors that are gone included
}

func newScrape(c Config) *scrape {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &scrape{
		Config:            c,
		runningPods:       desc("kubelet_running_pods", "[ALPHA] Number of pods that have a running pod sandbox"),
		runningContainers: desc("kubelet_running_containers", "[ALPHA] Number of containers currently running", "container_state"),
		desiredPods:       desc("kubelet_desired_pods", "[ALPHA] The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver.", "static"),
		activePods:        desc("kubelet_active_pods", "[ALPHA] The number of pods the kubelet considers active and which are being considered when admitting new pods. static is true if the pod is not from the apiserver.", "static"),
		mirrorPods:        desc("kubelet_mirror_pods", "[ALPHA] The number of mirror pods the kubelet will try to create (one per admitted static pod)"),
		actors:            desc("wazlet_actors", "Actors alive.", "kind"),
		length:            desc("wazlet_actor_mailbox_messages", "Messages that wait in mailboxes.", "kind"),
		highWater:         desc("wazlet_actor_mailbox_high_water", "Largest number of messages that ever waited in one mailbox of the actors alive.", "kind"),
		handled: desc("wazlet_actor_messages_handled_total",
			"Messages handled. What an actor handled between the last scrape and its end is missing.", "kind"),
		inBackoff: desc("wazlet_actors_in_backoff", "Actors that wait to be restarted.", "kind"),
		guard: desc("wazlet_actor_guard_total",
			"Hazards that the guard around actors caught. All are 0 in a correct daemon.", "hazard"),
		seen:  map[string]uint64{},
		total: map[actors.Kind]float64{},
	}
}

// Describe implements prometheus.Collector.
func (s *scrape) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		s.runningPods, s.runningContainers, s.desiredPods, s.activePods, s.mirrorPods, s.actors, s.length, s.highWater, s.handled, s.inBackoff, s.guard,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *scrape) Collect(ch chan<- prometheus.Metric) {
	if s.Actors != nil {
		s.collectActors(ch)
	}
	if s.Counters != nil {
		c := s.Counters()
		for hazard, n := range map[string]uint64{
			"swallowed_panic": c.Swallowed, "resurrected": c.Resurrected, "zombie": c.Zombies,
			"leaked_worker": c.LeakedWorkers, "unhandled_message": c.Unhandled,
		} {
			ch <- prometheus.MustNewConstMetric(s.guard, prometheus.CounterValue, float64(n), hazard)
		}
	}
	if s.Pods != nil {
		s.collectPods(ch)
	}
}

// sums are what the actors of one kind add up to.
type sums struct{ alive, length, highWater, inBackoff float64 }

func (s *scrape) collectActors(ch chan<- prometheus.Metric) {
	now := s.Clock.Now()
	byKind := map[actors.Kind]*sums{actors.KindNode: {}, actors.KindPod: {}, actors.KindModule: {}}
	list := s.Actors()
	for _, i := range list {
		k := byKind[i.Kind]
		if k == nil {
			continue
		}
		k.alive++
		k.length += float64(i.Mailbox.Length)
		k.highWater = max(k.highWater, float64(i.Mailbox.HighWater))
		if i.NextRestart != nil && i.NextRestart.After(now) {
			k.inBackoff++
		}
	}
	handled := s.countHandled(list)
	for kind, k := range byKind {
		name := kind.String()
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
		gauge(s.actors, k.alive)
		gauge(s.length, k.length)
		gauge(s.highWater, k.highWater)
		gauge(s.inBackoff, k.inBackoff)
		ch <- prometheus.MustNewConstMetric(s.handled, prometheus.CounterValue, handled[kind], name)
	}
}

// countHandled makes counters that never fall of numbers that vanish with their actors.
func (s *scrape) countHandled(list []actors.Info) map[actors.Kind]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[string]uint64, len(list))
	for _, i := range list {
		before := s.seen[i.ID]
		if i.Handled < before { // another actor under the same name
			before = 0
		}
		s.total[i.Kind] += float64(i.Handled - before)
		seen[i.ID] = i.Handled
	}
	s.seen = seen
	return maps.Clone(s.total)
}

func (s *scrape) collectPods(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), podsWithin)
	defer cancel()
	pods, err := s.Pods(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(s.runningPods, err)
		return
	}
	running, states := 0, map[string]int{"running": 0, "exited": 0}
	desired, active := map[string]int{"true": 0, "": 0}, map[string]int{"true": 0, "": 0}
	for _, p := range pods {
		if countStates(p, states) > 0 {
			running++
		}
		static := ""
		if source := p.Annotations[configSource]; source != "" && source != "api" {
			static = "true"
		}
		desired[static]++
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			active[static]++
		}
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(s.runningPods, running)
	for state, n := range states {
		gauge(s.runningContainers, n, state)
	}
	for static, n := range desired {
		gauge(s.desiredPods, n, static)
		gauge(s.activePods, active[static], static)
	}
	gauge(s.mirrorPods, active["true"])
}

// countStates adds the Pod's containers to states and returns how many of them run. Containers that wait do not exist in
// a runtime, so the kubelet does not count them either.
func countStates(p *corev1.Pod, states map[string]int) (running int) {
	for _, list := range [][]corev1.ContainerStatus{
		p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses,
	} {
		for _, c := range list {
			switch {
			case c.State.Running != nil:
				running++
				states["running"]++
			case c.State.Terminated != nil:
				states["exited"]++
			}
		}
	}
	return running
}
