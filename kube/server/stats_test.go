package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/wazlet/wazlet/kube/server"
)

func summary() *stats.Summary {
	at := metav1.NewTime(time.UnixMilli(1_700_000_000_123))
	cpu := func(ns uint64) *stats.CPUStats { return &stats.CPUStats{Time: at, UsageCoreNanoSeconds: &ns} }
	memory := func(n uint64) *stats.MemoryStats { return &stats.MemoryStats{Time: at, WorkingSetBytes: &n} }
	swap := func(used, free uint64) *stats.SwapStats {
		return &stats.SwapStats{Time: at, SwapUsageBytes: &used, SwapAvailableBytes: &free}
	}
	return &stats.Summary{
		Node: stats.NodeStats{NodeName: "n1", CPU: cpu(12_500_000_000), Memory: memory(1 << 30), Swap: swap(5, 6)},
		Pods: []stats.PodStats{
			{
				PodRef: stats.PodReference{Name: "p", Namespace: "ns", UID: "u"}, CPU: cpu(2_250_000_000), Memory: memory(3000), Swap: swap(1, 2),
				Containers: []stats.ContainerStats{
					{Name: "a", StartTime: metav1.NewTime(time.UnixMilli(1_600_000_000_500)), CPU: cpu(1_250_000_000), Memory: memory(1000), Swap: swap(1, 2)},
					{Name: "not-started", CPU: &stats.CPUStats{Time: at}, Memory: &stats.MemoryStats{Time: at}},
				},
			},
			{PodRef: stats.PodReference{Name: "q", Namespace: "ns"}},
		},
	}
}

func TestResourceMetrics(t *testing.T) {
	h := server.New(server.Handlers{Stats: func(_ context.Context, only bool) (*stats.Summary, error) {
		if !only {
			t.Error("asked for more than CPU and memory")
		}
		return summary(), nil
	}})
	w := get(h, "/metrics/resource")
	const want = `# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="a",namespace="ns",pod="p"} 1.25 1700000000123
# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="a",namespace="ns",pod="p"} 1000 1700000000123
# HELP container_start_time_seconds [STABLE] Start time of the container since unix epoch in seconds
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="a",namespace="ns",pod="p"} 1.6000000005e+09
# HELP container_swap_limit_bytes [ALPHA] Current amount of the container swap limit in bytes. Reported only on non-windows systems
# TYPE container_swap_limit_bytes gauge
container_swap_limit_bytes{container="a",namespace="ns",pod="p"} 3 1700000000123
# HELP container_swap_usage_bytes [ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems
# TYPE container_swap_usage_bytes gauge
container_swap_usage_bytes{container="a",namespace="ns",pod="p"} 1 1700000000123
# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 12.5 1700000000123
# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 1.073741824e+09 1700000000123
# HELP node_swap_usage_bytes [ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems
# TYPE node_swap_usage_bytes gauge
node_swap_usage_bytes 5 1700000000123
# HELP pod_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the pod in core-seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="ns",pod="p"} 2.25 1700000000123
# HELP pod_memory_working_set_bytes [STABLE] Current working set of the pod in bytes
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="ns",pod="p"} 3000 1700000000123
# HELP pod_swap_usage_bytes [ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems
# TYPE pod_swap_usage_bytes gauge
pod_swap_usage_bytes{namespace="ns",pod="p"} 1 1700000000123
# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 0
`
	if diff := cmp.Diff(want, w.Body.String()); diff != "" || w.Code != http.StatusOK {
		t.Errorf("%d (-want +got):\n%s", w.Code, diff)
	}
}

func TestResourceMetricsOfANodeThatCannotBeMeasured(t *testing.T) {
	h := server.New(server.Handlers{Stats: func(context.Context, bool) (*stats.Summary, error) { return nil, errors.New("no cgroups") }})
	w := get(h, "/metrics/resource")
	const want = `# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 1
`
	if diff := cmp.Diff(want, w.Body.String()); diff != "" || w.Code != http.StatusOK {
		t.Errorf("%d (-want +got):\n%s", w.Code, diff)
	}
	if w := get(h, "/stats/summary"); w.Code != http.StatusInternalServerError || w.Body.String() != "Internal Error: no cgroups\n" {
		t.Errorf("summary: %d %q", w.Code, w.Body)
	}
}

func TestSummary(t *testing.T) {
	var asked []bool
	empty := false
	h := server.New(server.Handlers{Stats: func(_ context.Context, only bool) (*stats.Summary, error) {
		asked = append(asked, only)
		if empty {
			return &stats.Summary{}, nil
		}
		return summary(), nil
	}})
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodGet, "/stats/summary", nil),
		httptest.NewRequest(http.MethodGet, "/stats/summary?only_cpu_and_memory=true", nil),
		httptest.NewRequest(http.MethodPost, "/stats/summary", strings.NewReader("only_cpu_and_memory=true")),
	} {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var got stats.Summary
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
			t.Fatal(err, w.Header())
		}
		// A time in JSON has no fractions of seconds.
		if got.Node.NodeName != "n1" || len(got.Pods) != 2 || *got.Pods[0].Containers[0].CPU.UsageCoreNanoSeconds != 1_250_000_000 {
			t.Errorf("got %s", w.Body)
		}
	}
	if diff := cmp.Diff([]bool{false, true, true}, asked); diff != "" {
		t.Errorf("only CPU and memory (-want +got):\n%s", diff)
	}
	empty = true
	if w := get(h, "/stats/summary"); !strings.Contains(w.Body.String(), `"pods":[]`) {
		t.Errorf("no Pods are written as %s", w.Body)
	}
}

func TestProbeMetrics(t *testing.T) {
	m := server.NewProbeMetrics(time.Unix(1_700_000_000, 0))
	h := server.New(server.Handlers{ProbeMetrics: m})
	a := server.Probe{Type: "Liveness", Container: "c", Pod: "p", Namespace: "ns", PodUID: "u"}
	b := a
	b.Type = "Readiness"
	m.Observe(a, "successful", 7*time.Millisecond)
	m.Observe(a, "failed", time.Second)
	m.Observe(b, "unknown", time.Second)
	text := get(h, "/metrics/probes").Body.String()
	for _, line := range []string{
		`prober_probe_total{container="c",namespace="ns",pod="p",pod_uid="u",probe_type="Liveness",result="successful"} 1`,
		`prober_probe_total{container="c",namespace="ns",pod="p",pod_uid="u",probe_type="Liveness",result="failed"} 1`,
		`prober_probe_total{container="c",namespace="ns",pod="p",pod_uid="u",probe_type="Readiness",result="unknown"} 1`,
		`prober_probe_duration_seconds_count{container="c",namespace="ns",pod="p",probe_type="Liveness"} 2`,
		`process_start_time_seconds 1.7e+09`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is missing in:\n%s", line, text)
		}
	}
	m.Forget(a)
	if text := get(h, "/metrics/probes").Body.String(); strings.Contains(text, "Liveness") || !strings.Contains(text, "Readiness") {
		t.Errorf("after Forget:\n%s", text)
	}
}
