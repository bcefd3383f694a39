package daemon

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/actors"
)

// Pulls and init containers are found in the event stream and taken off a Pod's start.
func TestStartOfAPod(t *testing.T) {
	c := newCounted()
	created := time.Now().Add(-time.Hour)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "u", CreationTimestamp: metav1.NewTime(created)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}},
	}
	c.watched(pod)
	ref := actors.PodRef{UID: "u"}
	at := func(m int) time.Time { return created.Add(time.Duration(m) * time.Minute) }
	for _, e := range []actors.Event{
		actors.Notice{Time: at(0), Pod: ref, FieldPath: "spec.initContainers{i}", Reason: actors.ReasonPulling},
		actors.Notice{Time: at(10), Pod: ref, FieldPath: "spec.initContainers{i}", Reason: actors.ReasonPulled},
		actors.Notice{Time: at(10), Pod: ref, FieldPath: "spec.initContainers{i}", Reason: actors.ReasonStarted},
		actors.Decision{Time: at(30), Pod: ref, Container: "i", Reason: actors.ReasonCompleted},
		actors.Notice{Time: at(30), Pod: ref, FieldPath: "spec.containers{c}", Reason: actors.ReasonPulling},
		actors.Notice{Time: at(50), Pod: ref, FieldPath: "spec.containers{c}", Reason: actors.ReasonFailed},
		actors.Notice{Time: at(50), Pod: ref, Reason: actors.ReasonKilling},
	} {
		c.observe(e)
	}
	pod = pod.DeepCopy()
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
		Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(created)},
	}}}
	c.watched(pod)
	registry := prometheus.NewRegistry()
	registry.MustRegister(c.collectors()...)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	// 60 minutes and moments, less 50: no more than 15, no less than 8 minutes.
	for _, want := range []string{
		`kubelet_pod_start_sli_duration_seconds_bucket{le="480"} 0`, `kubelet_pod_start_sli_duration_seconds_bucket{le="900"} 1`,
		`kubelet_pod_start_total_duration_seconds_bucket{le="2700"} 0`, "kubelet_pod_start_total_duration_seconds_count 1",
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
}
