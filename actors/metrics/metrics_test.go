package metrics_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newMetrics(t *testing.T, c metrics.Config) *metrics.Metrics {
	t.Helper()
	m, err := metrics.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape returns the samples whose names begin with one of the prefixes, as lines.
func scrape(t *testing.T, m *metrics.Metrics, prefixes ...string) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		for _, p := range prefixes {
			if strings.HasPrefix(line, p) {
				lines = append(lines, line)
			}
		}
	}
	return strings.Join(lines, "")
}

func compare(t *testing.T, want, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestContainersAreCounted(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	pod := actors.PodRef{UID: "u", Namespace: "shop", Name: "cart"}
	started := func(path string) {
		m.Observe(actors.Notice{Pod: pod, FieldPath: path, Reason: actors.ReasonStarted})
	}
	ended := func(container string, reason actors.Reason, code int32, directive actors.Directive, delay time.Duration) {
		m.Observe(actors.Decision{Pod: pod, Container: container, Reason: reason, Code: code, Directive: directive, Delay: delay})
	}
	started("spec.initContainers{migrate}")
	ended("migrate", actors.ReasonCompleted, 0, actors.DirectiveStop, 0)
	started("spec.containers{app}")
	started("spec.ephemeralContainers{look}")
	ended("app", actors.ReasonOOMKilled, 137, actors.DirectiveRestart, 0)
	started("spec.containers{app}")
	ended("app", actors.ReasonError, 1, actors.DirectiveRestart, 10*time.Second)
	ended("other", actors.ReasonErrImagePull, 0, actors.DirectiveRestart, 20*time.Second) // never ran
	m.Observe(actors.Decision{Pod: pod, Reason: actors.ReasonCrash, Directive: actors.DirectiveRestart, Delay: time.Second})
	compare(t, `kubelet_started_containers_errors_total{code="ErrImagePull",container_type="container"} 1
kubelet_started_containers_total{container_type="container"} 2
kubelet_started_containers_total{container_type="ephemeral_container"} 1
kubelet_started_containers_total{container_type="init_container"} 1
kubelet_started_pods_errors_total 0
kubelet_started_pods_total 0
kubelet_terminated_containers_total{container_type="container",exit_code="1",reason="Error"} 1
kubelet_terminated_containers_total{container_type="container",exit_code="137",reason="OOMKilled"} 1
kubelet_terminated_containers_total{container_type="init_container",exit_code="0",reason="Completed"} 1
wazlet_backoff_seconds_bucket{le="0"} 1
wazlet_backoff_seconds_bucket{le="1"} 2
wazlet_backoff_seconds_bucket{le="10"} 3
wazlet_backoff_seconds_bucket{le="20"} 4
wazlet_backoff_seconds_bucket{le="40"} 4
wazlet_backoff_seconds_bucket{le="80"} 4
wazlet_backoff_seconds_bucket{le="160"} 4
wazlet_backoff_seconds_bucket{le="300"} 4
wazlet_backoff_seconds_bucket{le="+Inf"} 4
wazlet_backoff_seconds_sum 31
wazlet_backoff_seconds_count 4
wazlet_container_restarts_total{reason="Error"} 1
wazlet_container_restarts_total{reason="OOMKilled"} 1
`, scrape(t, m, "kubelet_", "wazlet_backoff", "wazlet_container"))
}

func TestKindOfAContainerIsForgottenWithItsPod(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	pod := actors.PodRef{UID: "u"}
	m.Observe(actors.Notice{Pod: pod, FieldPath: "spec.initContainers{c}", Reason: actors.ReasonStarted})
	m.Observe(actors.Transition{Kind: actors.KindPod, Pod: pod, From: "Terminating", To: "Ended"})
	m.Observe(actors.Decision{Pod: pod, Container: "c", Reason: actors.ReasonCompleted, Directive: actors.DirectiveStop})
	compare(t, "kubelet_terminated_containers_total{container_type=\"container\",exit_code=\"0\",reason=\"Completed\"} 1\n",
		scrape(t, m, "kubelet_terminated"))
}

func TestEventsAreCounted(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	m.Observe(actors.Transition{Kind: actors.KindPod, From: "Preparing", To: "Running"})
	m.Observe(actors.Transition{Kind: actors.KindModule, From: "Starting", To: "Running"})
	m.Observe(actors.Transition{Kind: actors.KindModule, From: "Starting", To: "Running"})
	m.Observe(actors.Failure{Kind: actors.KindPod, Message: "podactor.Apply", Reason: "index out of range"})
	m.Observe(actors.DeadLetter{Target: "pods/u", Message: "podactor.Apply"})
	m.Observe(actors.Notice{FieldPath: "spec.containers{c}", Warning: true, Reason: actors.ReasonBackOff})
	m.Observe(actors.Notice{Reason: actors.ReasonKilling})
	compare(t, `wazlet_actor_crashes_total{kind="pod"} 1
wazlet_actor_transitions_total{kind="module",to="Running"} 2
wazlet_actor_transitions_total{kind="pod",to="Running"} 1
wazlet_dead_letters_total{message="podactor.Apply"} 1
wazlet_pod_events_total{reason="BackOff",type="Warning"} 1
wazlet_pod_events_total{reason="Killing",type="Normal"} 1
`, scrape(t, m, "wazlet_actor_crashes", "wazlet_actor_transitions", "wazlet_dead", "wazlet_pod_events"))
}

func TestActorsAreRead(t *testing.T) {
	later, past := noon.Add(time.Minute), noon.Add(-time.Minute)
	list := []actors.Info{
		{ID: "node", Kind: actors.KindNode, Handled: 5},
		{ID: "pods/a", Kind: actors.KindPod, Handled: 10, Mailbox: actors.MailboxInfo{Length: 2, HighWater: 9}},
		{ID: "pods/b", Kind: actors.KindPod, Handled: 7, Mailbox: actors.MailboxInfo{Length: 1, HighWater: 4}},
		{ID: "pods/a/c", Kind: actors.KindModule, NextRestart: &later},
		{ID: "pods/b/c", Kind: actors.KindModule, NextRestart: &past},
	}
	m := newMetrics(t, metrics.Config{
		Actors: func() []actors.Info { return list },
		Counters: func() actors.Counters {
			return actors.Counters{Swallowed: 1, Resurrected: 2, Zombies: 3, LeakedWorkers: 4, Unhandled: 5}
		},
		Clock: clocktesting.NewFakePassiveClock(noon),
	})
	compare(t, `wazlet_actor_guard_total{hazard="leaked_worker"} 4
wazlet_actor_guard_total{hazard="resurrected"} 2
wazlet_actor_guard_total{hazard="swallowed_panic"} 1
wazlet_actor_guard_total{hazard="unhandled_message"} 5
wazlet_actor_guard_total{hazard="zombie"} 3
wazlet_actor_mailbox_high_water{kind="module"} 0
wazlet_actor_mailbox_high_water{kind="node"} 0
wazlet_actor_mailbox_high_water{kind="pod"} 9
wazlet_actor_mailbox_messages{kind="module"} 0
wazlet_actor_mailbox_messages{kind="node"} 0
wazlet_actor_mailbox_messages{kind="pod"} 3
wazlet_actor_messages_handled_total{kind="module"} 0
wazlet_actor_messages_handled_total{kind="node"} 5
wazlet_actor_messages_handled_total{kind="pod"} 17
wazlet_actors{kind="module"} 2
wazlet_actors{kind="node"} 1
wazlet_actors{kind="pod"} 2
wazlet_actors_in_backoff{kind="module"} 1
wazlet_actors_in_backoff{kind="node"} 0
wazlet_actors_in_backoff{kind="pod"} 0
`, scrape(t, m, "wazlet_actor"))

	// One actor is gone and another has taken a name: the counter goes on.
	list = []actors.Info{{ID: "node", Kind: actors.KindNode, Handled: 6}, {ID: "pods/b", Kind: actors.KindPod, Handled: 2}}
	compare(t, `wazlet_actor_messages_handled_total{kind="module"} 0
wazlet_actor_messages_handled_total{kind="node"} 6
wazlet_actor_messages_handled_total{kind="pod"} 19
`, scrape(t, m, "wazlet_actor_messages_handled"))
}

func podWith(source string, states ...corev1.ContainerState) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kubernetes.io/config.source": source}}}
	for _, s := range states {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{State: s})
	}
	return p
}

func TestPodsAreRead(t *testing.T) {
	up := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	over := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	failed := podWith("file")
	failed.Status.Phase = corev1.PodFailed
	m := newMetrics(t, metrics.Config{Node: "edge-1", Pods: func(context.Context) ([]*corev1.Pod, error) {
		return []*corev1.Pod{podWith("file", up, up, over), podWith("api", up, waiting), podWith("file", over), podWith(""), failed}, nil
	}})
	compare(t, `kubelet_active_pods{static=""} 2
kubelet_active_pods{static="true"} 2
kubelet_desired_pods{static=""} 2
kubelet_desired_pods{static="true"} 3
kubelet_mirror_pods 2
kubelet_node_name{node="edge-1"} 1
kubelet_running_containers{container_state="exited"} 2
kubelet_running_containers{container_state="running"} 3
kubelet_running_pods 2
kubelet_started_pods_errors_total 0
kubelet_started_pods_total 0
`, scrape(t, m, "kubelet_"))
}

func TestPodsThatCannotBeListedFailTheScrape(t *testing.T) {
	m := newMetrics(t, metrics.Config{Pods: func(context.Context) ([]*corev1.Pod, error) { return nil, errors.New("node is busy") }})
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "node is busy") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRuntimeIsCovered(t *testing.T) {
	got := scrape(t, newMetrics(t, metrics.Config{}), "go_goroutines", "process_cpu_seconds_total", "process_open_fds")
	if n := strings.Count(got, "\n"); n != 3 {
		t.Errorf("%d of 3: %s", n, got)
	}
}

func TestNamesFollowTheRules(t *testing.T) {
	m := newMetrics(t, metrics.Config{Actors: func() []actors.Info { return nil }, Counters: func() actors.Counters { return actors.Counters{} }})
	m.Observe(actors.Failure{Kind: actors.KindNode})
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestTwoInstancesDoNotCollide(t *testing.T) {
	a, b := newMetrics(t, metrics.Config{}), newMetrics(t, metrics.Config{})
	a.Observe(actors.Failure{Kind: actors.KindPod})
	if got := scrape(t, b, "wazlet_actor_crashes"); got != "" {
		t.Errorf("counted in the other one: %s", got)
	}
}
