package podactor

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// Only what may change in a Pod that exists is taken over, and neither Pod is changed by it.
func TestApplyTakesOverWhatMayChange(t *testing.T) {
	old := onePod("a", "b")
	old.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "gate"}}
	s := runningState(old)
	wanted := old.DeepCopy()
	n := int64(30)
	wanted.Labels = map[string]string{"x": "y"}
	wanted.Generation = 2
	wanted.Spec.TerminationGracePeriodSeconds, wanted.Spec.ActiveDeadlineSeconds = &n, &n
	wanted.Spec.RestartPolicy = corev1.RestartPolicyNever
	wanted.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "X"}}
	wanted.Spec.Containers = append(wanted.Spec.Containers, corev1.Container{Name: "c"})
	wanted.Status.Conditions = []corev1.PodCondition{{Type: "gate", Status: corev1.ConditionTrue}, {Type: "other"}}
	next, _ := step(s, applied{wanted}, epoch)
	p := next.Pod
	if p.Labels["x"] != "y" || p.Generation != 2 || *p.Spec.ActiveDeadlineSeconds != 30 || *p.Spec.TerminationGracePeriodSeconds != 30 {
		t.Errorf("not taken over: %+v", p)
	}
	if len(p.Status.Conditions) != 1 || p.Status.Conditions[0].Type != "gate" {
		t.Errorf("conditions %+v, want the gate's", p.Status.Conditions)
	}
	if p.Spec.RestartPolicy != corev1.RestartPolicyAlways || len(p.Spec.Containers) != 2 || p.Spec.Containers[0].Env != nil {
		t.Errorf("taken over although it cannot change: %+v", p.Spec)
	}
	if old.Labels != nil || s.Pod != old {
		t.Error("the old Pod was changed")
	}
	again, effects := step(next, applied{wanted.DeepCopy()}, epoch)
	if again.Pod != next.Pod || durable(&next, &again) || len(effects) != 0 {
		t.Errorf("a repetition is news: %v", effects)
	}
}

// A step never changes the state it was given: a panic must leave it intact.
func TestStepLeavesItsInputAlone(t *testing.T) {
	s := runningState(onePod("a"))
	before := s.clone()
	for _, e := range []event{
		exited{"a", *exitWith(1, "")}, crashed{"a", "bug"}, terminated{}, resumed{}, fired{timer{graceExpired, "", 0}},
	} {
		_, _ = step(s, e, epoch)
		if s.Stage != before.Stage || s.Deletion != nil || s.Containers[0] != before.Containers[0] {
			t.Fatalf("%T changed its input", e)
		}
	}
}

// A maximum that is lowered before it is known what is alive shortens the wait, but starts nothing.
func TestTuneBeforeTheScanArmsNothing(t *testing.T) {
	s := runningState(onePod("a"))
	s.Stage, s.Scanned, s.Busy = StagePreparing, false, true
	s.Containers[0].Stage, s.Containers[0].Attached = ModuleBackOff, false
	s.Containers[0].RetryAt = epoch.Add(time.Hour)
	next, effects := step(s, tuned{actors.DefaultSupervision()}, epoch)
	if len(effects) != 0 {
		t.Errorf("effects %v", effects)
	}
	if left := next.Containers[0].RetryAt.Sub(epoch); left != 5*time.Minute {
		t.Errorf("%s are left, want the maximum", left)
	}
}
