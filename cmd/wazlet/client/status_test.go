package client

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func terminated(code int32, reason string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
}

func withState(name string, s corev1.ContainerState) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: s}
}

// The expected words were taken from kubectl's own printer test (TestPrintPod and its neighbours) and documentation.
func TestSummarize(t *testing.T) {
	started := true
	sidecar := corev1.Container{Name: "s", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}
	initialized := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	restarted := running("a")
	restarted.RestartCount = 3
	restarted.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now.Add(-5 * time.Second))}
	for name, tc := range map[string]struct {
		inits  []corev1.Container
		mains  int
		status corev1.PodStatus
		ends   bool
		ready  string
		want   string
		times  string
	}{
		"pending":  {mains: 1, status: corev1.PodStatus{Phase: "Pending"}, ready: "0/1", want: "Pending", times: "0"},
		"rejected": {mains: 1, status: corev1.PodStatus{Phase: "Failed", Reason: "OutOfpods"}, ready: "0/1", want: "OutOfpods", times: "0"},
		"creating": {
			mains: 1, status: corev1.PodStatus{Phase: "Pending", ContainerStatuses: []corev1.ContainerStatus{withState("a", waiting("ContainerCreating"))}},
			ready: "0/1", want: "ContainerCreating", times: "0",
		},
		"running":   {mains: 2, status: corev1.PodStatus{Phase: "Running", ContainerStatuses: []corev1.ContainerStatus{running("a"), running("b")}}, ready: "2/2", want: "Running", times: "0"},
		"restarted": {mains: 1, status: corev1.PodStatus{Phase: "Running", ContainerStatuses: []corev1.ContainerStatus{restarted}}, ready: "1/1", want: "Running", times: "3 (5s ago)"},
		"back-off": {
			mains: 2, status: corev1.PodStatus{Phase: "Running", ContainerStatuses: []corev1.ContainerStatus{withState("a", waiting("CrashLoopBackOff")), running("b")}},
			ready: "1/2", want: "CrashLoopBackOff", times: "0",
		},
		"the first container has the last word": {
			mains: 2, status: corev1.PodStatus{Phase: "Failed", ContainerStatuses: []corev1.ContainerStatus{withState("a", terminated(3, "Error")), withState("b", terminated(0, "Completed"))}},
			ready: "0/2", want: "Error", times: "0",
		},
		"completed": {mains: 1, status: corev1.PodStatus{Phase: "Succeeded", ContainerStatuses: []corev1.ContainerStatus{withState("a", terminated(0, "Completed"))}}, ready: "0/1", want: "Completed", times: "0"},
		"exit code": {mains: 1, status: corev1.PodStatus{Phase: "Failed", ContainerStatuses: []corev1.ContainerStatus{withState("a", terminated(7, ""))}}, ready: "0/1", want: "ExitCode:7", times: "0"},
		"signal": {
			mains: 1, status: corev1.PodStatus{Phase: "Failed", ContainerStatuses: []corev1.ContainerStatus{withState("a", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Signal: 9, ExitCode: 137}})}},
			ready: "0/1", want: "Signal:9", times: "0",
		},
		"one done, one running, not ready": {
			mains: 2, status: corev1.PodStatus{Phase: "Running", ContainerStatuses: []corev1.ContainerStatus{withState("a", terminated(0, "Completed")), running("b")}},
			ready: "1/2", want: "NotReady", times: "0",
		},
		"one done, one running, ready": {
			mains: 2, status: corev1.PodStatus{Phase: "Running", Conditions: []corev1.PodCondition{ready}, ContainerStatuses: []corev1.ContainerStatus{withState("a", terminated(0, "Completed")), running("b")}},
			ready: "1/2", want: "Running", times: "0",
		},
		"first of two inits runs": {
			inits: []corev1.Container{{Name: "i"}, {Name: "j"}}, mains: 1,
			status: corev1.PodStatus{Phase: "Pending", InitContainerStatuses: []corev1.ContainerStatus{withState("i", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}), withState("j", waiting("PodInitializing"))}, ContainerStatuses: []corev1.ContainerStatus{withState("a", waiting("PodInitializing"))}},
			ready:  "0/1", want: "Init:0/2", times: "0",
		},
		"second init waits": {
			inits: []corev1.Container{{Name: "i"}, {Name: "j"}}, mains: 1,
			status: corev1.PodStatus{Phase: "Pending", InitContainerStatuses: []corev1.ContainerStatus{withState("i", terminated(0, "Completed")), withState("j", waiting("PodInitializing"))}},
			ready:  "0/1", want: "Init:1/2", times: "0",
		},
		"init fails": {
			inits: []corev1.Container{{Name: "i"}}, mains: 1,
			status: corev1.PodStatus{Phase: "Pending", InitContainerStatuses: []corev1.ContainerStatus{withState("i", terminated(1, "Error"))}},
			ready:  "0/1", want: "Init:Error", times: "0",
		},
		"init in back-off": {
			inits: []corev1.Container{{Name: "i"}}, mains: 1,
			status: corev1.PodStatus{Phase: "Pending", InitContainerStatuses: []corev1.ContainerStatus{{Name: "i", RestartCount: 4, State: waiting("CrashLoopBackOff")}}},
			ready:  "0/1", want: "Init:CrashLoopBackOff", times: "4",
		},
		"init exit code": {
			inits: []corev1.Container{{Name: "i"}}, mains: 1,
			status: corev1.PodStatus{Phase: "Failed", InitContainerStatuses: []corev1.ContainerStatus{withState("i", terminated(9, ""))}},
			ready:  "0/1", want: "Init:ExitCode:9", times: "0",
		},
		"restarts of inits do not count once mains run": {
			inits: []corev1.Container{{Name: "i"}}, mains: 1,
			status: corev1.PodStatus{Phase: "Running", InitContainerStatuses: []corev1.ContainerStatus{{Name: "i", RestartCount: 4, State: terminated(0, "Completed")}}, ContainerStatuses: []corev1.ContainerStatus{running("a")}},
			ready:  "1/1", want: "Running", times: "0",
		},
		"sidecar": {
			inits: []corev1.Container{sidecar}, mains: 1,
			status: corev1.PodStatus{Phase: "Running", InitContainerStatuses: []corev1.ContainerStatus{{Name: "s", Started: &started, Ready: true, RestartCount: 2, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}, ContainerStatuses: []corev1.ContainerStatus{running("a")}},
			ready:  "2/2", want: "Running", times: "2",
		},
		"sidecar restarts after initialization": {
			inits: []corev1.Container{sidecar}, mains: 1,
			status: corev1.PodStatus{Phase: "Running", Conditions: []corev1.PodCondition{initialized}, InitContainerStatuses: []corev1.ContainerStatus{withState("s", waiting("CrashLoopBackOff"))}, ContainerStatuses: []corev1.ContainerStatus{running("a")}},
			ready:  "1/2", want: "Init:CrashLoopBackOff", times: "0",
		},
		"terminating": {mains: 1, status: corev1.PodStatus{Phase: "Running", ContainerStatuses: []corev1.ContainerStatus{running("a")}}, ends: true, ready: "1/1", want: "Terminating", times: "0"},
		"ended, but still there": {
			mains: 1, status: corev1.PodStatus{Phase: "Succeeded", ContainerStatuses: []corev1.ContainerStatus{withState("a", terminated(0, "Completed"))}},
			ends: true, ready: "0/1", want: "Completed", times: "0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: tc.inits, Containers: make([]corev1.Container, tc.mains)}, Status: tc.status}
			if tc.ends {
				p.DeletionTimestamp = &metav1.Time{Time: now}
			}
			s := summarize(p)
			row := (&podViewer{now: func() time.Time { return now }}).row(p)
			if row[2] != tc.ready || s.status != tc.want || s.restartsText(now) != tc.times {
				t.Errorf("got %s %s %s, want %s %s %s", row[2], s.status, s.restartsText(now), tc.ready, tc.want, tc.times)
			}
		})
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	start := at(90 * time.Second)
	for want, p := range map[string]corev1.Pod{
		"<unknown>": {},
		"90s":       {Status: corev1.PodStatus{StartTime: &start}},
		"3h":        {ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at(3 * time.Hour)}, Status: corev1.PodStatus{StartTime: &start}},
	} {
		if got := age(&p, now); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
