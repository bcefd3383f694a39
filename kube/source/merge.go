package source

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// MirrorAnnotation marks the copy of a static Pod in the API; its value is the static Pod's HashAnnotation.
const MirrorAnnotation = mirrorAnnotation

// APISource is the value of SourceAnnotation for Pods from the API.
const APISource = "api"

// IsMirror tells whether a Pod of the API only shows a static Pod of its node.
func IsMirror(p *corev1.Pod) bool {
	_, marked := p.Annotations[MirrorAnnotation]
	return marked
}

// IsStatic tells whether a Pod as the node knows it comes from a manifest. Merge makes sure that no Pod of the API can
// claim that.
func IsStatic(p *corev1.Pod) bool {
	from, given := p.Annotations[SourceAnnotation]
	return given && from != APISource
}

// MergeOptions are where a Merge sends what it makes. The callbacks are called one at a time, in order, on the goroutine
// of whoever brought the news: they must not block and must not call the Merge. The Pods belong to the receiver.
type MergeOptions struct {
	// OnResync is told the complete list of wanted Pods, static ones first: once, as soon as every source was complete.
	OnResync func([]*corev1.Pod)
	// OnApply is told a Pod that is new or changed, OnRemove the UID of one that is wanted no more. Both are called only
	// after OnResync, but see EarlyStatic.
	OnApply  func(*corev1.Pod)
	OnRemove func(types.UID)
	// EarlyStatic applies static Pods without waiting for the API, as a kubelet does: a node that boots without its
	// control plane runs them. Nothing is removed early.
	EarlyStatic bool
}

// Merge makes one list of Pods from those of the manifests and those of the API. Feed it with Static, Changed, Gone, Synced
// and Ended, from any goroutine.
//
// Mirror Pods are not Pods of their own and stay out. A Pod of the API that has the namespace and name of a static Pod, but
// is no mirror, is passed on: of two Pods with one name the node runs the one that it had first, and the other one
// afterwards. In a complete list the static Pod comes first.
type Merge struct {
	o  MergeOptions
	mu sync.Mutex

	static []*corev1.Pod
	api    map[types.UID]*corev1.Pod
	// over are the Pods of the API that the node is done with, see Ended.
	over map[types.UID]bool

	staticReady, apiReady bool
}

// NewMerge returns a Merge that waits for both sources.
func NewMerge(o MergeOptions) *Merge {
	return &Merge{o: o, api: map[types.UID]*corev1.Pod{}, over: map[types.UID]bool{}}
}

func (m *Merge) ready() bool { return m.staticReady && m.apiReady }

// Static is told the complete list of static Pods; it is an OnPods of Options. A node without manifests says so with nil.
func (m *Merge) Static(pods []*corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.static
	m.static = slices.Clone(pods)
	wasReady := m.ready()
	m.staticReady = true
	switch {
	case wasReady:
		now := uidsOf(pods)
		for _, p := range before {
			if !now[p.UID] {
				m.o.OnRemove(p.UID)
			}
		}
		m.applyMissing(before)
	case m.ready():
		m.resync()
	case m.o.EarlyStatic:
		m.applyMissing(before)
	}
}

// applyMissing applies the static Pods that are not in before.
func (m *Merge) applyMissing(before []*corev1.Pod) {
	had := uidsOf(before)
	for _, p := range m.static {
		if !had[p.UID] {
			m.o.OnApply(p.DeepCopy())
		}
	}
}

func uidsOf(pods []*corev1.Pod) map[types.UID]bool {
	set := make(map[types.UID]bool, len(pods))
	for _, p := range pods {
		set[p.UID] = true
	}
	return set
}

// Changed is told a Pod of the API that is new or changed; it is an OnChange of PodsOptions. The Pod is not modified.
func (m *Merge) Changed(pod *corev1.Pod) {
	if IsMirror(pod) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.api[pod.UID]
	m.api[pod.UID] = pod
	if m.ready() && !m.over[pod.UID] && (before == nil || matters(before, pod)) {
		m.o.OnApply(fromAPI(pod))
	}
}

// Gone is told a Pod that the API has no longer; it is an OnGone of PodsOptions.
func (m *Merge) Gone(pod *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.api[pod.UID]; !known {
		return
	}
	delete(m.api, pod.UID)
	delete(m.over, pod.UID)
	if m.ready() {
		m.o.OnRemove(pod.UID)
	}
}

// Synced is told that the Pods of the API are complete; it is an OnSynced of PodsOptions.
func (m *Merge) Synced() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.apiReady {
		return
	}
	m.apiReady = true
	if m.ready() {
		m.resync()
	}
}

// Ended is told that the node has ended a Pod and forgotten it. A Pod of the API never comes back from that: its object may
// stay for a while, for its finalizers or because nobody deletes it, and its changes must not start it anew.
func (m *Merge) Ended(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.api[uid]; known {
		m.over[uid] = true
	}
}

func (m *Merge) resync() {
	list := make([]*corev1.Pod, 0, len(m.static)+len(m.api))
	for _, p := range m.static {
		list = append(list, p.DeepCopy())
	}
	for uid, p := range m.api {
		if !m.over[uid] {
			list = append(list, fromAPI(p))
		}
	}
	slices.SortStableFunc(list[len(m.static):], func(a, b *corev1.Pod) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	m.o.OnResync(list)
}

// fromAPI is a copy that says where it comes from, whatever its annotations claim.
func fromAPI(pod *corev1.Pod) *corev1.Pod {
	p := pod.DeepCopy()
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	p.Annotations[SourceAnnotation] = APISource
	return p
}

// matters tells whether the node should see the difference between two versions of a Pod. Most changes are echoes of the
// statuses that it wrote itself.
func matters(a, b *corev1.Pod) bool {
	return finished(a) != finished(b) ||
		!apiequality.Semantic.DeepEqual(meta(a), meta(b)) ||
		!apiequality.Semantic.DeepEqual(a.Spec, b.Spec) ||
		!apiequality.Semantic.DeepEqual(gates(a), gates(b))
}

// finished tells whether the API has a Pod for finished that nobody deletes. One that is deleted ends anyway.
func finished(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && (p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed)
}

func meta(p *corev1.Pod) metav1.ObjectMeta {
	m := p.ObjectMeta
	m.ResourceVersion, m.ManagedFields = "", nil
	return m
}

// gates are the conditions that others write and the Pod waits for.
func gates(p *corev1.Pod) []corev1.PodCondition {
	var list []corev1.PodCondition
	for _, g := range p.Spec.ReadinessGates {
		for _, c := range p.Status.Conditions {
			if c.Type == g.ConditionType {
				list = append(list, c)
			}
		}
	}
	return list
}
