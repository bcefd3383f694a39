package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/wazlet/wazlet/kube/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ Pods = (*source.Pods)(nil)

var podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// world is a Manager with an API server of memory, an informer that is always up to date unless told otherwise, and a
// clock that stands still.
type world struct {
	*Manager
	t      *testing.T
	client *fake.Clientset
	clock  *clocktesting.FakeClock
	synced chan struct{}
	errs   chan error

	mu    sync.Mutex
	stale map[string]*corev1.Pod // what the informer believes instead, by namespace/name
	uids  int
	node  func() (*corev1.Node, error)
}

func newWorld(t *testing.T, pods ...*corev1.Pod) *world {
	t.Helper()
	w := &world{
		t: t, client: fake.NewClientset(), clock: clocktesting.NewFakeClock(now.Time), synced: make(chan struct{}),
		errs: make(chan error, 100), stale: map[string]*corev1.Pod{},
	}
	w.node = func() (*corev1.Node, error) {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "node-uid"}}, nil
	}
	w.client.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.uids++
		p := a.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
		p.UID = types.UID(fmt.Sprintf("mirror-%d", w.uids))
		return false, nil, nil
	})
	var err error
	w.Manager, err = New(Config{
		Client: w.client, NodeName: "n", Pods: w, Clock: w.clock, OnError: func(_ types.NamespacedName, err error) { w.errs <- err },
		Node: func() (*corev1.Node, error) { w.mu.Lock(); defer w.mu.Unlock(); return w.node() },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		w.put(p)
	}
	return w
}

// start runs the Manager until the end of the test.
func (w *world) start() *world {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	close(w.synced)
	w.t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *world) Synced() <-chan struct{} { return w.synced }

func (w *world) Get(namespace, name string) *corev1.Pod {
	w.mu.Lock()
	p, stale := w.stale[namespace+"/"+name]
	w.mu.Unlock()
	if stale {
		return p
	}
	return w.api(namespace, name)
}

func (w *world) List() []*corev1.Pod {
	list, err := w.client.Tracker().List(podResource, corev1.SchemeGroupVersion.WithKind("Pod"), "")
	if err != nil {
		w.t.Error(err)
		return nil
	}
	var pods []*corev1.Pod
	for i := range list.(*corev1.PodList).Items {
		pods = append(pods, &list.(*corev1.PodList).Items[i])
	}
	return pods
}

// api is a Pod as the server has it.
func (w *world) api(namespace, name string) *corev1.Pod {
	obj, err := w.client.Tracker().Get(podResource, namespace, name)
	if err != nil {
		return nil
	}
	return obj.(*corev1.Pod)
}

// put makes the server have a Pod.
func (w *world) put(p *corev1.Pod) {
	w.t.Helper()
	err := w.client.Tracker().Update(podResource, p.DeepCopy(), p.Namespace)
	if apierrors.IsNotFound(err) {
		err = w.client.Tracker().Add(p.DeepCopy())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) believe(namespace, name string, p *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stale[namespace+"/"+name] = p
}

// flush waits until everything is written.
func (w *world) flush() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.Flush(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// await waits for what must become true, moving the clock so that waits end.
func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	w.poll(what, ok, time.Second)
}

// soon waits for what must become true while the clock stands still.
func (w *world) soon(what string, ok func() bool) {
	w.t.Helper()
	w.poll(what, ok, 0)
}

func (w *world) poll(what string, ok func() bool, step time.Duration) {
	w.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			w.t.Fatalf("never: %s; requests: %v", what, w.verbs())
		case <-tick.C:
			w.clock.Step(step)
		}
	}
}

// verbs lists the requests.
func (w *world) verbs() []string {
	var out []string
	for _, a := range w.client.Actions() {
		v := a.GetVerb()
		if a.GetSubresource() != "" {
			v += "/" + a.GetSubresource()
		}
		out = append(out, v)
	}
	return out
}

func (w *world) count(verb string) int {
	n := 0
	for _, v := range w.verbs() {
		if v == verb {
			n++
		}
	}
	return n
}

// wrote checks the requests since the last call.
func (w *world) wrote(want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.verbs()); diff != "" {
		w.t.Errorf("requests (-want +got):\n%s", diff)
	}
	w.client.ClearActions()
}

// fails makes requests fail as often as f says.
func (w *world) fails(verb string, f func(n int) error) {
	n := 0
	w.client.PrependReactor(verb, "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		n++
		err := f(n)
		return err != nil, nil, err
	})
}

func forbidden(string) error {
	return apierrors.NewForbidden(podResource.GroupResource(), "web", errors.New("no relationship found between node 'n' and this object"))
}

func phase(p corev1.PodPhase) corev1.PodStatus { return corev1.PodStatus{Phase: p, StartTime: &early} }

func deleting(p *corev1.Pod) {
	p.DeletionTimestamp = &metav1.Time{Time: later.Time}
	p.DeletionGracePeriodSeconds = new(int64(30))
}

func TestSet(t *testing.T) {
	w := newWorld(t, livePod()).start()
	w.Set(livePod(), phase(corev1.PodRunning))
	w.flush()
	patch := w.client.Actions()[1].(clienttesting.PatchAction).GetPatch()
	var body struct {
		Metadata map[string]any `json:"metadata"`
		Status   map[string]any `json:"status"`
	}
	if err := json.Unmarshal(patch, &body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"uid": "u1"}, body.Metadata); diff != "" {
		t.Errorf("metadata of the patch (-want +got):\n%s", diff)
	}
	want := map[string]any{"phase": "Running", "observedGeneration": 3.0, "startTime": "2026-01-02T03:04:05Z"}
	if diff := cmp.Diff(want, body.Status); diff != "" {
		t.Errorf("status of the patch (-want +got):\n%s", diff)
	}
	w.wrote("get", "patch/status")
	w.Set(livePod(), phase(corev1.PodRunning)) // nothing new
	w.flush()
	w.wrote()
	w.Set(livePod(), phase(corev1.PodPending))
	w.Set(livePod(), phase(corev1.PodRunning)) // the latest wins, and is what the API has already
	w.flush()
	if n := w.count("patch/status"); n > 2 || w.api("shop", "web").Status.Phase != corev1.PodRunning {
		t.Errorf("patches: %d, phase %s", n, w.api("shop", "web").Status.Phase)
	}
}

func TestNothingBeforeTheFirstList(t *testing.T) {
	w := newWorld(t, livePod())
	if w.Behind() {
		t.Error("behind with nothing")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	w.Set(livePod(), phase(corev1.PodRunning))
	over, stop := context.WithCancel(t.Context())
	stop()
	if err := w.Flush(over); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "write 1 statuses") || !w.Behind() {
		t.Errorf("flush: got %v, behind: %t", err, w.Behind())
	}
	cancel()
	<-done
	w.wrote()
}

func TestDeletion(t *testing.T) {
	done := corev1.PodStatus{Phase: corev1.PodSucceeded, StartTime: &early}
	finished := func(p *corev1.Pod) { p.Status = *done.DeepCopy(); p.Status.ObservedGeneration = 3 }
	for _, tc := range []struct {
		name string
		live *corev1.Pod
		do   func(w *world, p *corev1.Pod)
		want []string
		left corev1.PodPhase // empty: the Pod is gone
	}{
		{
			"ended", livePod(deleting), func(w *world, p *corev1.Pod) { w.Set(p, phase(corev1.PodFailed)); w.flush(); w.Ended(p) },
			[]string{"get", "patch/status", "get", "delete"},
			"",
		},
		{
			"still ending", livePod(deleting), func(w *world, p *corev1.Pod) { w.Set(p, phase(corev1.PodFailed)) },
			[]string{"get", "patch/status"},
			corev1.PodFailed,
		},
		{
			"never started", livePod(deleting), func(w *world, p *corev1.Pod) { w.Ended(p) },
			[]string{"get", "patch/status", "delete"},
			"",
		},
		{
			"terminal before", livePod(deleting, finished), func(w *world, p *corev1.Pod) { w.Ended(p) },
			[]string{"get", "delete"},
			"",
		},
		{
			"ended but not deleted", livePod(), func(w *world, p *corev1.Pod) { w.Ended(p) },
			[]string{"get", "patch/status"},
			corev1.PodFailed,
		},
		{
			"waits for finalizers", livePod(deleting, finished, func(p *corev1.Pod) {
				p.Finalizers, p.DeletionGracePeriodSeconds = []string{"batch.kubernetes.io/job-tracking"}, new(int64)
			}), func(w *world, p *corev1.Pod) { w.Ended(p) },
			[]string{"get"},
			corev1.PodSucceeded,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.live).start()
			tc.do(w, tc.live)
			w.flush()
			for _, a := range w.client.Actions() {
				d, ok := a.(clienttesting.DeleteActionImpl)
				if ok && (*d.DeleteOptions.GracePeriodSeconds != 0 || *d.DeleteOptions.Preconditions.UID != "u1") {
					t.Errorf("delete options: %v", d.DeleteOptions)
				}
			}
			w.wrote(tc.want...)
			got := w.api("shop", "web")
			switch {
			case tc.left == "" && got != nil:
				t.Errorf("left: %v", got.Status)
			case tc.left != "" && (got == nil || got.Status.Phase != tc.left):
				t.Errorf("left: %v, want %s", got, tc.left)
			}
		})
	}
}

func TestDeletionAfterTheEnd(t *testing.T) {
	w := newWorld(t, livePod()).start()
	w.Ended(livePod())
	w.flush()
	w.Observe(w.api("shop", "web"))
	w.client.ClearActions()
	gone := w.api("shop", "web").DeepCopy()
	deleting(gone)
	w.put(gone)
	w.Observe(gone)
	w.soon("deleted", func() bool { return w.api("shop", "web") == nil })
	w.wrote("get", "delete")
}

// A deletion changes the generation; saying only that it was seen is not worth a write if the end follows soon.
func TestEchoOfADeletion(t *testing.T) {
	w := newWorld(t, livePod()).start()
	s := phase(corev1.PodRunning)
	s.ObservedGeneration, s.Conditions = 3, []corev1.PodCondition{condition(corev1.PodReady, "True", early)}
	w.Set(livePod(), s)
	w.flush()
	p := w.api("shop", "web").DeepCopy()
	p.Generation = 4
	deleting(p)
	w.put(p)
	seen := *s.DeepCopy()
	seen.ObservedGeneration, seen.Conditions[0].ObservedGeneration = 4, 4
	w.Set(p, seen)
	w.Set(p, phase(corev1.PodFailed))
	w.Ended(p)
	w.flush()
	w.await("deleted", func() bool { return w.api("shop", "web") == nil })
	if n := w.count("patch/status"); n != 2 {
		t.Errorf("patches: got %d, want 2: %v", n, w.verbs())
	}
	w.put(livePod())
	w.Set(livePod(), s)
	w.flush()
	w.put(p)
	w.Set(p, seen) // and alone it is written, later
	w.await("generation", func() bool { return w.api("shop", "web").Status.ObservedGeneration == 4 })
}

func TestGone(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(w *world)
		want []string
	}{
		{"known to be", func(w *world) { w.believe("shop", "web", nil) }, nil},
		{"404", func(w *world) {
			w.believe("shop", "web", livePod())
			_ = w.client.Tracker().Delete(podResource, "shop", "web")
		}, []string{"get"}},
		{"replaced", func(w *world) { w.put(livePod(func(p *corev1.Pod) { p.UID = "u2" })) }, []string{"get"}},
		{"between read and patch", func(w *world) {
			w.fails("patch", func(int) error { return apierrors.NewNotFound(podResource.GroupResource(), "web") })
		}, []string{"get", "patch/status"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, livePod())
			tc.set(w)
			w.start()
			w.Set(livePod(), phase(corev1.PodRunning))
			w.flush()
			w.wrote(tc.want...)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.Manager.mu.Lock()
			defer w.Manager.mu.Unlock()
			if len(w.names) != 0 {
				t.Errorf("still known: %v", w.names)
			}
		})
	}
}

// The Node authorizer forbids what it does not know: Pods that are gone, and for a moment those that are new.
func TestForbidden(t *testing.T) {
	w := newWorld(t, livePod())
	w.fails("get", func(n int) error {
		if n <= 3 {
			return forbidden("web")
		}
		return nil
	})
	w.start()
	w.Set(livePod(), phase(corev1.PodRunning))
	w.await("written", func() bool { return w.api("shop", "web").Status.Phase == corev1.PodRunning })
	w.flush()
	w.fails("get", func(int) error {
		w.stale["shop/web"] = nil // the informer hears of it while we ask
		return forbidden("web")
	})
	w.Set(livePod(), phase(corev1.PodPending))
	w.await("forgotten", func() bool { n, _ := w.pending(); return n == 0 })
	select {
	case err := <-w.errs:
		t.Errorf("told of %v", err)
	default:
	}
}

func TestErrors(t *testing.T) {
	w := newWorld(t, livePod())
	w.fails("patch", func(n int) error {
		switch {
		case n <= 3:
			return apierrors.NewConflict(podResource.GroupResource(), "web", errors.New("the UID in the precondition"))
		case n <= 6:
			return errors.New("connection refused")
		case n == 7:
			panic("bug")
		default:
			return nil
		}
	})
	w.start()
	w.Set(livePod(), phase(corev1.PodRunning))
	w.await("written", func() bool { return w.api("shop", "web").Status.Phase == corev1.PodRunning })
	w.flush()
	var told []string
	for len(w.errs) > 0 {
		told = append(told, strings.SplitN((<-w.errs).Error(), "\n", 2)[0])
	}
	if diff := cmp.Diff([]string{"patch status: connection refused", "panic: bug"}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestForbiddenForGood(t *testing.T) {
	w := newWorld(t, livePod())
	w.fails("get", func(int) error {
		return apierrors.NewForbidden(podResource.GroupResource(), "web", errors.New("no such role"))
	})
	w.start()
	w.Set(livePod(), phase(corev1.PodRunning))
	w.await("three tries", func() bool { return w.count("get") >= 3 })
	if err := <-w.errs; !strings.Contains(err.Error(), "no such role") {
		t.Errorf("told of %v", err)
	}
	if len(w.errs) != 0 {
		t.Errorf("told again: %v", <-w.errs)
	}
	if n, _ := w.pending(); n != 1 {
		t.Errorf("pending: %d, want 1", n)
	}
}

// What somebody else wrote over the node's status is put right.
func TestReconcile(t *testing.T) {
	w := newWorld(t, livePod()).start()
	w.Set(livePod(), phase(corev1.PodRunning))
	w.flush()
	p := w.api("shop", "web").DeepCopy()
	p.Status.Phase, p.Status.PodIP, p.Status.Reason = corev1.PodPending, "10.9.9.9", "Meddled"
	w.put(p)
	w.await("put right", func() bool { return w.api("shop", "web").Status.Reason == "" })
	if got := w.api("shop", "web").Status.Phase; got != corev1.PodRunning {
		t.Errorf("phase: got %s", got)
	}
	w.client.ClearActions()
	reconciled := w.clock.Now().Add(3 * Reconcile)
	w.await("nothing", func() bool { return w.clock.Now().After(reconciled) })
	if n := w.count("patch/status"); n != 0 {
		t.Errorf("patches: %d although nothing differs", n)
	}
}

func static(hash string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "kube-system", Name: "web-n", UID: types.UID(hash), Labels: map[string]string{"app": "web"},
			Annotations: map[string]string{source.SourceAnnotation: source.FileSource, source.HashAnnotation: hash, source.SeenAnnotation: "today"},
		},
		Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "a", Image: hash}}},
	}
}

func (w *world) mirror() *corev1.Pod { return w.api("kube-system", "web-n") }

func TestMirror(t *testing.T) {
	w := newWorld(t).start()
	s1 := static("h1")
	w.Statics([]*corev1.Pod{s1})
	w.Set(s1, phase(corev1.PodRunning))
	w.flush()
	isController := true
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "kube-system", Name: "web-n", UID: "mirror-1", Labels: map[string]string{"app": "web"},
			Annotations: map[string]string{
				"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": "h1", "kubernetes.io/config.seen": "today",
				"kubernetes.io/config.mirror": "h1",
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "node-uid", Controller: &isController}},
		},
		Spec: s1.Spec, Status: phase(corev1.PodRunning),
	}
	got := w.mirror().DeepCopy()
	got.ManagedFields, got.ResourceVersion, got.TypeMeta = nil, "", metav1.TypeMeta{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mirror (-want +got):\n%s", diff)
	}

	t.Run("deleted by somebody", func(*testing.T) {
		p := w.mirror().DeepCopy()
		deleting(p)
		w.put(p)
		w.Observe(p)
		w.await("a new one", func() bool {
			m := w.mirror()
			return m != nil && m.UID == "mirror-2" && m.Status.Phase == corev1.PodRunning
		})
	})
	t.Run("vanished", func(t *testing.T) {
		p := w.mirror()
		if err := w.client.Tracker().Delete(podResource, "kube-system", "web-n"); err != nil {
			t.Fatal(err)
		}
		w.Observe(p)
		w.await("a new one", func() bool {
			m := w.mirror()
			return m != nil && m.UID == "mirror-3" && m.Status.Phase == corev1.PodRunning
		})
	})
	t.Run("another version", func(t *testing.T) {
		s2 := static("h2")
		w.Statics([]*corev1.Pod{s2})
		w.Set(s2, phase(corev1.PodPending))
		w.await("a new one", func() bool { m := w.mirror(); return m != nil && m.UID == "mirror-4" })
		w.Set(s1, phase(corev1.PodFailed)) // the old version ends meanwhile
		w.Ended(s1)
		w.flush()
		m := w.mirror()
		if m.Annotations[source.MirrorAnnotation] != "h2" || m.Spec.Containers[0].Image != "h2" || m.Status.Phase != corev1.PodPending {
			t.Errorf("mirror: %v %v", m.Annotations, m.Status)
		}
	})
	t.Run("manifest removed", func(t *testing.T) {
		w.Set(static("h2"), phase(corev1.PodRunning))
		w.Statics(nil)
		w.flush()
		w.Set(static("h2"), phase(corev1.PodSucceeded))
		w.flush()
		if m := w.mirror(); m == nil || m.UID != "mirror-4" || m.Status.Phase != corev1.PodSucceeded {
			t.Errorf("while it ends: %v", m)
		}
		w.Ended(static("h2"))
		w.flush()
		if m := w.mirror(); m != nil {
			t.Errorf("after the end: %v", m)
		}
		if w.Statics(nil); len(w.names) != 0 {
			t.Errorf("still known: %v", w.names)
		}
	})
}

// A static Pod whose manifest came back runs anew; a mirror that is over cannot say so.
func TestMirrorOfAPodThatBeganAgain(t *testing.T) {
	w := newWorld(t).start()
	s := static("h1")
	w.Statics([]*corev1.Pod{s})
	w.Set(s, phase(corev1.PodSucceeded))
	w.flush()
	w.Set(s, phase(corev1.PodRunning))
	w.flush()
	if m := w.mirror(); m.UID != "mirror-2" || m.Status.Phase != corev1.PodRunning {
		t.Errorf("mirror: %s %v", m.UID, m.Status)
	}
}

func TestOrphanedMirrors(t *testing.T) {
	orphan := mirrorOf(static("h0"), &corev1.Node{})
	orphan.UID = "old"
	w := newWorld(t, orphan, livePod()).start()
	w.Observe(orphan)
	w.reconcile()
	w.Set(livePod(), phase(corev1.PodRunning))
	w.flush()
	if w.mirror() == nil {
		t.Fatal("deleted before the manifests were read")
	}
	w.Statics(nil)
	w.await("deleted", func() bool { return w.mirror() == nil })
	if w.api("shop", "web") == nil {
		t.Error("an ordinary Pod was deleted")
	}
}

func TestMirrorWaitsForTheNode(t *testing.T) {
	w := newWorld(t)
	w.node = func() (*corev1.Node, error) { return nil, errors.New("node n is not registered") }
	w.start()
	w.Statics([]*corev1.Pod{static("h1")})
	if err := <-w.errs; !strings.Contains(err.Error(), "create mirror pod: node n is not registered") {
		t.Errorf("told of %v", err)
	}
	w.mu.Lock()
	w.node = func() (*corev1.Node, error) { return &corev1.Node{}, nil }
	w.mu.Unlock()
	w.await("told of the UID", func() bool { return len(w.errs) > 0 })
	if err := <-w.errs; !strings.Contains(err.Error(), "node n has no UID yet") {
		t.Errorf("told of %v", err)
	}
	w.mu.Lock()
	w.node = func() (*corev1.Node, error) {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "x"}}, nil
	}
	w.mu.Unlock()
	w.await("created", func() bool { return w.mirror() != nil })
}

func TestMirrorWithoutAName(t *testing.T) {
	taken := livePod(func(p *corev1.Pod) { p.Namespace, p.Name = "kube-system", "web-n" })
	w := newWorld(t, taken).start()
	w.Set(taken, phase(corev1.PodRunning))
	w.Set(static("h1"), phase(corev1.PodPending))
	w.Statics([]*corev1.Pod{static("h1")})
	if err := <-w.errs; !strings.Contains(err.Error(), "static pod kube-system/web-n cannot be shown in the API") {
		t.Errorf("told of %v", err)
	}
	w.await("the other pod's status", func() bool { return w.mirror().Status.Phase == corev1.PodRunning })
	if err := w.client.Tracker().Delete(podResource, "kube-system", "web-n"); err != nil {
		t.Fatal(err)
	}
	w.Observe(taken)
	w.await("a mirror", func() bool {
		m := w.mirror()
		return m != nil && source.IsMirror(m) && m.Status.Phase == corev1.PodPending
	})
}

func TestConfig(t *testing.T) {
	w := &world{}
	good := Config{Client: fake.NewClientset(), NodeName: "n", Pods: w, Node: func() (*corev1.Node, error) { return nil, nil }}
	for _, tc := range []struct {
		want   string
		change func(*Config)
	}{
		{"Config.Client: missing", func(c *Config) { c.Client = nil }},
		{"Config.NodeName: missing", func(c *Config) { c.NodeName = "" }},
		{"Config.Pods: missing", func(c *Config) { c.Pods = nil }},
		{"Config.Node: missing", func(c *Config) { c.Node = nil }},
		{"Config.Workers: want 0 or more (got -1)", func(c *Config) { c.Workers = -1 }},
		{"want 0 or more (got -1ns, 0s)", func(c *Config) { c.BackoffBase = -1 }},
	} {
		c := good
		tc.change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}
