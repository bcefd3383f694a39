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

// What a kubelet's worker would do to a Pod is measured by its kind. A Pod that ends by itself was not ended by anybody, and
// one that goes before it has begun was never created.
func TestWorkOnPodsIsMeasured(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	moves := func(uid string, s int, from, to, why string) {
		m.Observe(actors.Transition{Time: at(s), Kind: actors.KindPod, Pod: actors.PodRef{UID: uid}, From: from, To: to, Why: why})
	}
	started := func(uid string, s int) {
		m.Observe(actors.Notice{Time: at(s), Pod: actors.PodRef{UID: uid}, FieldPath: "spec.containers{c}", Reason: actors.ReasonStarted})
	}
	ended := func(uid string, s int) {
		m.Observe(actors.Decision{Time: at(s), Pod: actors.PodRef{UID: uid}, Container: "c", Reason: actors.ReasonErrImagePull})
	}
	moves("runs", 0, "Admitting", "Preparing", "admitted")
	moves("runs", 1, "Preparing", "Running", "prepared")
	started("runs", 2)
	started("runs", 50) // once more
	moves("runs", 60, "Running", "Terminating", "deleted")
	ended("runs", 90)
	moves("runs", 91, "Terminating", "Ended", "nothing is left")

	moves("no-image", 0, "Admitting", "Preparing", "admitted")
	ended("no-image", 5)
	moves("completes", 0, "Running", "Terminating", "all containers succeeded")
	moves("completes", 100, "Terminating", "Finished", "Succeeded")
	moves("too-soon", 0, "Admitting", "Preparing", "admitted")
	moves("too-soon", 1, "Preparing", "Terminating", "deleted")
	moves("too-soon", 4, "Terminating", "Ended", "nothing is left")
	compare(t, `kubelet_pod_worker_duration_seconds_sum{operation_type="create"} 7
kubelet_pod_worker_duration_seconds_count{operation_type="create"} 2
kubelet_pod_worker_duration_seconds_sum{operation_type="kill"} 34
kubelet_pod_worker_duration_seconds_count{operation_type="kill"} 2
`, scrape(t, m, "kubelet_pod_worker_duration_seconds_sum", "kubelet_pod_worker_duration_seconds_count"))
}
