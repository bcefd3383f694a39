package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/kube/source"
)

const (
	// Reconcile is how often what the API shows is compared with what it should; the kubelet's.
	Reconcile = 10 * time.Second
	// DefaultWorkers is how many Pods are written at once.
	DefaultWorkers = 10
	// DefaultBackoffBase is the wait after a first failure, which doubles each time.
	DefaultBackoffBase = 100 * time.Millisecond
	// DefaultBackoffMax is the longest such wait.
	DefaultBackoffMax = 10 * time.Second
	// requestTimeout bounds one request, so that a server that does not answer holds no worker for ever.
	requestTimeout = 30 * time.Second
	// overtakeDelay is how long a status waits that only says that the deletion was seen, or that containers are being
	// created: the Pod's end, or its start, usually overtakes it.
	overtakeDelay = time.Second
)

// Pods is what is known of the API without asking it; source.Pods does. The Pods must not be modified.
type Pods interface {
	// Get returns a Pod of this node, nil when there is none of that name.
	Get(namespace, name string) *corev1.Pod
	// List returns all of them, mirror Pods included.
	List() []*corev1.Pod
	// Synced is closed when the first list was complete.
	Synced() <-chan struct{}
}

// Config is what a Manager is made of.
type Config struct {
	Client   kubernetes.Interface
	NodeName string
	Pods     Pods
	// Node returns the node's own object, which owns the mirror Pods. An error makes them wait.
	Node func() (*corev1.Node, error)
	// OnError is told why a Pod could not be written; it is tried again. The same error of a Pod is told once. May be nil.
	OnError func(pod types.NamespacedName, err error)
	// OnWritten is told how long the API was behind with a status that it has now: since the first change that it did not
	// have. It must not block. May be nil.
	OnWritten func(behind time.Duration)
	// Workers, BackoffBase and BackoffMax are the defaults above when zero.
	Workers                 int
	BackoffBase, BackoffMax time.Duration
	// Clock is nil for the real one.
	Clock clock.WithTicker
}

func (c Config) validate() error {
	switch {
	case c.Client == nil:
		return errors.New("status: Config.Client: missing")
	case c.NodeName == "":
		return errors.New("status: Config.NodeName: missing")
	case c.Pods == nil:
		return errors.New("status: Config.Pods: missing")
	case c.Node == nil:
		return errors.New("status: Config.Node: missing")
	case c.Workers < 0:
		return fmt.Errorf("status: Config.Workers: want 0 or more (got %d)", c.Workers)
	case c.BackoffBase < 0 || c.BackoffMax < 0:
		return fmt.Errorf("status: Config.BackoffBase, BackoffMax: want 0 or more (got %v, %v)", c.BackoffBase, c.BackoffMax)
	}
	return nil
}

// Manager writes statuses. Make it with New and call Run once; all methods may be called at any time, from any goroutine.
type Manager struct {
	c     Config
	queue workqueue.TypedRateLimitingInterface[types.NamespacedName]

	mu    sync.Mutex
	names map[types.NamespacedName]*record
	// staticsKnown is false until the manifests were read: until then nothing is known of mirror Pods.
	staticsKnown bool
	// changed is closed, and replaced, whenever something was written or forgotten; see Flush.
	changed chan struct{}
}

// record is what there is to say about one namespace and name.
type record struct {
	// pods are those that the node has, or had, by UID: one, or two while a Pod replaces another one.
	pods map[types.UID]*entry
	// latest is the Pod as the API last answered with it, until the informer has it, too.
	latest *corev1.Pod
	// doubt says that a write failed, and may have been done nevertheless.
	doubt bool
	// static is the static Pod that the mirror of this name should show.
	static *corev1.Pod
	// mirrorDirty says that the mirror was not looked at since static changed.
	mirrorDirty bool
	// failure is the error that OnError knows.
	failure string
}

// entry is what the node said of one Pod. It is replaced, never changed.
type entry struct {
	pod    *corev1.Pod
	status corev1.PodStatus
	// known is false when the node never said a status, ended is true when nothing is left of the Pod.
	known, ended bool
	// written says that the API has it; since when it has not, since says.
	written bool
	since   time.Time
}

// New returns a Manager that Run starts.
func New(c Config) (*Manager, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c.Workers = cmp.Or(c.Workers, DefaultWorkers)
	c.BackoffBase = cmp.Or(c.BackoffBase, DefaultBackoffBase)
	c.BackoffMax = cmp.Or(c.BackoffMax, DefaultBackoffMax)
	if c.OnError == nil {
		c.OnError = func(types.NamespacedName, error) {}
	}
	if c.OnWritten == nil {
		c.OnWritten = func(time.Duration) {}
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	return &Manager{
		c: c, names: map[types.NamespacedName]*record{}, changed: make(chan struct{}),
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](c.BackoffBase, c.BackoffMax),
			workqueue.TypedRateLimitingQueueConfig[types.NamespacedName]{Clock: c.Clock}),
	}, nil
}

// Set notes the latest status of a Pod. Neither is modified; both must not be modified afterwards.
func (m *Manager) Set(pod *corev1.Pod, status corev1.PodStatus) {
	name := nameOf(pod)
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.record(name)
	before := r.pods[pod.UID]
	e := &entry{pod: pod, status: status, known: true, since: m.c.Clock.Now()}
	if before == nil || before.ended || !before.known {
		r.pods[pod.UID] = e
		m.enqueue(name, creating(status))
		return
	}
	if !before.written {
		e.since = before.since
	}
	if apiequality.Semantic.DeepEqual(before.status, status) {
		e.written = before.written
		r.pods[pod.UID] = e
		if !e.written { // a worker may be at it, which knows only the entry before
			m.queue.Add(name)
		}
		return
	}
	r.pods[pod.UID] = e
	m.enqueue(name, creating(status) || before.written && pod.DeletionTimestamp != nil && onlyGeneration(before.status, status))
}

// enqueue has a name written, soon or now.
func (m *Manager) enqueue(name types.NamespacedName, soon bool) {
	if soon {
		m.queue.AddAfter(name, overtakeDelay)
		return
	}
	m.queue.Add(name)
}

// Ended notes that nothing is left of a Pod. If it is being deleted it is deleted for good.
func (m *Manager) Ended(pod *corev1.Pod) {
	name := nameOf(pod)
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.record(name)
	e := &entry{pod: pod, ended: true, since: m.c.Clock.Now()}
	if before := r.pods[pod.UID]; before != nil {
		e.status, e.known = before.status, before.known
		if !before.written {
			e.since = before.since
		}
	}
	r.pods[pod.UID] = e
	m.queue.Add(name)
}

// Statics notes the complete list of static Pods. A node without manifests says so with nil.
func (m *Manager) Statics(pods []*corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.staticsKnown = true
	wanted := make(map[types.NamespacedName]*corev1.Pod, len(pods))
	for _, p := range pods {
		wanted[nameOf(p)] = p
	}
	for name, r := range m.names {
		if r.static != nil && wanted[name] == nil {
			r.static, r.mirrorDirty = nil, true
			m.queue.Add(name)
		}
	}
	for name, p := range wanted {
		if r := m.record(name); r.static == nil || hashOf(r.static) != hashOf(p) {
			r.static, r.mirrorDirty = p, true
			m.queue.Add(name)
		}
	}
}

// Observe notes that a Pod of the API changed or is gone, so that mirror Pods are put right and a deletion that came after
// the node's end of the Pod is completed at once.
func (m *Manager) Observe(pod *corev1.Pod) {
	name := nameOf(pod)
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.names[name]
	if r != nil && r.latest != nil && newer(pod, r.latest) == pod {
		r.latest = nil
	}
	switch {
	case source.IsMirror(pod):
		if r == nil || r.static == nil || pod.DeletionTimestamp != nil || !shows(pod, r.static) ||
			m.c.Pods.Get(pod.Namespace, pod.Name) == nil {
			m.queue.Add(name)
		}
	case r == nil:
	case pod.DeletionTimestamp != nil && r.pods[pod.UID] != nil && r.pods[pod.UID].ended:
		m.queue.Add(name)
	case r.static != nil && m.c.Pods.Get(pod.Namespace, pod.Name) == nil: // it stood in the way of a mirror
		m.queue.Add(name)
	}
}

// Run writes what is new until ctx is done.
func (m *Manager) Run(ctx context.Context) {
	select {
	case <-ctx.Done():
		m.queue.ShutDown()
		return
	case <-m.c.Pods.Synced():
	}
	var workers sync.WaitGroup
	for range m.c.Workers {
		workers.Go(func() { m.work(ctx) })
	}
	m.findOrphans()
	tick := m.c.Clock.NewTicker(Reconcile)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			m.queue.ShutDown()
			workers.Wait()
			return
		case <-tick.C():
			m.reconcile()
		}
	}
}

// Flush waits until the API knows everything that was noted before, or ctx is done; for the end of the daemon.
func (m *Manager) Flush(ctx context.Context) error {
	for {
		pending, changed := m.pending()
		if pending == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("write %d statuses: %w", pending, ctx.Err())
		case <-changed:
		}
	}
}

// Behind tells whether there is something that the API does not know yet.
func (m *Manager) Behind() bool {
	n, _ := m.pending()
	return n > 0
}

func (m *Manager) pending() (n int, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.names {
		if r.pending() {
			n++
		}
	}
	return n, m.changed
}

func (r *record) pending() bool {
	for _, e := range r.pods {
		if !e.written {
			return true
		}
	}
	return r.mirrorDirty
}

// work takes names from the queue until it is shut down.
func (m *Manager) work(ctx context.Context) {
	for {
		name, shutdown := m.queue.Get()
		if shutdown {
			return
		}
		err := m.guarded(ctx, name)
		m.report(ctx, name, err)
		if _, parked := errors.AsType[*parkedError](err); err != nil && !parked {
			m.noteFailed(name)
			m.queue.AddRateLimited(name)
		} else {
			m.queue.Forget(name)
		}
		m.queue.Done(name)
	}
}

// guarded is sync; a panic is a bug that costs one Pod its status, not the node its Pods.
func (m *Manager) guarded(ctx context.Context, name types.NamespacedName) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return m.sync(ctx, name)
}

// report tells OnError a failure that it does not know.
func (m *Manager) report(ctx context.Context, name types.NamespacedName, err error) {
	if ctx.Err() != nil || errors.Is(err, errLagging) {
		return
	}
	m.mu.Lock()
	r := m.names[name]
	text := ""
	if err != nil {
		text = err.Error()
	}
	fresh := text != "" && (r == nil || r.failure != text)
	if r != nil {
		r.failure = text
	}
	m.mu.Unlock()
	if fresh {
		m.c.OnError(name, err)
	}
}

// record returns the record of a name, a new one if need be. The lock is held.
func (m *Manager) record(name types.NamespacedName) *record {
	r := m.names[name]
	if r == nil {
		r = &record{pods: map[types.UID]*entry{}}
		m.names[name] = r
	}
	return r
}

// snapshot returns a copy of what there is to say about a name.
func (m *Manager) snapshot(name types.NamespacedName) (record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.names[name]
	if r == nil {
		return record{}, m.staticsKnown
	}
	c := *r
	c.pods = maps.Clone(r.pods)
	return c, m.staticsKnown
}

// noteAnswer keeps what the API said of a Pod, nil for nothing: the informer may learn of it later.
func (m *Manager) noteAnswer(name types.NamespacedName, pod *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.names[name]
	if r == nil {
		return
	}
	r.doubt, r.latest = false, nil
	if pod != nil && !source.IsMirror(pod) {
		pod.ManagedFields = nil
		r.latest = pod
	}
}

// noteFailed makes the next sync read the Pod.
func (m *Manager) noteFailed(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.names[name]; r != nil {
		r.doubt = true
	}
}

// settle notes that the API has an entry, unless the node said something newer meanwhile.
func (m *Manager) settle(name types.NamespacedName, e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.names[name]; r != nil && r.pods[e.pod.UID] == e {
		if !e.written {
			m.c.OnWritten(m.c.Clock.Since(e.since))
		}
		done := *e
		done.written = true
		r.pods[e.pod.UID] = &done
	}
	m.announce()
}

// settleMirror notes that the mirror is as static wants it.
func (m *Manager) settleMirror(name types.NamespacedName, static *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.names[name]; r != nil && r.static == static {
		r.mirrorDirty = false
		m.drop(name, r)
	}
	m.announce()
}

// forget drops what was said of a Pod that is gone.
func (m *Manager) forget(name types.NamespacedName, uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.names[name]; r != nil {
		delete(r.pods, uid)
		m.drop(name, r)
	}
	m.announce()
}

// drop removes a record that says nothing. The lock is held.
func (m *Manager) drop(name types.NamespacedName, r *record) {
	if len(r.pods) == 0 && r.static == nil && !r.mirrorDirty {
		delete(m.names, name)
	}
}

// announce wakes those who wait in Flush. The lock is held.
func (m *Manager) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func nameOf(p *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
}
