package status

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wazlet/wazlet/kube/source"
)

// syncMirror makes the mirror of a name what it should be, and gives it the static Pod's status. Live is the mirror that
// there is, nil for none.
func (m *Manager) syncMirror(ctx context.Context, name types.NamespacedName, r record, live *corev1.Pod, staticsKnown bool) error {
	live, err := m.settleOn(ctx, r, live, staticsKnown)
	if err != nil {
		return err
	}
	if e := shown(r, live); e != nil && e.known {
		if live, err = m.write(ctx, live, e, false); err != nil {
			return err
		}
		if live != nil {
			m.settle(name, e)
		}
	}
	for uid, e := range r.pods {
		switch {
		case e.ended, !source.IsStatic(e.pod):
			m.forget(name, uid)
		case e != shown(r, live): // it has, for the time being, no mirror to show itself in
			m.settle(name, e)
		}
	}
	m.settleMirror(name, r.static)
	return nil
}

// settleOn removes a mirror that should not be there and makes the one that should. It returns the mirror that is there
// then.
func (m *Manager) settleOn(ctx context.Context, r record, live *corev1.Pod, staticsKnown bool) (*corev1.Pod, error) {
	if live != nil && !m.stays(r, live, staticsKnown) {
		if err := m.remove(ctx, live); err != nil {
			return nil, err
		}
		live = nil
	}
	if live == nil && r.static != nil {
		return m.create(ctx, r.static)
	}
	return live, nil
}

// stays tells whether a mirror may stay: it shows the version of its static Pod that is wanted, or one that is still ending
// and has no successor. A mirror that is over cannot show a static Pod that has begun once more.
func (m *Manager) stays(r record, live *corev1.Pod, staticsKnown bool) bool {
	switch {
	case !staticsKnown:
		return true
	case live.DeletionTimestamp != nil:
		return false
	}
	e := shown(r, live)
	if r.static == nil {
		return e != nil && !e.ended
	}
	again := e != nil && e.known && !e.ended && terminal(live.Status.Phase) && !terminal(e.status.Phase)
	return shows(live, r.static) && !again
}

// shown returns what the node says of the static Pod behind a mirror.
func shown(r record, mirror *corev1.Pod) *entry {
	if mirror == nil {
		return nil
	}
	for _, e := range r.pods {
		if source.IsStatic(e.pod) && shows(mirror, e.pod) {
			return e
		}
	}
	return nil
}

// shows tells whether mirror is that of static, in this very version.
func shows(mirror, static *corev1.Pod) bool {
	return mirror.Annotations[source.MirrorAnnotation] == hashOf(static)
}

func hashOf(static *corev1.Pod) string { return static.Annotations[source.HashAnnotation] }

// create makes the mirror of a static Pod.
func (m *Manager) create(ctx context.Context, static *corev1.Pod) (*corev1.Pod, error) {
	node, err := m.c.Node()
	if err == nil && node.UID == "" {
		err = fmt.Errorf("node %s has no UID yet", m.c.NodeName)
	}
	if err != nil {
		return nil, fmt.Errorf("create mirror pod: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	live, err := m.c.Client.CoreV1().Pods(static.Namespace).Create(ctx, mirrorOf(static, node), metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create mirror pod: %w", err)
	}
	return live, nil
}

// mirrorOf returns the mirror of a static Pod. The admission of the API server wants the Node as its owner, in exactly this
// form.
func mirrorOf(static *corev1.Pod, node *corev1.Node) *corev1.Pod {
	isController := true
	annotations := maps.Clone(static.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[source.MirrorAnnotation] = hashOf(static)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: static.Namespace, Name: static.Name, Labels: maps.Clone(static.Labels), Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: &isController,
			}},
		},
		Spec: *static.Spec.DeepCopy(),
	}
}
