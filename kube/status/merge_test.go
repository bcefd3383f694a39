package status

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	early = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	later = metav1.NewTime(early.Add(time.Minute))
	now   = metav1.NewTime(early.Add(time.Hour))
)

func condition(t corev1.PodConditionType, s corev1.ConditionStatus, at metav1.Time) corev1.PodCondition {
	return corev1.PodCondition{Type: t, Status: s, LastTransitionTime: at}
}

func exited(name string, code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: early},
	}}
}

func running(name string) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name: name, Ready: true, ContainerID: "wazlet://" + name,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: early}},
	}
}

func waiting(name string) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}},
	}
}

// livePod is a Pod as the API has it right after scheduling.
func livePod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1", Generation: 3},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "b"}, {Name: "a"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodPending, QOSClass: corev1.PodQOSBestEffort,
			Conditions: []corev1.PodCondition{condition(corev1.PodScheduled, corev1.ConditionTrue, early)},
		},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func TestMerge(t *testing.T) {
	type status = corev1.PodStatus
	said := func(s status) *entry { return &entry{pod: livePod(), status: s, known: true} }
	for _, tc := range []struct {
		name string
		live *corev1.Pod
		said *entry
		// check gets the result and says what is wrong with it.
		check func(s status) string
	}{
		{
			"conditions: others kept in place, own ones replaced or removed",
			livePod(func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{
					condition("example.com/gate", corev1.ConditionTrue, early),
					condition(corev1.PodReady, corev1.ConditionFalse, early),
					condition(corev1.AllContainersRestarting, corev1.ConditionTrue, early),
					condition(corev1.PodScheduled, corev1.ConditionTrue, early),
				}
			}),
			said(status{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
				condition(corev1.ContainersReady, corev1.ConditionTrue, metav1.Time{}),
				condition(corev1.PodReady, corev1.ConditionTrue, later),
				condition("example.com/gate", corev1.ConditionFalse, later),
				condition("example.com/other", corev1.ConditionFalse, later),
			}}),
			func(s status) string {
				seen := func(c corev1.PodCondition, g int64) corev1.PodCondition { c.ObservedGeneration = g; return c }
				return cmp.Diff([]corev1.PodCondition{
					condition("example.com/gate", corev1.ConditionTrue, early),
					seen(condition(corev1.PodReady, corev1.ConditionTrue, later), 3),
					condition(corev1.PodScheduled, corev1.ConditionTrue, early),
					seen(condition(corev1.ContainersReady, corev1.ConditionTrue, now), 3),
				}, s.Conditions)
			},
		},
		{
			"lastTransitionTime only on change",
			livePod(func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{
					condition(corev1.PodReady, corev1.ConditionTrue, early),
					condition(corev1.PodInitialized, corev1.ConditionFalse, early),
				}
			}),
			said(status{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
				condition(corev1.PodReady, corev1.ConditionTrue, later),
				condition(corev1.PodInitialized, corev1.ConditionTrue, later),
			}}),
			func(s status) string {
				return cmp.Diff([]metav1.Time{early, later}, []metav1.Time{s.Conditions[0].LastTransitionTime, s.Conditions[1].LastTransitionTime})
			},
		},
		{
			"times in seconds",
			livePod(),
			said(status{
				Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: early.Add(123 * time.Millisecond)},
				Conditions: []corev1.PodCondition{condition(corev1.PodReady, "True", metav1.NewTime(later.Add(999*time.Millisecond)))},
			}),
			func(s status) string {
				return cmp.Diff([]metav1.Time{early, later}, []metav1.Time{*s.StartTime, s.Conditions[1].LastTransitionTime})
			},
		},
		{
			"start time is immutable", livePod(func(p *corev1.Pod) { p.Status.StartTime = &early }),
			said(status{Phase: corev1.PodRunning, StartTime: &later}),
			func(s status) string { return cmp.Diff(&early, s.StartTime) },
		},
		{
			"a pod that waits has no start time", livePod(), said(status{Phase: corev1.PodPending, StartTime: &metav1.Time{}}),
			func(s status) string { return cmp.Diff((*metav1.Time)(nil), s.StartTime) },
		},
		{
			"a pod that was refused has one", livePod(), said(status{Phase: corev1.PodFailed, Reason: "OutOfpods"}),
			func(s status) string { return cmp.Diff(&now, s.StartTime) },
		},
		{
			"foreign and immutable fields stay",
			livePod(func(p *corev1.Pod) {
				p.Status.QOSClass, p.Status.NominatedNodeName = corev1.PodQOSGuaranteed, "n"
				p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "gpu"}}
				p.Status.PodIP, p.Status.PodIPs = "10.0.0.7", []corev1.PodIP{{IP: "10.0.0.7"}}
			}),
			said(status{Phase: corev1.PodRunning, QOSClass: corev1.PodQOSBurstable, HostIP: "1.2.3.4", HostIPs: []corev1.HostIP{{IP: "1.2.3.4"}}}),
			func(s status) string {
				return cmp.Diff(status{
					ObservedGeneration: 3, Phase: corev1.PodRunning, QOSClass: corev1.PodQOSGuaranteed, NominatedNodeName: "n", StartTime: &now,
					ResourceClaimStatuses: []corev1.PodResourceClaimStatus{{Name: "gpu"}},
					HostIP:                "1.2.3.4", HostIPs: []corev1.HostIP{{IP: "1.2.3.4"}},
					PodIP: "10.0.0.7", PodIPs: []corev1.PodIP{{IP: "10.0.0.7"}},
					Conditions: []corev1.PodCondition{condition(corev1.PodScheduled, corev1.ConditionTrue, early)},
				}, s)
			},
		},
		{
			"observed generation does not go back", livePod(func(p *corev1.Pod) { p.Status.ObservedGeneration = 7 }),
			said(status{ObservedGeneration: 5, Phase: corev1.PodRunning}),
			func(s status) string { return cmp.Diff(int64(7), s.ObservedGeneration) },
		},
		{
			"a terminal phase is final, whoever wrote it",
			livePod(func(p *corev1.Pod) {
				p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "by the API"
			}),
			said(status{Phase: corev1.PodSucceeded, Conditions: []corev1.PodCondition{
				condition(corev1.PodReady, "True", later), condition(corev1.ContainersReady, "True", later),
			}}),
			func(s status) string {
				ready := conditionOf(s.Conditions, corev1.PodReady)
				return cmp.Diff([]string{"Failed", "Evicted", "by the API", "False", "PodFailed"},
					[]string{string(s.Phase), s.Reason, s.Message, string(ready.Status), ready.Reason})
			},
		},
		{
			"a terminal pod is not ready", livePod(),
			said(status{Phase: corev1.PodSucceeded, Conditions: []corev1.PodCondition{
				condition(corev1.PodReady, "True", early), condition(corev1.ContainersReady, "False", early),
			}}),
			func(s status) string {
				var got []string
				for _, c := range s.Conditions[1:] {
					got = append(got, string(c.Type)+" "+string(c.Status)+" "+c.Reason)
				}
				return cmp.Diff([]string{"Ready False PodCompleted", "ContainersReady False PodCompleted"}, got)
			},
		},
		{
			"DisruptionTarget comes with the terminal phase", livePod(),
			said(status{Phase: corev1.PodFailed, Conditions: []corev1.PodCondition{condition(corev1.DisruptionTarget, "True", later)}}),
			func(s status) string {
				c := conditionOf(s.Conditions, corev1.DisruptionTarget)
				return cmp.Diff(&corev1.PodCondition{Type: corev1.DisruptionTarget, Status: "True", LastTransitionTime: later, ObservedGeneration: 3}, c)
			},
		},
		{
			"and not before", livePod(),
			said(status{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{condition(corev1.DisruptionTarget, "True", later)}}),
			func(s status) string {
				return cmp.Diff((*corev1.PodCondition)(nil), conditionOf(s.Conditions, corev1.DisruptionTarget))
			},
		},
		{
			"containers by name, init containers as specified, messages cut",
			livePod(func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "z"}, {Name: "y"}} }),
			said(status{
				Phase:             corev1.PodRunning,
				ContainerStatuses: []corev1.ContainerStatus{running("b"), running("a")},
				InitContainerStatuses: []corev1.ContainerStatus{exited("y", 0), {Name: "z", State: corev1.ContainerState{
					Terminated: &corev1.ContainerStateTerminated{Message: strings.Repeat("é", 2000)},
				}}},
			}),
			func(s status) string {
				got := []string{s.ContainerStatuses[0].Name, s.ContainerStatuses[1].Name, s.InitContainerStatuses[0].Name, s.InitContainerStatuses[1].Name}
				message := s.InitContainerStatuses[0].State.Terminated.Message
				return cmp.Diff([]string{"a", "b", "z", "y"}, got) + cmp.Diff(strings.Repeat("é", 12<<10/4/2), message)
			},
		},
		{
			"an ended pod that nobody knew has failed", livePod(), &entry{pod: livePod(), ended: true},
			func(s status) string {
				return cmp.Diff([]any{corev1.PodFailed, int64(3)}, []any{s.Phase, s.ObservedGeneration})
			},
		},
		{
			"what ran when it was last seen was lost", livePod(),
			&entry{pod: livePod(), known: true, ended: true, status: status{
				Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{exited("a", 0), running("b")},
			}},
			func(s status) string {
				return cmp.Diff(corev1.PodFailed, s.Phase) + cmp.Diff(exited("a", 0), s.ContainerStatuses[0]) + cmp.Diff(corev1.ContainerStatus{
					Name: "b", ContainerID: "wazlet://b", Started: new(bool), State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
						Reason: "ContainerStatusUnknown", ExitCode: 137, StartedAt: early, ContainerID: "wazlet://b",
						Message: "The container could not be located when the pod was terminated",
					}},
				}, s.ContainerStatuses[1])
			},
		},
		{
			"an ended pod keeps its success", livePod(),
			&entry{pod: livePod(), known: true, ended: true, status: status{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{exited("a", 0)}}},
			func(s status) string { return cmp.Diff(corev1.PodSucceeded, s.Phase) },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := tc.live.DeepCopy()
			s := merge(tc.live, tc.said, now)
			if diff := tc.check(s); diff != "" {
				t.Errorf("merged (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.live); diff != "" {
				t.Errorf("the API's Pod was modified:\n%s", diff)
			}
			written := tc.live.DeepCopy()
			written.Status = s
			again := merge(written, tc.said, metav1.NewTime(now.Add(time.Hour)))
			if !apiequality.Semantic.DeepEqual(s, again) {
				t.Errorf("merged once more it changes:\n%s", cmp.Diff(s, again))
			}
		})
	}
}

func TestKeepTerminated(t *testing.T) {
	always, never, onFailure := corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure
	rule := func(op corev1.ContainerRestartRuleOnExitCodesOperator, a corev1.ContainerRestartRuleAction, codes ...int32) corev1.ContainerRestartRule {
		return corev1.ContainerRestartRule{Action: a, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: op, Values: codes}}
	}
	in, notIn := corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn
	restart := corev1.ContainerRestartRuleActionRestart
	for _, tc := range []struct {
		name   string
		policy corev1.RestartPolicy
		c      corev1.Container
		code   int32
		kept   bool
	}{
		{"always", corev1.RestartPolicyAlways, corev1.Container{}, 0, false},
		{"never", corev1.RestartPolicyNever, corev1.Container{}, 1, true},
		{"on failure, failed", corev1.RestartPolicyOnFailure, corev1.Container{}, 1, false},
		{"on failure, succeeded", corev1.RestartPolicyOnFailure, corev1.Container{}, 0, true},
		{"sidecar", corev1.RestartPolicyNever, corev1.Container{RestartPolicy: &always}, 0, false},
		{"container never", corev1.RestartPolicyOnFailure, corev1.Container{RestartPolicy: &never}, 1, true},
		{"container on failure", corev1.RestartPolicyNever, corev1.Container{RestartPolicy: &onFailure}, 2, false},
		{"rule in", corev1.RestartPolicyNever, corev1.Container{RestartPolicyRules: []corev1.ContainerRestartRule{rule(in, restart, 42)}}, 42, false},
		{"rule not in", corev1.RestartPolicyNever, corev1.Container{RestartPolicyRules: []corev1.ContainerRestartRule{rule(notIn, restart, 42)}}, 42, true},
		{"rule without codes", corev1.RestartPolicyNever, corev1.Container{RestartPolicyRules: []corev1.ContainerRestartRule{{Action: restart}}}, 42, true},
		{
			"all restart", corev1.RestartPolicyNever, corev1.Container{RestartPolicyRules: []corev1.ContainerRestartRule{
				rule(in, corev1.ContainerRestartRuleActionRestartAllContainers, 9),
			}}, 0, false,
		},
	} {
		for _, init := range []bool{false, true} {
			tc.c.Name = "a"
			live := livePod(func(p *corev1.Pod) {
				p.Spec.RestartPolicy, p.Spec.Containers = tc.policy, []corev1.Container{tc.c}
				p.Status.ContainerStatuses = []corev1.ContainerStatus{exited("a", tc.code)}
				if init {
					p.Spec.InitContainers, p.Spec.Containers = p.Spec.Containers, nil
					p.Status.InitContainerStatuses, p.Status.ContainerStatuses = p.Status.ContainerStatuses, nil
				}
			})
			s := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{running("a"), running("new")}}
			list := &s.ContainerStatuses
			if init {
				s.InitContainerStatuses, s.ContainerStatuses = s.ContainerStatuses, nil
				list = &s.InitContainerStatuses
			}
			keepTerminated(live, &s)
			want := running("a")
			if tc.kept {
				want = exited("a", tc.code)
			}
			if diff := cmp.Diff([]corev1.ContainerStatus{want, running("new")}, *list); diff != "" {
				t.Errorf("%s, init %v (-want +got):\n%s", tc.name, init, diff)
			}
		}
	}
}

func TestFinishWithInitContainers(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	up := running("i2")
	up.Started = new(true)
	for _, tc := range []struct {
		name  string
		last  corev1.Container
		inits []corev1.ContainerStatus
		mains []corev1.ContainerStatus
		want  string // of each container: l(ost), w(aiting), t(erminated)
	}{
		{"nothing ever began", corev1.Container{Name: "i2"}, []corev1.ContainerStatus{waiting("i1"), waiting("i2")}, []corev1.ContainerStatus{waiting("a")}, "lw w"},
		{"no statuses", corev1.Container{Name: "i2"}, nil, nil, " "},
		{"the first one failed", corev1.Container{Name: "i2"}, []corev1.ContainerStatus{exited("i1", 1), waiting("i2")}, []corev1.ContainerStatus{waiting("a")}, "tw w"},
		{"the last one was running", corev1.Container{Name: "i2"}, []corev1.ContainerStatus{exited("i1", 0), running("i2")}, []corev1.ContainerStatus{waiting("a")}, "tl w"},
		{"all initialized", corev1.Container{Name: "i2"}, []corev1.ContainerStatus{exited("i1", 0), exited("i2", 0)}, []corev1.ContainerStatus{waiting("a")}, "tt l"},
		{"mains began", corev1.Container{Name: "i2"}, []corev1.ContainerStatus{waiting("i1"), waiting("i2")}, []corev1.ContainerStatus{running("a")}, "lw l"},
		{"a sidecar that is up", corev1.Container{Name: "i2", RestartPolicy: &always}, []corev1.ContainerStatus{exited("i1", 0), up}, []corev1.ContainerStatus{waiting("a")}, "tl l"},
		{"a sidecar that is not", corev1.Container{Name: "i2", RestartPolicy: &always}, []corev1.ContainerStatus{exited("i1", 0), running("i2")}, []corev1.ContainerStatus{waiting("a")}, "tl w"},
	} {
		pod := livePod(func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "i1"}, tc.last} })
		s := corev1.PodStatus{InitContainerStatuses: tc.inits, ContainerStatuses: tc.mains}
		finish(pod, &s)
		got := letters(s.InitContainerStatuses) + " " + letters(s.ContainerStatuses)
		if got != tc.want || s.Phase != corev1.PodFailed {
			t.Errorf("%s: got %q %s, want %q Failed", tc.name, got, s.Phase, tc.want)
		}
	}
}

func letters(list []corev1.ContainerStatus) string {
	var out strings.Builder
	for _, c := range list {
		switch {
		case c.State.Terminated != nil && c.State.Terminated.Reason == reasonUnknown:
			out.WriteByte('l')
		case c.State.Terminated != nil:
			out.WriteByte('t')
		case c.State.Waiting != nil:
			out.WriteByte('w')
		default:
			out.WriteByte('r')
		}
	}
	return out.String()
}

func TestDiff(t *testing.T) {
	live := livePod(func(p *corev1.Pod) { p.ResourceVersion = "77" })
	if patch, err := diff(live, *live.Status.DeepCopy(), false); patch != nil || err != nil {
		t.Errorf("the same: got %s, %v", patch, err)
	}
	next := *live.Status.DeepCopy()
	next.Phase = corev1.PodRunning
	next.ContainerStatuses = []corev1.ContainerStatus{}
	patch, err := diff(live, next, false)
	if want := `{"metadata":{"uid":"u1"},"status":{"phase":"Running"}}`; err != nil || string(patch) != want {
		t.Errorf("got %s, %v, want %s", patch, err, want)
	}
}
