package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilexec "k8s.io/utils/exec"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/metrics"
	"github.com/wazlet/wazlet/kube/server"
	"github.com/wazlet/wazlet/kube/source"
	"github.com/wazlet/wazlet/moduleactor/image"
	"github.com/wazlet/wazlet/nodeactor"
)

// leftOut are the metrics of contract §4 that would be dummies here, and why; docs/operations.md says so, too.
func leftOut() map[string]string {
	return map[string]string{
		"kubelet_evictions":                    "the node evicts nothing",
		"kubelet_pleg_relist_duration_seconds": "the kernel tells of the end of a guest: nothing is listed again and again",
		"kubelet_pleg_relist_interval_seconds": "as above",
	}
}

// Names, types, labels and texts are the kubelet's; testdata/kubelet-metrics.txt is taken from its source.
func TestMetricsAreTheKubelets(t *testing.T) {
	c := newCounted()
	never := func() time.Time { return time.Time{} }
	others := append(append(c.collectors(), c.renewals.collectors(never, never)...), newCensus(func(context.Context) (nodeactor.Census, error) { return nodeactor.Census{}, nil }))
	m, err := metrics.New(metrics.Config{
		Node: "n", Pods: func(context.Context) ([]*corev1.Pod, error) { return nil, nil }, Others: others,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.operations.count(opStart, time.Second, true)
	c.collected.WithLabelValues("space").Inc()
	server.New(server.Handlers{Requests: c.requests}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/pods", nil))
	for _, e := range []actors.Event{
		actors.Transition{Kind: actors.KindPod, From: "Admitting", To: "Rejected", Why: "OutOfcpu"},
		actors.Transition{Kind: actors.KindPod, From: "Admitting", To: "Preparing"},
		actors.Notice{FieldPath: "spec.containers{c}", Reason: actors.ReasonStarted},
		actors.Notice{FieldPath: "spec.containers{c}", Reason: actors.ReasonPulled, Pull: actors.Pull{Took: time.Second}},
		actors.Decision{Container: "c", Reason: actors.ReasonErrImagePull},
		actors.Decision{Container: "c", Reason: actors.ReasonCompleted},
	} {
		m.Observe(e)
	}
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "kubelet_") {
			labels := map[string]bool{}
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels[l.GetName()] = true
			}
			list := strings.Join(slices.Sorted(maps.Keys(labels)), ",")
			got[f.GetName()] = fmt.Sprintf("%s {%s} %s", strings.ToLower(f.GetType().String()), list, f.GetHelp())
		}
	}
	want := theKubelets(t)
	for name, why := range leftOut() {
		if got[name] != "" || want[name] == "" || why == "" {
			t.Errorf("%s is left out, but it is there, or the kubelet does not have it", name)
		}
		delete(want, name)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metrics (-kubelet +wazlet):\n%s", d)
	}
}

func theKubelets(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/kubelet-metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		out[name] = rest
	}
	return out
}

// gathered are the samples of some collectors as lines, those of histograms by their sums.
func gathered(t *testing.T, collectors ...prometheus.Collector) []string {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(collectors...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
			out = append(out, fmt.Sprintf("%s %s %v", strings.TrimPrefix(f.GetName(), "kubelet_"), strings.Join(labels, ","), value))
		}
	}
	return out
}

// What a guest exits with is no failure of the runtime, and a container that ends by itself was not stopped.
func TestOperations(t *testing.T) {
	o := newOperations()
	for _, err := range []error{nil, utilexec.CodeExitError{Err: errors.New("exit"), Code: 3}, errors.New("no such container")} {
		if got := o.measure(opExec, func() error { return err }); !errors.Is(got, err) {
			t.Errorf("measured %v, got %v", err, got)
		}
	}
	pod := actors.PodRef{UID: "u"}
	at := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	for _, e := range []actors.Event{
		actors.Notice{Time: at(0), Pod: pod, FieldPath: "spec.containers{a}", Reason: actors.ReasonKilling},
		actors.Decision{Time: at(1), Pod: pod, Container: "b"},
		actors.Decision{Time: at(7), Pod: pod, Container: "a"},
		actors.Decision{Time: at(8), Pod: pod, Container: "a"},
		actors.Notice{Time: at(9), Pod: pod, FieldPath: "spec.containers{b}", Reason: actors.ReasonKilling},
	} {
		o.observe(e)
	}
	o.forget("u")
	o.observe(actors.Decision{Time: at(100), Pod: pod, Container: "b"})
	want := []string{
		"runtime_operations_errors_total exec 1",
		"runtime_operations_total exec 3", "runtime_operations_total stop_container 1",
	}
	if d := cmp.Diff(want, gathered(t, o.total, o.errors)); d != "" {
		t.Errorf("counted (-want +got):\n%s", d)
	}
	if got := gathered(t, o.took); !slices.Contains(got, "runtime_operations_duration_seconds stop_container 7") {
		t.Errorf("measured %v", got)
	}
}

// A node knows how long its certificates last; without one there is nothing to warn of.
func TestCertificatesTimeLeft(t *testing.T) {
	soon := func() time.Time { return time.Now().Add(time.Hour + time.Minute) }
	got := gathered(t, newRenewals().collectors(soon, func() time.Time { return time.Time{} })...)
	if !slices.Contains(got, "certificate_manager_server_ttl_seconds  +Inf") {
		t.Errorf("no certificate: %q", got)
	}
	var left float64
	for _, line := range got {
		if v, ok := strings.CutPrefix(line, "certificate_manager_client_ttl_seconds  "); ok {
			if _, err := fmt.Sscan(v, &left); err != nil {
				t.Fatal(err)
			}
		}
	}
	if left < 60 || left > 61*60 {
		t.Errorf("a certificate of an hour has %v seconds left", left)
	}
}

// Only what a registry was asked for is a pull.
func TestPullsAskARegistry(t *testing.T) {
	for _, tc := range []struct {
		img  image.Image
		err  error
		want bool
	}{
		{image.Image{Present: true}, nil, false},
		{image.Image{}, nil, true},
		{image.Image{}, &image.Error{Reason: image.InvalidImageName}, false},
		{image.Image{}, &image.Error{Reason: image.ErrImageNeverPull}, false},
		{image.Image{}, &image.Error{Reason: image.ErrImagePull}, true},
		{image.Image{}, context.Canceled, true},
	} {
		if got := askedRegistry(tc.img, tc.err); got != tc.want {
			t.Errorf("%+v, %#v: %v", tc.img, tc.err, got)
		}
	}
}

func TestCensus(t *testing.T) {
	api := &corev1.Pod{}
	file := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{source.SourceAnnotation: "file"}}}
	answer := nodeactor.Census{
		Pods: []nodeactor.Standing{
			{Pod: api, Lifecycle: nodeactor.Syncing},
			{Pod: api, Lifecycle: nodeactor.Syncing},
			{Pod: file, Lifecycle: nodeactor.Syncing},
			{Pod: api, Lifecycle: nodeactor.Terminating},
			{Pod: file, Lifecycle: nodeactor.Terminating, Unwanted: true},
			{Lifecycle: nodeactor.Terminating, Unwanted: true},
			{Pod: api, Lifecycle: nodeactor.Terminated},
		},
		Tally: nodeactor.Tally{Restarted: 1, RestartedStatic: 2, Orphans: 3},
	}
	got := gathered(t, newCensus(func(context.Context) (nodeactor.Census, error) { return answer, nil }))
	zero := func(line string) bool { return strings.HasSuffix(line, " 0") }
	if n := len(got); n != 15+3 { // every combination that there can be
		t.Errorf("%d samples: %q", n, got)
	}
	want := []string{
		"orphaned_runtime_pods_total  3", "restarted_pods_total  1", "restarted_pods_total true 2",
		"working_pods desired,sync, 2", "working_pods desired,sync,true 1", "working_pods desired,terminated, 1",
		"working_pods desired,terminating, 1", "working_pods orphan,terminating,true 1", "working_pods runtime_only,terminating,unknown 1",
	}
	if d := cmp.Diff(want, slices.DeleteFunc(got, zero)); d != "" {
		t.Errorf("census (-want +got):\n%s", d)
	}
}
