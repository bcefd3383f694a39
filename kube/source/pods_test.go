package source

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
)

// follower runs a Pods and writes down what it says.
type follower struct {
	*Pods
	mu    sync.Mutex
	lines []string
}

func (f *follower) say(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, line)
}

// said returns what is new since the last call.
func (f *follower) said() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := f.lines
	f.lines = nil
	return lines
}

func follow(t *testing.T, client *fake.Clientset) *follower {
	t.Helper()
	f := &follower{}
	p, err := NewPods(PodsOptions{
		Client: client, NodeName: "n",
		OnChange:  func(p *corev1.Pod) { f.say("change " + string(p.UID)) },
		OnGone:    func(p *corev1.Pod) { f.say("gone " + string(p.UID)) },
		OnSynced:  func() { f.say("synced") },
		OnProblem: func(err error) { f.say("problem: " + err.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Pods = p
	return f
}

func TestPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(apiPod("a1"), apiPod("a2", func(p *corev1.Pod) {
			p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
		}))
		f := follow(t, client)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		synctest.Wait()
		first := f.said()
		if diff := cmp.Diff([]string{"change a1", "change a2"}, sorted(first[:2])); diff != "" || first[2] != "synced" {
			t.Fatalf("at first: %v", first)
		}
		<-f.Synced()
		for _, a := range client.Actions() {
			var selector string
			switch a := a.(type) {
			case clienttesting.ListActionImpl:
				selector = a.ListRestrictions.Fields.String()
			case clienttesting.WatchActionImpl:
				selector = a.WatchRestrictions.Fields.String()
			}
			if selector != "spec.nodeName=n" {
				t.Errorf("%s: field selector %q", a.GetVerb(), selector)
			}
		}
		pods := client.CoreV1().Pods("shop")
		must := func(_ *corev1.Pod, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		must(pods.Create(ctx, apiPod("a3"), metav1.CreateOptions{}))
		must(pods.Update(ctx, apiPod("a1", deleted), metav1.UpdateOptions{}))
		must(nil, pods.Delete(ctx, "pod-a1", metav1.DeleteOptions{}))
		must(pods.Create(ctx, apiPod("b1", func(p *corev1.Pod) { p.Name = "pod-a1" }), metav1.CreateOptions{}))
		want := []string{"change a3", "change a1", "gone a1", "change b1"}
		if diff := cmp.Diff(want, f.said()); diff != "" {
			t.Errorf("said (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"shop/pod-a1", "shop/pod-a2", "shop/pod-a3"}, names(f.List())); diff != "" {
			t.Errorf("list (-want +got):\n%s", diff)
		}
		if p := f.Get("shop", "pod-a1"); p == nil || p.UID != "b1" {
			t.Errorf("get: got %v", p)
		}
		if p := f.Get("shop", "pod-a2"); p == nil || p.ManagedFields != nil {
			t.Errorf("get: got %v, want no managed fields", p)
		}
		if p := f.Get("shop", "nobody"); p != nil {
			t.Errorf("get: got %v, want nil", p)
		}
		cancel()
		<-done
	})
}

func TestPodsWaitForTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(apiPod("a1"))
		left := 5
		client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			left--
			return left >= 0, nil, errors.New("connection refused")
		})
		f := follow(t, client)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		<-f.Synced()
		said := f.said()
		problems := len(said) - 2
		if problems < 1 || !slices.Equal(said[problems:], []string{"change a1", "synced"}) {
			t.Fatalf("said: %q", said)
		}
		for _, p := range said[:problems] {
			if !strings.Contains(p, "watch pods of node n:") || !strings.Contains(p, "connection refused") {
				t.Errorf("problem: %q", p)
			}
		}
		cancel()
		<-done
	})
}

// A watch that was away may report a successor as an update, and a deletion without the last state.
func TestPodsMissedByTheWatch(t *testing.T) {
	f := follow(t, fake.NewClientset())
	f.changed(apiPod("a1"), apiPod("b1"))
	f.changed(apiPod("b1"), apiPod("b1"))
	f.deleted(cache.DeletedFinalStateUnknown{Key: "shop/pod-b1", Obj: apiPod("b1")})
	f.deleted("nonsense")
	f.changed(nil, "nonsense")
	want := []string{"gone a1", "change b1", "change b1", "gone b1"}
	if diff := cmp.Diff(want, f.said()); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

func TestWatchesEndNowAndThen(t *testing.T) {
	f := follow(t, fake.NewClientset())
	over, cancel := context.WithCancel(t.Context())
	cancel()
	f.failed(t.Context(), nil, io.EOF)
	f.failed(t.Context(), nil, apierrors.NewResourceExpired("too old"))
	f.failed(over, nil, errors.New("connection refused"))
	f.failed(t.Context(), nil, apierrors.NewUnauthorized("who are you"))
	if diff := cmp.Diff([]string{"problem: watch pods of node n: who are you"}, f.said()); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}
