package podactor

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/wazlet/wazlet/actors"
)

// runningState is a Pod whose containers all run, since the epoch.
func runningState(pod *corev1.Pod) State {
	s := newState(pod, actors.DefaultSupervision(), epoch)
	s.Stage, s.Prepared, s.Initialized = StageRunning, true, true
	for i := range s.Containers {
		c := &s.Containers[i]
		c.Stage, c.Started, c.StartedAt, c.Attached = ModuleRunning, true, epoch, true
		c.ContainerID, c.ImageID = "wazlet://"+c.Name, "reg/img@sha256:1"
		if c.Role == Init {
			c.Stage, c.Attached, c.Last = ModuleExited, false, &actors.Exit{Reason: actors.ReasonCompleted, FinishedAt: epoch}
		}
	}
	return s
}

func exitWith(code int32, message string) *actors.Exit {
	return &actors.Exit{Reason: actors.ReasonError, Code: code, Message: message, StartedAt: epoch, FinishedAt: epoch.Add(time.Second)}
}

func TestStatusIdentity(t *testing.T) {
	pod := onePod("z", "a")
	pod.Generation = 7
	pod.Spec.InitContainers = []corev1.Container{{Name: "y", Image: "i"}, {Name: "b", Image: "i"}}
	s := runningState(pod)
	s.StartTime = epoch.Add(999 * time.Millisecond)
	s.HostIP = "10.0.0.1"
	got := deriveStatus(&s, Config{}, status{}, epoch)
	var names []string
	for _, c := range append(got.InitContainerStatuses, got.ContainerStatuses...) {
		names = append(names, c.Name)
	}
	if d := cmp.Diff([]string{"y", "b", "a", "z"}, names); d != "" {
		t.Errorf("order: init as in the spec, mains by name (-want +got):\n%s", d)
	}
	if got.ObservedGeneration != 7 || got.Conditions[0].ObservedGeneration != 7 {
		t.Errorf("observedGeneration %d, of the condition %d, want 7", got.ObservedGeneration, got.Conditions[0].ObservedGeneration)
	}
	if !got.StartTime.Time.Equal(epoch) {
		t.Errorf("startTime %s is not cut to seconds", got.StartTime)
	}
	if got.HostIP != "10.0.0.1" || got.HostIPs[0].IP != "10.0.0.1" || got.PodIP != "" {
		t.Errorf("hostIP %q %v podIP %q", got.HostIP, got.HostIPs, got.PodIP)
	}
	pod.Spec.HostNetwork = true
	if got := deriveStatus(&s, Config{}, status{}, epoch); got.PodIP != "10.0.0.1" {
		t.Errorf("podIP with hostNetwork: %q", got.PodIP)
	}
	s.PodIP = "10.1.0.2"
	if got := deriveStatus(&s, Config{}, status{}, epoch); got.PodIP != "10.0.0.1" {
		t.Errorf("podIP with hostNetwork and an address of its own: %q", got.PodIP)
	}
	pod.Spec.HostNetwork = false
	s.Outcome = &Outcome{Phase: corev1.PodFailed}
	if got := deriveStatus(&s, Config{}, status{}, epoch); got.PodIP != "10.1.0.2" || got.PodIPs[0].IP != "10.1.0.2" {
		t.Errorf("podIP of a Pod that is over: %q %v", got.PodIP, got.PodIPs)
	}
	s.HostIP = ""
	if got := deriveStatus(&s, Config{}, status{}, epoch); got.HostIP != "" || got.HostIPs != nil {
		t.Errorf("hostIP of a node without an address: %q", got.HostIP)
	}
}

func TestStatusOfContainer(t *testing.T) {
	running := func(c *Container) { c.Attempt = 3; c.Last = exitWith(1, "x") }
	for name, test := range map[string]struct {
		change          func(c *Container)
		ready, started  bool
		restarts        int32
		id              string
		waiting, reason string
		last            bool
	}{
		"running": {change: running, ready: true, started: true, restarts: 3, id: "wazlet://c", last: true},
		"back-off": {change: func(c *Container) {
			running(c)
			c.Stage, c.Attached, c.Waiting = ModuleBackOff, false, actors.ReasonCrashLoopBackOff
		}, restarts: 0, waiting: "CrashLoopBackOff", last: true},
		"restarting at once": {change: func(c *Container) {
			c.Last, c.Previous, c.Attempt, c.Stage, c.ContainerID = exitWith(1, ""), exitWith(2, ""), 2, ModulePulling, ""
		}, reason: "Error", last: true},
		"over": {change: func(c *Container) {
			c.Last, c.Stage, c.Attached = &actors.Exit{Reason: actors.ReasonOOMKilled, Code: 137, Attempt: 1, ContainerID: "wazlet://old"}, ModuleExited, false
		}, reason: "OOMKilled", restarts: 1, id: "wazlet://old"},
		"first pull": {change: func(c *Container) { c.Stage, c.ContainerID = ModulePulling, "" }, waiting: "ContainerCreating"},
		"pull again": {change: func(c *Container) {
			c.Stage, c.ContainerID, c.Waiting = ModulePulling, "", actors.ReasonImagePullBackOff
		}, waiting: "ImagePullBackOff"},
	} {
		t.Run(name, func(t *testing.T) {
			s := runningState(onePod("c"))
			test.change(&s.Containers[0])
			got := deriveStatus(&s, Config{}, status{}, epoch).ContainerStatuses[0]
			if got.Ready != test.ready || *got.Started != test.started || got.RestartCount != test.restarts || got.ContainerID != test.id {
				t.Errorf("ready %t started %t restarts %d id %q", got.Ready, *got.Started, got.RestartCount, got.ContainerID)
			}
			if (got.State.Running != nil) != test.started || (got.LastTerminationState.Terminated != nil) != test.last {
				t.Errorf("state %+v, last %+v", got.State, got.LastTerminationState)
			}
			if w := got.State.Waiting; (w != nil || test.waiting != "") && (w == nil || w.Reason != test.waiting) {
				t.Errorf("waiting %+v, want %q", w, test.waiting)
			}
			if x := got.State.Terminated; (x != nil || test.reason != "") && (x == nil || x.Reason != test.reason) {
				t.Errorf("terminated %+v, want %q", x, test.reason)
			}
		})
	}
}

func TestMessagesAreBounded(t *testing.T) {
	s := runningState(onePod("a", "b", "c"))
	s.Containers[1].Last = exitWith(1, strings.Repeat("ä", 4000))
	got := deriveStatus(&s, Config{}, status{}, epoch).ContainerStatuses[1].LastTerminationState.Terminated.Message
	if want := strings.Repeat("ä", 2048); got != want {
		t.Errorf("%d bytes, want 4096: 12 KiB for three containers", len(got))
	}
	if got := cut("aä", 2); got != "a" {
		t.Errorf("cut splits a character: %q", got)
	}
	if got := cut("", 0); got != "" {
		t.Errorf("cut of nothing: %q", got)
	}
}

func TestTransitionTimes(t *testing.T) {
	s := runningState(onePod("c"))
	first := status{PodStatus: deriveStatus(&s, Config{}, status{}, epoch)}
	s.Containers[0].Stage, s.Containers[0].Waiting = ModuleBackOff, actors.ReasonCrashLoopBackOff
	s.Containers[0].Last, s.Containers[0].Attached = exitWith(1, ""), false
	later := epoch.Add(time.Minute)
	second := status{PodStatus: deriveStatus(&s, Config{}, first, later)}
	s.Containers[0].Waiting = "Other" // nothing that a condition tells
	third := deriveStatus(&s, Config{}, second, later.Add(time.Hour))
	want := map[corev1.PodConditionType]time.Time{
		corev1.PodReadyToStartContainers: epoch, corev1.PodInitialized: epoch, corev1.PodScheduled: epoch,
		corev1.PodReady: later, corev1.ContainersReady: later,
	}
	for _, c := range third.Conditions {
		if !c.LastTransitionTime.Time.Equal(want[c.Type]) {
			t.Errorf("%s changed at %s, want %s", c.Type, c.LastTransitionTime, want[c.Type])
		}
	}
}

func TestReadinessGates(t *testing.T) {
	pod := onePod("c")
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "x/a"}, {ConditionType: "x/b"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: "x/b", Status: corev1.ConditionFalse}}
	s := runningState(pod)
	c := deriveStatus(&s, Config{}, status{}, epoch).Conditions[2]
	want := `corresponding condition of pod readiness gate "x/a" does not exist., the status of pod readiness gate "x/b" is not "True", but False`
	if c.Type != corev1.PodReady || c.Status != corev1.ConditionFalse || c.Reason != "ReadinessGatesNotReady" || c.Message != want {
		t.Errorf("condition %+v", c)
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: "x/a", Status: corev1.ConditionTrue}, {Type: "x/b", Status: corev1.ConditionTrue}}
	if c := deriveStatus(&s, Config{}, status{}, epoch).Conditions[2]; c.Status != corev1.ConditionTrue {
		t.Errorf("condition with open gates %+v", c)
	}
}

func TestResourcesAndQoS(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		out := corev1.ResourceList{}
		if cpu != "" {
			out[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			out[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return out
	}
	for name, c := range map[string]struct {
		limits, requests corev1.ResourceList
		want             corev1.PodQOSClass
	}{
		"nothing":         {nil, nil, corev1.PodQOSBestEffort},
		"limits":          {list("1", "1Gi"), nil, corev1.PodQOSGuaranteed},
		"both, equal":     {list("1", "1Gi"), list("1000m", "1024Mi"), corev1.PodQOSGuaranteed},
		"smaller request": {list("1", "1Gi"), list("500m", "1Gi"), corev1.PodQOSBurstable},
		"memory only":     {list("", "1Gi"), nil, corev1.PodQOSBurstable},
		"request only":    {nil, list("1", ""), corev1.PodQOSBurstable},
	} {
		t.Run(name, func(t *testing.T) {
			pod := onePod("c")
			pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Limits: c.limits, Requests: c.requests}
			s := runningState(pod)
			got := deriveStatus(&s, Config{}, status{}, epoch)
			if got.QOSClass != c.want {
				t.Errorf("qosClass %s, want %s", got.QOSClass, c.want)
			}
		})
	}
	pod := onePod("c")
	pod.Status.QOSClass = corev1.PodQOSGuaranteed
	if got := qosClass(pod); got != corev1.PodQOSGuaranteed {
		t.Errorf("the API server's class is %s", got)
	}
}

// What a kubelet 1.36 says of a container's mounts, user and resources, and of those of the Pod.
func TestStatusOfWhatContainersHave(t *testing.T) {
	pod := onePod("new", "old")
	never := corev1.RecursiveReadOnlyDisabled
	always := corev1.RecursiveReadOnlyIfPossible
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		c.VolumeMounts = []corev1.VolumeMount{
			{Name: "data", MountPath: "/data"},
			{Name: "token", MountPath: "/token", ReadOnly: true},
			{Name: "a", MountPath: "/a", ReadOnly: true, RecursiveReadOnly: &never},
			{Name: "b", MountPath: "/b", ReadOnly: true, RecursiveReadOnly: &always},
		}
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	}
	s := runningState(pod)
	created := &s.Containers[0] // which was never created
	created.Stage, created.Started, created.ContainerID, created.ImageID = ModulePulling, false, "", ""
	cfg := Config{User: &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{UID: 7, GID: 8, SupplementalGroups: []int64{9}}}}
	got := deriveStatus(&s, cfg, status{}, epoch)
	const mounts = `"volumeMounts":[{"name":"data","mountPath":"/data"},` +
		`{"name":"token","mountPath":"/token","readOnly":true,"recursiveReadOnly":"Disabled"},` +
		`{"name":"a","mountPath":"/a","readOnly":true,"recursiveReadOnly":"Disabled"},` +
		`{"name":"b","mountPath":"/b","readOnly":true,"recursiveReadOnly":"Enabled"}]`
	for name, c := range map[string]struct {
		got  any
		want string
	}{
		"never created": {got.ContainerStatuses[0], `{"name":"new","state":{"waiting":{"reason":"ContainerCreating"}},"lastState":{},"ready":false,` +
			`"restartCount":0,"image":"img:1","imageID":"","started":false,` + mounts + `}`},
		"running": {got.ContainerStatuses[1], `{"name":"old","state":{"running":{"startedAt":"2026-01-02T03:04:05Z"}},"lastState":{},"ready":true,` +
			`"restartCount":0,"image":"img:1","imageID":"reg/img@sha256:1","containerID":"wazlet://old","started":true,` +
			`"allocatedResources":{"cpu":"100m"},"resources":{"limits":{"memory":"64Mi"},"requests":{"cpu":"100m"}},` + mounts + `,` +
			`"user":{"linux":{"uid":7,"gid":8,"supplementalGroups":[9]}}}`},
		"the Pod's": {
			corev1.PodStatus{AllocatedResources: got.AllocatedResources, Resources: got.Resources},
			`{"allocatedResources":{"cpu":"200m"},"resources":{"limits":{"memory":"128Mi"},"requests":{"cpu":"200m"}}}`,
		},
	} {
		text, err := json.Marshal(c.got)
		if d := cmp.Diff(c.want, string(text)); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
	}
}

// Every pair of stages: what the table has is made, everything else is a reported failure and changes nothing.
func TestEdgeTables(t *testing.T) {
	for from := StageAdmitting; from <= StageEnded; from++ {
		for to := StageAdmitting; to <= StageEnded; to++ {
			m := machine{State: newState(onePod("c"), actors.DefaultSupervision(), epoch), now: epoch}
			m.Stage = from
			m.become(to, "test")
			_, failed := m.out[0].(observe).Event.(actors.Failure)
			if allowed := slices.Contains(edges(from), to); failed == allowed || (m.Stage == to) != (allowed || from == to) {
				t.Errorf("%s -> %s: allowed %t, failed %t, stage %s", from, to, allowed, failed, m.Stage)
			}
		}
	}
	for from := ModuleIdle; from <= ModuleExited; from++ {
		for to := ModuleIdle; to <= ModuleExited; to++ {
			m := machine{State: newState(onePod("c"), actors.DefaultSupervision(), epoch), now: epoch}
			c := &m.Containers[0]
			c.Stage = from
			m.moveTo(c, to)
			if allowed := slices.Contains(moduleEdges(from), to); (len(m.out) == 0) != allowed || (c.Stage == to) != (allowed || from == to) {
				t.Errorf("%s -> %s: allowed %t, stage %s, %v", from, to, allowed, c.Stage, m.out)
			}
		}
	}
	if edges(0) != nil || moduleEdges(0) != nil {
		t.Error("the zero stage leads somewhere")
	}
}

// TestRolesOfAHugePod: a Pod of thousands of containers once kept the pod actor busy for seconds with each event.
func TestRolesOfAHugePod(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "i"}, {Name: "s", RestartPolicy: &always}}}}
	for i := range 3000 {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "c" + strconv.Itoa(i)})
	}
	for name, want := range map[string]Role{"i": Init, "s": Sidecar, "c0": Main, "c2999": Main} {
		var got Role
		if n := testing.AllocsPerRun(10, func() { got = roleOf(pod, name) }); n != 0 || got != want {
			t.Errorf("%s: %v with %v allocations, want %v with none", name, got, n, want)
		}
	}
}
