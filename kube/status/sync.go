package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/wazlet/wazlet/kube/source"
)

// errStale says that a Pod was changed since it was seen.
var errStale = errors.New("the pod has changed since")

// errLagging says that parts of the control plane do not agree yet; it is tried again without a word.
var errLagging = errors.New("the API server is behind")

// sync makes the API say of one name what the node does.
func (m *Manager) sync(ctx context.Context, name types.NamespacedName) error {
	r, staticsKnown := m.snapshot(name)
	cached := m.c.Pods.Get(name.Namespace, name.Name)
	if cached == nil && r.static == nil {
		m.forgetGone(name, r, staticsKnown)
		return nil
	}
	if len(r.pods) == 0 && r.static == nil && !source.IsMirror(cached) {
		return nil
	}
	if seen := freshest(r, cached); seen != nil {
		if err := m.syncPod(ctx, name, r, seen, true); !errors.Is(err, errStale) {
			return err
		}
	}
	live, err := m.get(ctx, name, cached != nil)
	r, staticsKnown = m.snapshot(name) // reading may have taken minutes, and only the latest is to be sent
	if err != nil {
		return err
	}
	m.noteAnswer(name, live)
	switch {
	case live == nil && r.static == nil:
		m.forgetGone(name, r, staticsKnown)
		return nil
	case live == nil || source.IsMirror(live):
		return m.syncMirror(ctx, name, r, live, staticsKnown)
	default:
		return m.syncPod(ctx, name, r, live, false)
	}
}

// freshest returns the newest version that is known of an ordinary Pod, which saves reading it; nil when it is to be read:
// where static Pods are about, or nobody knows which version is the newest.
func freshest(r record, cached *corev1.Pod) *corev1.Pod {
	if cached == nil || r.static != nil || r.doubt || source.IsMirror(cached) || r.pods[cached.UID] == nil || cached.ResourceVersion == "" {
		return nil
	}
	if r.latest == nil || r.latest.UID != cached.UID {
		return cached
	}
	return newer(cached, r.latest)
}

// newer returns a unless b is newer, and nil when that cannot be told.
func newer(a, b *corev1.Pod) *corev1.Pod {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	switch {
	case err != nil:
		return nil
	case order < 0:
		return b
	default:
		return a
	}
}

// forgetGone drops everything about a name that the API does not have. Static Pods wait until it is known whether they get
// a mirror.
func (m *Manager) forgetGone(name types.NamespacedName, r record, staticsKnown bool) {
	for uid, e := range r.pods {
		if staticsKnown || !source.IsStatic(e.pod) {
			m.forget(name, uid)
		}
	}
	m.settleMirror(name, nil)
}

// get reads the Pod, nil when there is none. Of Pods that are gone the Node authorizer knows nothing, and forbids them. It
// forbids new ones, too, until it has caught up; those the informer has seen.
func (m *Manager) get(ctx context.Context, name types.NamespacedName, seen bool) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	live, err := m.c.Client.CoreV1().Pods(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		return live, nil
	case apierrors.IsNotFound(err), noRelationship(err) && !seen:
		return nil, nil
	case noRelationship(err):
		return nil, errLagging
	default:
		return nil, fmt.Errorf("read pod: %w", err)
	}
}

// noRelationship recognizes how the Node authorizer speaks of Pods that are not, or no longer, this node's. A node that
// lacks permissions altogether is told something else.
func noRelationship(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "no relationship found")
}

// syncPod writes the status of an ordinary Pod, and deletes it for good when that is due. With seen the Pod was not read
// just now, and errStale may be the answer.
func (m *Manager) syncPod(ctx context.Context, name types.NamespacedName, r record, live *corev1.Pod, seen bool) error {
	for uid, e := range r.pods {
		if uid != live.UID && (e.ended || !source.IsStatic(e.pod)) {
			m.forget(name, uid)
		}
	}
	if e := r.pods[live.UID]; e != nil {
		if err := m.syncEntry(ctx, name, e, live, seen); err != nil {
			return err
		}
	}
	if r.static != nil {
		m.settleMirror(name, r.static)
		return &parkedError{fmt.Sprintf("static pod %s cannot be shown in the API: the name is that of another pod (uid %s)", name, live.UID)}
	}
	return nil
}

// parkedError is something that trying again does not mend; a change of the API's side does, and Observe is told of that.
type parkedError struct{ text string }

func (e *parkedError) Error() string { return e.text }

func (m *Manager) syncEntry(ctx context.Context, name types.NamespacedName, e *entry, live *corev1.Pod, seen bool) error {
	live, err := m.write(ctx, live, e, seen)
	if err != nil {
		return err
	}
	if live == nil {
		m.forget(name, e.pod.UID)
		return nil
	}
	if !deletable(live, e) {
		m.settle(name, e)
		return nil
	}
	if err := m.remove(ctx, live); err != nil {
		return err
	}
	m.forget(name, e.pod.UID)
	return nil
}

// deletable tells whether only our word is missing for the Pod to go. One whose grace is over already waits for its
// finalizers, not for us.
func deletable(live *corev1.Pod, e *entry) bool {
	if !e.ended || live.DeletionTimestamp == nil || !terminal(live.Status.Phase) {
		return false
	}
	g := live.DeletionGracePeriodSeconds
	return g == nil || *g != 0 || len(live.Finalizers) == 0
}

// write patches the status and returns the Pod as it is then, nil when it is gone. With seen nobody must have changed it
// since that version; else it is errStale.
func (m *Manager) write(ctx context.Context, live *corev1.Pod, e *entry, seen bool) (*corev1.Pod, error) {
	patch, err := diff(live, merge(live, e, m.now()), seen)
	if err != nil || patch == nil {
		return live, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	after, err := m.c.Client.CoreV1().Pods(live.Namespace).Patch(
		ctx, live.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	switch {
	case err == nil:
		m.noteAnswer(nameOf(after), after)
		return after, nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsConflict(err) && seen:
		return nil, errStale
	case apierrors.IsConflict(err), noRelationship(err): // replaced or removed since it was read
		return nil, errLagging
	default:
		return nil, fmt.Errorf("patch status: %w", err)
	}
}

// diff returns the patch that turns the status of live into next, with the UID as its precondition; nil when there is
// nothing to change. Unless exact, it names no resourceVersion: what others write meanwhile is no conflict.
func diff(live *corev1.Pod, next corev1.PodStatus, exact bool) ([]byte, error) {
	if apiequality.Semantic.DeepEqual(live.Status, next) {
		return nil, nil
	}
	before, err := json.Marshal(corev1.Pod{Status: live.Status})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	precondition := metav1.ObjectMeta{UID: live.UID}
	empty := fmt.Sprintf(`{"metadata":{"uid":%q}}`, live.UID)
	if exact {
		precondition.ResourceVersion = live.ResourceVersion
		empty = fmt.Sprintf(`{"metadata":{"resourceVersion":%q,"uid":%q}}`, live.ResourceVersion, live.UID)
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: precondition, Status: next})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare statuses: %w", err)
	}
	if string(patch) == empty {
		return nil, nil
	}
	return patch, nil
}

// remove deletes exactly this Pod, at once.
func (m *Manager) remove(ctx context.Context, live *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := m.c.Client.CoreV1().Pods(live.Namespace).Delete(ctx, live.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(live.UID)),
	})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || noRelationship(err) {
		return nil
	}
	return fmt.Errorf("delete pod: %w", err)
}

// reconcile enqueues whatever the API shows otherwise than it should, as far as the informer knows.
func (m *Manager) reconcile() {
	m.mu.Lock()
	names := make([]types.NamespacedName, 0, len(m.names))
	for name := range m.names {
		names = append(names, name)
	}
	m.mu.Unlock()
	for _, name := range names {
		r, _ := m.snapshot(name)
		if m.differs(r, m.c.Pods.Get(name.Namespace, name.Name)) {
			m.queue.Add(name)
		}
	}
	m.findOrphans()
}

// findOrphans enqueues the mirror Pods that no static Pod explains.
func (m *Manager) findOrphans() {
	for _, p := range m.c.Pods.List() {
		if source.IsMirror(p) {
			if r, staticsKnown := m.snapshot(nameOf(p)); staticsKnown && r.static == nil {
				m.queue.Add(nameOf(p))
			}
		}
	}
}

// differs tells whether a name needs a sync. Seen is what the informer has, nil for nothing.
func (m *Manager) differs(r record, seen *corev1.Pod) bool {
	if r.pending() || seen == nil || (r.static != nil && !shows(seen, r.static) && source.IsMirror(seen)) {
		return true
	}
	for uid, e := range r.pods {
		if source.IsMirror(seen) != source.IsStatic(e.pod) {
			continue
		}
		if !source.IsStatic(e.pod) && uid != seen.UID {
			return true
		}
		if deletable(seen, e) || !apiequality.Semantic.DeepEqual(seen.Status, merge(seen, e, m.now())) {
			return true
		}
	}
	return false
}

func (m *Manager) now() metav1.Time { return metav1.NewTime(m.c.Clock.Now()).Rfc3339Copy() }
