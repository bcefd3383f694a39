package metrics_test

import (
	"testing"
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/metrics"
)

// A Pod counts as started once, when its containers may start: not when it is recovered, nor when it ends before.
func TestStartedPodsAreCounted(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	moves := func(uid string, moves ...[3]string) {
		for _, v := range moves {
			m.Observe(actors.Transition{Kind: actors.KindPod, Pod: actors.PodRef{UID: uid}, From: v[0], To: v[1], Why: v[2]})
		}
	}
	admitted, prepared := [3]string{"Admitting", "Preparing", "admitted"}, [3]string{"Preparing", "Initializing", "prepared"}
	recovered := [3]string{"Initializing", "Preparing", "recovered"}
	moves("new", admitted, prepared, recovered, prepared)
	moves("adopted", recovered, prepared)
	moves("deleted", admitted, [3]string{"Preparing", "Terminating", "deleted"}, [3]string{"Terminating", "Ended", "nothing is left"})
	moves("waits", admitted)
	m.Observe(actors.Transition{Kind: actors.KindModule, From: "Preparing", To: "Starting", Why: "prepared"})
	m.Observe(actors.Notice{Warning: true, Reason: actors.ReasonFailedCreatePodSandBox})
	compare(t, "kubelet_started_pods_errors_total 1\nkubelet_started_pods_total 1\n", scrape(t, m, "kubelet_started_pods"))
}

// The label has the kubelet's values and no others, whatever resources are called.
func TestRejectedPodsAreCounted(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	for _, reason := range []string{"OutOfcpu", "OutOfcpu", "OutOfexample.com/gpu", "NodeAffinity", "NotForWasm"} {
		m.Observe(actors.Transition{Kind: actors.KindPod, From: "Admitting", To: "Rejected", Why: reason})
		m.Observe(actors.Notice{Warning: true, Reason: actors.Reason(reason)}) // its Event
	}
	m.Observe(actors.Notice{Warning: true, Reason: actors.ReasonNodeShutdown}) // has no actor
	compare(t, `kubelet_admission_rejections_total{reason="NodeShutdown"} 1
kubelet_admission_rejections_total{reason="NotForWasm"} 1
kubelet_admission_rejections_total{reason="Other"} 1
kubelet_admission_rejections_total{reason="OutOfExtendedResources"} 1
kubelet_admission_rejections_total{reason="OutOfcpu"} 2
`, scrape(t, m, "kubelet_admission"))
}

func TestPullsAreMeasured(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	for _, p := range []actors.Pull{
		{},
		{Took: time.Second},
		{Took: time.Second, Bytes: 1},
		{Took: 3 * time.Second, Bytes: 10 << 20},
		{Took: time.Second, Bytes: 10<<20 + 1},
		{Took: time.Second, Bytes: 200 << 30},
	} {
		m.Observe(actors.Notice{FieldPath: "spec.containers{c}", Reason: actors.ReasonPulled, Pull: p})
	}
	compare(t, `kubelet_image_pull_duration_seconds_sum{image_size_in_bytes="0-10MB"} 4
kubelet_image_pull_duration_seconds_sum{image_size_in_bytes="10MB-100MB"} 1
kubelet_image_pull_duration_seconds_sum{image_size_in_bytes="GT100GB"} 1
kubelet_image_pull_duration_seconds_sum{image_size_in_bytes="N/A"} 1
`, scrape(t, m, "kubelet_image_pull_duration_seconds_sum"))
}
