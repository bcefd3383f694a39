package daemon

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/kube/source"
	"github.com/wazlet/wazlet/nodeactor"
)

// census makes metrics of how the node's Pods stand. It is a prometheus.Collector.
type census struct {
	ask                          func(ctx context.Context) (nodeactor.Census, error)
	working, restarted, orphaned *prometheus.Desc
}

// askWithin bounds how long a scrape waits for the node actor.
const askWithin = 5 * time.Second

func newCensus(ask func(ctx context.Context) (nodeactor.Census, error)) *census {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, "[ALPHA] "+help, labels, nil)
	}
	return &census{
		ask: ask,
		working: desc("kubelet_working_pods", "Number of pods the kubelet is actually running, broken down by lifecycle phase, whether the pod is "+
			"desired, orphaned, or runtime only (also orphaned), and whether the pod is static. An orphaned pod has been removed from local "+
			"configuration or force deleted in the API and consumes resources that are not otherwise visible.", "lifecycle", "config", "static"),
		restarted: desc("kubelet_restarted_pods_total", "Number of pods that have been restarted because they were deleted and recreated with the "+
			"same UID while the kubelet was watching them (common for static pods, extremely uncommon for API pods)", "static"),
		orphaned: desc("kubelet_orphaned_runtime_pods_total", "Number of pods that have been detected in the container runtime without being already "+
			"known to the pod worker. This typically indicates the kubelet was restarted while a pod was force deleted in the API or in the local "+
			"configuration, which is unusual."),
	}
}

// Describe implements prometheus.Collector.
func (c *census) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.working
	ch <- c.restarted
	ch <- c.orphaned
}

// Collect implements prometheus.Collector.
func (c *census) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	now, err := c.ask(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.working, err)
		return
	}
	for labels, n := range standings(now.Pods) {
		ch <- prometheus.MustNewConstMetric(c.working, prometheus.GaugeValue, float64(n), labels[:]...)
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(c.restarted, now.RestartedStatic, "true")
	counter(c.restarted, now.Restarted, "")
	counter(c.orphaned, now.Orphans)
}

// standings counts Pods by lifecycle, config and static. Those combinations that there can be are there, like the kubelet's,
// also when there is no such Pod.
func standings(pods []nodeactor.Standing) map[[3]string]int {
	out := map[[3]string]int{}
	for _, lifecycle := range []nodeactor.Lifecycle{nodeactor.Syncing, nodeactor.Terminating, nodeactor.Terminated} {
		for _, of := range [][2]string{{"desired", "true"}, {"desired", ""}, {"orphan", "true"}, {"orphan", ""}, {"runtime_only", "unknown"}} {
			out[[3]string{string(lifecycle), of[0], of[1]}] = 0
		}
	}
	for _, p := range pods {
		key := [3]string{string(p.Lifecycle), "desired", ""}
		switch {
		case p.Pod == nil:
			key[1], key[2] = "runtime_only", "unknown"
		case p.Unwanted:
			key[1] = "orphan"
		}
		if p.Pod != nil && source.IsStatic(p.Pod) {
			key[2] = "true"
		}
		out[key]++
	}
	return out
}

// census asks the node actor.
func (d *daemon) census(ctx context.Context) (nodeactor.Census, error) {
	return actors.Ask(ctx, d.system, d.node, func(reply chan<- nodeactor.Census) any { return nodeactor.Count{Reply: reply} })
}
