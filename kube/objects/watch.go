package objects

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// entry is one object that is followed. It is the store of its own reflector.
type entry struct {
	key key
	// references and stop are guarded by Objects.mu.
	references int
	stop       context.CancelFunc

	// synced is closed when it is known whether the object exists.
	synced chan struct{}

	mu      sync.Mutex
	known   bool
	object  runtime.Object // nil: does not exist
	problem error          // the last one of the watch, nil when it works
	missed  bool           // somebody could not read it
	changed func()
}

func newEntry(k key) *entry {
	return &entry{key: k, references: 1, synced: make(chan struct{})}
}

// watchBackoff is the pause after a watch that failed. It begins short: the authorizer learns of a Pod at about the same
// time as its node does.
func watchBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 20 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 11, Cap: 30 * time.Second}
}

// tells says who is told of changes until ctx ends.
func (e *entry) tells(ctx context.Context, onChange func(kind, namespace, name string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changed = func() {
		if onChange != nil && ctx.Err() == nil {
			onChange(e.key.kind, e.key.namespace, e.key.name)
		}
	}
}

// fails tells whether the watch waits to be tried again.
func (e *entry) fails() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.problem != nil
}

// watch follows the object until ctx ends.
func (e *entry) watch(ctx context.Context, client kubernetes.Interface) {
	lw, expected := e.listWatch(client)
	cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, client), expected, e, cache.ReflectorOptions{
		Name: "objects", Backoff: watchBackoff(),
	}).RunWithContext(ctx)
}

// listWatch reads the one object by its name, which is all that the Node authorizer allows.
func (e *entry) listWatch(client kubernetes.Interface) (*cache.ListWatch, runtime.Object) {
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, e.key.name).String()
	configMaps, secrets := client.CoreV1().ConfigMaps(e.key.namespace), client.CoreV1().Secrets(e.key.namespace)
	isSecret := e.key.kind == KindSecret
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (list runtime.Object, err error) {
			o.FieldSelector = selector
			if isSecret {
				list, err = secrets.List(ctx, o)
			} else {
				list, err = configMaps.List(ctx, o)
			}
			e.note(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (w watch.Interface, err error) {
			o.FieldSelector = selector
			if isSecret {
				w, err = secrets.Watch(ctx, o)
			} else {
				w, err = configMaps.Watch(ctx, o)
			}
			e.note(err)
			return w, err
		},
	}
	if isSecret {
		return lw, &corev1.Secret{}
	}
	return lw, &corev1.ConfigMap{}
}

// note keeps the reason why the object cannot be read, for whoever waits for it.
func (e *entry) note(err error) {
	if errors.Is(err, context.Canceled) { // the end of this watch says nothing about the next one
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.problem = err
}

// read waits until it is known whether the object exists.
func (e *entry) read(ctx context.Context) (runtime.Object, error) {
	select {
	case <-e.synced:
	default:
		select {
		case <-e.synced:
		case <-ctx.Done():
			return nil, e.unread(ctx.Err())
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.object == nil {
		return nil, e.key.notFound()
	}
	return e.object, nil
}

// unread is the error of a read that waited for too long. It never looks like the absence of the object.
func (e *entry) unread(err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.missed = true
	if e.problem != nil {
		err = e.problem
	}
	return fmt.Errorf("failed to sync %s cache: %w", e.key.word(), err)
}

// word is the kind as the kubelet writes it.
func (k key) word() string { return strings.ToLower(k.kind) }

// notFound has the kubelet's words: configmap "x" not found.
func (k key) notFound() error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: k.word()}, k.name)
}

// set takes over what the reflector saw and tells of it, unless it is the first or the same.
func (e *entry) set(object runtime.Object) error {
	if object != nil {
		m, err := meta.Accessor(object)
		if err != nil {
			return err
		}
		m.SetManagedFields(nil)
	}
	e.mu.Lock()
	tell := e.missed
	if e.known {
		tell = version(e.object) != version(object)
	} else {
		e.known = true
		close(e.synced)
	}
	e.object, e.missed = object, false
	changed := e.changed
	e.mu.Unlock()
	if tell && changed != nil {
		changed()
	}
	return nil
}

// version tells two states of an object apart, a recreated one from the one before, too; empty for no object.
func version(object runtime.Object) string {
	if object == nil {
		return ""
	}
	m, err := meta.Accessor(object)
	if err != nil {
		return ""
	}
	return string(m.GetUID()) + "/" + m.GetResourceVersion()
}

func (e *entry) put(obj any) error {
	object, ok := obj.(runtime.Object)
	if !ok {
		return fmt.Errorf("follow %s %s/%s: got a %T", e.key.word(), e.key.namespace, e.key.name, obj)
	}
	return e.set(object)
}

// Add implements cache.ReflectorStore.
func (e *entry) Add(obj any) error { return e.put(obj) }

// Update implements cache.ReflectorStore.
func (e *entry) Update(obj any) error { return e.put(obj) }

// Delete implements cache.ReflectorStore.
func (e *entry) Delete(any) error { return e.set(nil) }

// Replace implements cache.ReflectorStore.
func (e *entry) Replace(list []any, _ string) error {
	for _, obj := range list {
		if m, err := meta.Accessor(obj); err == nil && m.GetName() == e.key.name {
			return e.put(obj)
		}
	}
	return e.set(nil)
}

// Resync implements cache.ReflectorStore.
func (e *entry) Resync() error { return nil }
