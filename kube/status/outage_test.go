package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// outage is an API server that can be away in several ways.
type outage struct {
	mu      sync.Mutex
	pods    map[string]*corev1.Pod // by path
	patches map[string]int
	deletes map[string]int
	gets    int
	// mode says how the next request is answered: "up"; "closed" and "unavailable" do nothing; "deaf" does what it is asked
	// to and then breaks the connection.
	mode   string
	failed chan struct{}
}

func (o *outage) set(mode string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mode = mode
}

func (o *outage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mode == "closed" || o.mode == "unavailable" {
		select {
		case o.failed <- struct{}{}:
		default:
		}
		if o.mode == "closed" {
			panic(http.ErrAbortHandler)
		}
		http.Error(w, "etcd is away", http.StatusServiceUnavailable)
		return
	}
	code, body := o.answer(r)
	if o.mode == "deaf" && r.Method != http.MethodGet {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func (o *outage) answer(r *http.Request) (int, any) {
	path := strings.TrimSuffix(r.URL.Path, "/status")
	pod := o.pods[path]
	if pod == nil {
		return http.StatusNotFound, metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: 404,
		}
	}
	switch r.Method {
	case http.MethodGet:
		o.gets++
	case http.MethodPatch:
		patch, _ := io.ReadAll(r.Body)
		before, _ := json.Marshal(pod)
		after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Pod{})
		next := &corev1.Pod{}
		if err == nil {
			err = json.Unmarshal(after, next)
		}
		if err != nil || next.UID != pod.UID || next.ResourceVersion != pod.ResourceVersion {
			return http.StatusConflict, metav1.Status{Status: "Failure", Reason: metav1.StatusReasonConflict, Code: 409}
		}
		version, _ := strconv.Atoi(next.ResourceVersion)
		next.ResourceVersion = strconv.Itoa(version + 1)
		o.pods[path] = next
		o.patches[path]++
	case http.MethodDelete:
		o.deletes[path]++
		delete(o.pods, path)
	}
	if p := o.pods[path]; p != nil {
		pod = p
	}
	return http.StatusOK, pod
}

// informed is an informer that knows of every Pod, dead or alive.
type informed struct {
	pods   map[string]*corev1.Pod
	synced chan struct{}
}

func (i informed) Get(namespace, name string) *corev1.Pod { return i.pods[namespace+"/"+name] }
func (i informed) List() []*corev1.Pod                    { return nil }
func (i informed) Synced() <-chan struct{}                { return i.synced }

// An API server that is away for minutes: nothing is lost, only the latest is sent, nothing is sent twice.
func TestOutage(t *testing.T) {
	const count = 30
	o := &outage{
		pods: map[string]*corev1.Pod{}, patches: map[string]int{}, deletes: map[string]int{}, mode: "closed",
		failed: make(chan struct{}),
	}
	known := informed{pods: map[string]*corev1.Pod{}, synced: make(chan struct{})}
	close(known.synced)
	var pods []*corev1.Pod
	for i := range count {
		p := livePod(func(p *corev1.Pod) {
			p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
			p.Name, p.UID = fmt.Sprintf("web-%d", i), types.UID(fmt.Sprintf("u%d", i))
			if i%3 == 0 {
				deleting(p)
			}
		})
		pods = append(pods, p)
		o.pods["/api/v1/namespaces/shop/pods/"+p.Name] = p.DeepCopy()
		known.pods["shop/"+p.Name] = p
	}
	server := httptest.NewServer(o)
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{
		Client: client, NodeName: "n", Pods: known, Node: func() (*corev1.Node, error) { return nil, nil },
		BackoffBase: time.Millisecond, BackoffMax: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	defer func() { cancel(); <-done }()

	away := func(mode string, requests int) {
		o.set(mode)
		for range requests {
			select {
			case <-o.failed:
			case <-ctx.Done():
				t.Fatalf("%s: nobody tries", mode)
			}
		}
	}
	for i, mode := range []string{"closed", "unavailable", "closed"} {
		for _, p := range pods {
			s := phase(corev1.PodRunning)
			s.Message = fmt.Sprintf("version %d", i)
			m.Set(p, s)
		}
		away(mode, 10)
	}
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			m.Ended(p)
		}
	}
	away("closed", 10)
	if n, _ := m.pending(); n != count {
		t.Errorf("pending during the outage: %d, want %d", n, count)
	}
	o.set("deaf")
	for {
		o.mu.Lock()
		reached := len(o.patches)
		o.mu.Unlock()
		if reached == count {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("reached only %d of %d", reached, count)
		case <-time.After(time.Millisecond):
		}
	}
	o.set("up")
	if err := m.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range pods {
		path := "/api/v1/namespaces/shop/pods/" + p.Name
		got := o.pods[path]
		if p.DeletionTimestamp != nil {
			if got != nil || o.deletes[path] != 1 || o.patches[path] != 1 {
				t.Errorf("%s: %d patches, %d deletes, gone %v, want it patched and deleted once", p.Name, o.patches[path], o.deletes[path], got == nil)
			}
			continue
		}
		if got == nil {
			t.Errorf("%s: gone", p.Name)
			continue
		}
		if got.Status.Message != "version 2" || got.Status.Phase != corev1.PodRunning || o.patches[path] != 1 {
			t.Errorf("%s: %v after %d patches, want version 2 after 1", p.Name, got.Status.Message, o.patches[path])
		}
	}
}
