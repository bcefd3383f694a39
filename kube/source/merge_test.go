package source

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// tape writes down what a Merge says.
type tape struct{ lines []string }

func (l *tape) options(early bool) MergeOptions {
	return MergeOptions{
		OnResync: func(pods []*corev1.Pod) {
			var all []string
			for _, p := range pods {
				all = append(all, string(p.UID)+"/"+p.Annotations[SourceAnnotation])
			}
			l.lines = append(l.lines, "resync "+strings.Join(all, " "))
		},
		OnApply: func(p *corev1.Pod) {
			l.lines = append(l.lines, "apply "+string(p.UID)+"/"+p.Annotations[SourceAnnotation])
		},
		OnRemove:    func(uid types.UID) { l.lines = append(l.lines, "remove "+string(uid)) },
		EarlyStatic: early,
	}
}

var born = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func apiPod(uid string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			UID: types.UID(uid), Namespace: "shop", Name: "pod-" + uid, ResourceVersion: "1",
			CreationTimestamp: metav1.NewTime(born.Add(time.Duration(uid[len(uid)-1]) * time.Second)),
		},
		Spec: corev1.PodSpec{NodeName: "n", ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "gate"}}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func staticPod(uid string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		UID: types.UID(uid), Namespace: "kube-system", Name: "static-n",
		Annotations: map[string]string{SourceAnnotation: FileSource, HashAnnotation: uid},
	}}
}

func mirror(p *corev1.Pod) { p.Annotations = map[string]string{MirrorAnnotation: "s1"} }

func deleted(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: born} }

func TestMerge(t *testing.T) {
	statics := func(uids ...string) func(*Merge) {
		return func(m *Merge) {
			var list []*corev1.Pod
			for _, u := range uids {
				list = append(list, staticPod(u))
			}
			m.Static(list)
		}
	}
	changed := func(uid string, change ...func(*corev1.Pod)) func(*Merge) {
		return func(m *Merge) { m.Changed(apiPod(uid, change...)) }
	}
	gone := func(uid string) func(*Merge) { return func(m *Merge) { m.Gone(apiPod(uid)) } }
	ended := func(uid types.UID) func(*Merge) { return func(m *Merge) { m.Ended(uid) } }
	phase := func(f corev1.PodPhase) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.Phase = f } }
	synced := (*Merge).Synced
	for _, tc := range []struct {
		name  string
		early bool
		do    []func(*Merge)
		want  []string
	}{
		{name: "nothing before the API is complete", do: []func(*Merge){statics("s1"), changed("a1"), gone("a1"), changed("a2")}},
		{name: "nothing before the manifests are read", do: []func(*Merge){changed("a1"), synced, changed("a2"), gone("a2")}},
		{
			name: "manifests last", do: []func(*Merge){changed("a2"), changed("a1"), synced, statics("s1")},
			want: []string{"resync s1/file a1/api a2/api"},
		},
		{
			name: "API last", do: []func(*Merge){statics(), changed("a1"), changed("a2"), gone("a1"), synced, synced},
			want: []string{"resync a2/api"},
		},
		{name: "nothing at all is a complete list", do: []func(*Merge){statics(), synced}, want: []string{"resync "}},
		{
			name: "early static pods are applied and never removed", early: true,
			do:   []func(*Merge){statics("s1"), changed("a1"), statics("s2"), synced, statics()},
			want: []string{"apply s1/file", "apply s2/file", "resync s2/file a1/api", "remove s2"},
		},
		{
			name: "a changed manifest is another pod",
			do:   []func(*Merge){synced, statics("s1", "s3"), statics("s3", "s2"), statics("s3", "s2")},
			want: []string{"resync s1/file s3/file", "remove s1", "apply s2/file"},
		},
		{
			name: "pods come, change and go",
			do: []func(*Merge){synced, statics(), changed("a1"), changed("a1", func(p *corev1.Pod) {
				p.Labels = map[string]string{"a": "b"}
			}), changed("a1", deleted), gone("a1"), gone("a1")},
			want: []string{"resync ", "apply a1/api", "apply a1/api", "apply a1/api", "remove a1"},
		},
		{
			name: "echoes of the node's own statuses are not news",
			do: []func(*Merge){statics(), synced, changed("a1"), changed("a1", func(p *corev1.Pod) {
				p.ResourceVersion, p.Status.PodIP, p.ManagedFields = "2", "10.0.0.1", []metav1.ManagedFieldsEntry{{}}
			}), changed("a1", phase(corev1.PodRunning))},
			want: []string{"resync ", "apply a1/api"},
		},
		{
			name: "conditions of readiness gates are",
			do: []func(*Merge){statics(), changed("a1"), synced, changed("a1", func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{{Type: "gate", Status: "True"}, {Type: "other", Status: "True"}}
			}), changed("a1", func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{{Type: "gate", Status: "True"}, {Type: "other", Status: "False"}}
			})},
			want: []string{"resync a1/api", "apply a1/api"},
		},
		{
			name: "so is a phase that became terminal, unless the pod is being deleted",
			do: []func(*Merge){
				statics(), changed("a1"), changed("a2", deleted), synced, changed("a1", phase(corev1.PodFailed)),
				changed("a2", deleted, phase(corev1.PodFailed)),
			},
			want: []string{"resync a1/api a2/api", "apply a1/api"},
		},
		{
			name: "mirror pods stay out",
			do:   []func(*Merge){statics("s1"), changed("m1", mirror), synced, changed("m1", mirror, deleted), gone("m1")},
			want: []string{"resync s1/file"},
		},
		{
			name: "a pod of the API cannot pretend to be static",
			do: []func(*Merge){statics(), changed("a1", func(p *corev1.Pod) {
				p.Annotations = map[string]string{SourceAnnotation: FileSource}
			}), synced},
			want: []string{"resync a1/api"},
		},
		{
			name: "what the node has ended does not come back for its finalizers",
			do: []func(*Merge){
				statics(), changed("a1"), synced, changed("a1", deleted), ended("a1"),
				changed("a1", deleted, func(p *corev1.Pod) { p.DeletionGracePeriodSeconds = new(int64) }), gone("a1"), changed("a1"),
			},
			want: []string{"resync a1/api", "apply a1/api", "remove a1", "apply a1/api"},
		},
		{
			name: "ended before the first list", do: []func(*Merge){changed("a1"), changed("a2"), ended("a1"), synced, statics()},
			want: []string{"resync a2/api"},
		},
		{
			name: "a static pod that ended may come back", do: []func(*Merge){synced, statics("s1"), statics(), ended("s1"), statics("s1")},
			want: []string{"resync s1/file", "remove s1", "apply s1/file"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var l tape
			m := NewMerge(l.options(tc.early))
			for _, f := range tc.do {
				f(m)
			}
			if diff := cmp.Diff(tc.want, l.lines); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeGivesPodsAway(t *testing.T) {
	given := apiPod("a1")
	static := staticPod("s1")
	var got []*corev1.Pod
	m := NewMerge(MergeOptions{
		OnResync: func(pods []*corev1.Pod) { got = append(got, pods...) },
		OnApply:  func(p *corev1.Pod) { got = append(got, p) },
		OnRemove: func(types.UID) {},
	})
	m.Static([]*corev1.Pod{static})
	m.Changed(given)
	m.Synced()
	m.Changed(apiPod("a2"))
	for _, p := range got {
		p.Labels = map[string]string{"mine": "now"}
		p.Annotations["mine"] = "now"
	}
	if len(got) != 3 || given.Labels != nil || given.Annotations != nil || static.Annotations["mine"] != "" {
		t.Errorf("a receiver's changes show: %d pods, %v, %v", len(got), given.ObjectMeta, static.ObjectMeta)
	}
}

func TestSourceOfPods(t *testing.T) {
	for _, tc := range []struct {
		annotations      map[string]string
		static, mirrored bool
	}{
		{nil, false, false},
		{map[string]string{SourceAnnotation: APISource}, false, false},
		{map[string]string{SourceAnnotation: FileSource}, true, false},
		{map[string]string{SourceAnnotation: FileSource, MirrorAnnotation: "h"}, true, true},
	} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tc.annotations}}
		if IsStatic(p) != tc.static || IsMirror(p) != tc.mirrored {
			t.Errorf("%v: static %v, mirror %v", tc.annotations, IsStatic(p), IsMirror(p))
		}
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func names(pods []*corev1.Pod) []string {
	var list []string
	for _, p := range pods {
		list = append(list, fmt.Sprintf("%s/%s", p.Namespace, p.Name))
	}
	return sorted(list)
}
