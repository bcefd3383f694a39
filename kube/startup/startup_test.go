package startup_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/kube/startup"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func newPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "u", CreationTimestamp: metav1.NewTime(noon)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}, {Name: "b"}}},
	}
}

// running is the Pod with its first n containers running.
func running(p *corev1.Pod, n int) *corev1.Pod {
	p = p.DeepCopy()
	start := metav1.NewTime(noon)
	p.Status.StartTime = &start
	for i, c := range p.Spec.Containers {
		s := corev1.ContainerStatus{Name: c.Name}
		if i < n {
			s.State.Running = &corev1.ContainerStateRunning{StartedAt: start}
		}
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, s)
	}
	return p
}

// sums are the sum and the count of each histogram.
func sums(t *testing.T, of prometheus.Collector) []string {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(of); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var out []string
	for line := range strings.Lines(w.Body.String()) {
		for _, suffix := range []string{"_sum ", "_count "} {
			if name, value, found := strings.Cut(line, suffix); found {
				name = strings.TrimSuffix(strings.TrimPrefix(name, "kubelet_pod_start_"), "_duration_seconds")
				out = append(out, name+suffix+strings.TrimSpace(value))
			}
		}
	}
	return out
}

func TestRule(t *testing.T) {
	const uid = "u"
	nothing := []string{"sli_sum 0", "sli_count 0", "total_sum 0", "total_count 0"}
	for name, tt := range map[string]struct {
		story func(*startup.Tracker, *corev1.Pod)
		want  []string
	}{
		"the first time that all containers are seen to run": {func(tr *startup.Tracker, p *corev1.Pod) {
			tr.Observe(p, at(1))
			tr.Observe(running(p, 1), at(2))
			tr.Observe(running(p, 2), at(3))
			tr.Observe(running(p, 2), at(9))
		}, []string{"sli_sum 3", "sli_count 1", "total_sum 3", "total_count 1"}},
		"pulls that overlap count once": {func(tr *startup.Tracker, p *corev1.Pod) {
			tr.Observe(p, at(0))
			tr.Began(uid, startup.Pull, "a", at(1))
			tr.Began(uid, startup.Pull, "b", at(2))
			tr.Ended(uid, startup.Pull, "a", at(4))
			tr.Ended(uid, startup.Pull, "b", at(5))
			tr.Began(uid, startup.Pull, "b", at(6))
			tr.Ended(uid, startup.Pull, "b", at(7))
			tr.Ended(uid, startup.Pull, "c", at(8)) // never begun
			tr.Observe(running(p, 2), at(10))
		}, []string{"sli_sum 5", "sli_count 1", "total_sum 10", "total_count 1"}},
		"init containers": {func(tr *startup.Tracker, p *corev1.Pod) {
			tr.Observe(p, at(0))
			tr.Began(uid, startup.Init, "x", at(1))
			tr.Ended(uid, startup.Init, "x", at(3))
			tr.Began(uid, startup.Init, "sidecar", at(3)) // never ends
			tr.Observe(running(p, 2), at(4))
		}, []string{"sli_sum 2", "sli_count 1", "total_sum 4", "total_count 1"}},
		"state": {func(tr *startup.Tracker, p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{
				{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}},
			}
			tr.Observe(p, at(0))
			tr.Observe(running(p, 2), at(3))
		}, []string{"sli_sum 0", "sli_count 0", "total_sum 3", "total_count 1"}},
		"could not be scheduled at once": {func(tr *startup.Tracker, p *corev1.Pod) {
			late := p.DeepCopy()
			late.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse}}
			tr.Observe(late, at(0))
			tr.Observe(running(p, 2), at(3))
		}, nothing},
		"started under another daemon": {func(tr *startup.Tracker, p *corev1.Pod) {
			tr.Observe(running(p, 1), at(0))
			tr.Observe(running(p, 2), at(3))
		}, nothing},
		"over before it was seen to run": {func(tr *startup.Tracker, p *corev1.Pod) {
			tr.Observe(p, at(0))
			p.Status.Phase = corev1.PodSucceeded
			tr.Observe(p, at(1))
			tr.Observe(running(newPod(), 2), at(3))
		}, nothing},
		"of the same name again": {func(tr *startup.Tracker, p *corev1.Pod) {
			tr.Began(uid, startup.Pull, "a", at(0)) // not seen yet
			tr.Observe(p, at(0))
			tr.Observe(running(p, 2), at(1))
			tr.Forget(uid)
			tr.Observe(p, at(0))
			tr.Observe(running(p, 2), at(2))
		}, []string{"sli_sum 3", "sli_count 2", "total_sum 3", "total_count 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := startup.New()
			tt.story(tr, newPod())
			if diff := cmp.Diff(tt.want, sums(t, tr)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
