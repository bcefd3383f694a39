package status

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const seenPath = "/api/v1/namespaces/shop/pods/web"

// seenWorld is a Manager with an API server that has a Pod in version 5, and an informer that has it, too, and never
// learns of more.
func seenWorld(t *testing.T) (*outage, *Manager, *corev1.Pod) {
	t.Helper()
	p := livePod(func(p *corev1.Pod) {
		p.TypeMeta, p.ResourceVersion = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, "5"
	})
	o := &outage{
		pods: map[string]*corev1.Pod{seenPath: p.DeepCopy()}, patches: map[string]int{}, deletes: map[string]int{}, mode: "up",
		failed: make(chan struct{}),
	}
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	known := informed{pods: map[string]*corev1.Pod{"shop/web": p}, synced: make(chan struct{})}
	close(known.synced)
	m, err := New(Config{
		Client: client, NodeName: "n", Pods: known, Node: func() (*corev1.Node, error) { return nil, nil }, BackoffBase: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return o, m, p
}

// write says a phase and waits until the server has it.
func (o *outage) write(t *testing.T, m *Manager, p *corev1.Pod, want corev1.PodPhase, gets, patches int) {
	t.Helper()
	m.Set(p, phase(want))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := m.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if got := o.pods[seenPath].Status.Phase; got != want || o.gets != gets || o.patches[seenPath] != patches {
		t.Errorf("phase %s after %d GETs and %d patches so far; want %s, %d, %d", got, o.gets, o.patches[seenPath], want, gets, patches)
	}
}

// A Pod whose newest version is known is not read: neither the first time nor after a write of ours that the informer has
// not seen.
func TestSeen(t *testing.T) {
	o, m, p := seenWorld(t)
	o.write(t, m, p, corev1.PodRunning, 0, 1)
	o.write(t, m, p, corev1.PodPending, 0, 2) // what the informer still shows, and the server no more
	o.write(t, m, p, corev1.PodSucceeded, 0, 3)
}

// What others wrote is not overwritten by who has not seen it: the Pod is read then.
func TestSeenTooLate(t *testing.T) {
	o, m, p := seenWorld(t)
	o.mu.Lock()
	o.pods[seenPath].ResourceVersion = "6"
	o.pods[seenPath].Status.Phase, o.pods[seenPath].Status.Reason = corev1.PodFailed, "Evicted"
	o.mu.Unlock()
	o.write(t, m, p, corev1.PodFailed, 1, 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if got := o.pods[seenPath].Status.Reason; got != "Evicted" {
		t.Errorf("reason %q, want the one that was there first", got)
	}
}

// A write whose answer was lost may have been done: the Pod is read before the next one.
func TestSeenInDoubt(t *testing.T) {
	o, m, p := seenWorld(t)
	o.set("deaf")
	o.write(t, m, p, corev1.PodRunning, 1, 1)
	o.set("up")
	o.write(t, m, p, corev1.PodPending, 1, 2) // what the informer still shows
}
