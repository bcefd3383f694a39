package events

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/util/flowcontrol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorded returns a client and what is created with it.
func recorded(t *testing.T) (*fake.Clientset, <-chan *corev1.Event) {
	t.Helper()
	client := fake.NewClientset()
	created := make(chan *corev1.Event, 100)
	client.PrependReactor("create", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
		e := a.(clienttesting.CreateAction).GetObject().(*corev1.Event)
		created <- e.DeepCopy()
		return true, e, nil
	})
	return client, created
}

func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case v := <-c:
		return v
	case <-ctx.Done():
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestEmit(t *testing.T) {
	client, created := recorded(t)
	s, err := New(t.Context(), Config{Client: client, NodeName: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pod := Pod{Namespace: "shop", Name: "web", UID: "u1"}
	for _, tc := range []struct {
		name   string
		notice Notice
		about  corev1.ObjectReference
		kind   string
	}{
		{
			"container",
			Notice{Pod: pod, FieldPath: "spec.containers{web}", Reason: "Pulled", Message: "Container image"},
			corev1.ObjectReference{
				Kind: "Pod", APIVersion: "v1", Namespace: "shop", Name: "web", UID: "u1", FieldPath: "spec.containers{web}",
			},
			"Normal",
		},
		{
			"pod",
			Notice{Pod: pod, Warning: true, Reason: "FailedMount", Message: "no such volume"},
			corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: "shop", Name: "web", UID: "u1"},
			"Warning",
		},
		{
			"node",
			Notice{Reason: "Starting", Message: "Starting kubelet."},
			corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: "edge-1", UID: "edge-1"},
			"Normal",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.Emit(tc.notice)
			e := await(t, created)
			if diff := cmp.Diff(tc.about, e.InvolvedObject); diff != "" {
				t.Errorf("involved object (-want +got):\n%s", diff)
			}
			got := [...]string{e.Type, e.Reason, e.Message, e.Source.Component, e.Source.Host, e.ReportingController}
			want := [...]string{tc.kind, tc.notice.Reason, tc.notice.Message, "kubelet", "edge-1", "kubelet"}
			if got != want {
				t.Errorf("event: got %q, want %q", got, want)
			}
			namespace := tc.about.Namespace
			if namespace == "" {
				namespace = "default"
			}
			if e.Namespace != namespace {
				t.Errorf("namespace: got %q, want %q", e.Namespace, namespace)
			}
		})
	}
	s.Recorder().Event(s.Node(), corev1.EventTypeNormal, "NodeReady", "by recorder")
	if e := await(t, created); e.Source.Host != "edge-1" || e.InvolvedObject.Kind != "Node" {
		t.Errorf("by recorder: got %v about %v", e.Source, e.InvolvedObject)
	}
}

func TestRepeatedEventsAreCounted(t *testing.T) {
	client, created := recorded(t)
	counted := make(chan string, 1)
	client.PrependReactor("patch", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
		counted <- string(a.(clienttesting.PatchAction).GetPatch())
		return true, &corev1.Event{}, nil
	})
	s, err := New(t.Context(), Config{Client: client, NodeName: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := Notice{Pod: Pod{Namespace: "shop", Name: "web", UID: "u1"}, Warning: true, Reason: "BackOff", Message: "again"}
	s.Emit(n)
	await(t, created)
	s.Emit(n)
	if patch := await(t, counted); !strings.Contains(patch, `"count":2`) {
		t.Errorf("patch: got %s, want a count of 2", patch)
	}
}

func TestEmitDoesNotBlock(t *testing.T) {
	client := fake.NewClientset()
	release := make(chan struct{})
	client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		<-release
		return true, nil, errors.New("connection refused")
	})
	s, err := New(t.Context(), Config{Client: client, NodeName: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5000 { // several times what the queue holds
			s.Emit(Notice{Reason: "Starting", Message: "Starting kubelet."})
		}
	}()
	await(t, done)
	close(release)
	s.Close()
	s.Emit(Notice{Reason: "Late", Message: "after the end"})
}

// gate is a rate limiter that lets one request pass for each token.
type gate struct {
	flowcontrol.RateLimiter
	tokens chan struct{}
}

func (g gate) Wait(ctx context.Context) error {
	select {
	case <-g.tokens:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestPaced(t *testing.T) {
	client, created := recorded(t)
	ctx, cancel := context.WithCancel(t.Context())
	g := gate{tokens: make(chan struct{}, 1)}
	p := paced{ctx: ctx, events: client.CoreV1().Events(""), limit: g, urgent: func() bool { return false }}
	g.tokens <- struct{}{}
	if _, err := p.Create(&corev1.Event{}); err != nil {
		t.Fatalf("create with a token: %v", err)
	}
	await(t, created)
	cancel()
	for name, send := range map[string]func() (*corev1.Event, error){
		"create": func() (*corev1.Event, error) { return p.Create(&corev1.Event{}) },
		"update": func() (*corev1.Event, error) { return p.Update(&corev1.Event{}) },
		"patch":  func() (*corev1.Event, error) { return p.Patch(&corev1.Event{}, nil) },
	} {
		if _, err := send(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s without a token: got %v, want %v", name, err, context.Canceled)
		}
	}
	if n := len(client.Actions()); n != 1 {
		t.Errorf("requests: got %d, want 1", n)
	}
}

// An Event is sent once nothing is more urgent, and in the end in any case.
func TestEventsGiveWay(t *testing.T) {
	for name, tc := range map[string]struct{ urgent, asked int }{
		"nothing is urgent":   {0, 1},
		"something was":       {3, 4},
		"something always is": {1000, maxYields},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := recorded(t)
			asked := 0
			p := paced{
				ctx: t.Context(), events: client.CoreV1().Events(""), limit: flowcontrol.NewFakeAlwaysRateLimiter(),
				urgent: func() bool {
					if n := len(client.Actions()); n != 0 {
						t.Errorf("%d requests before it was asked", n)
					}
					asked++
					return asked <= tc.urgent
				},
			}
			if _, err := p.Create(&corev1.Event{}); err != nil {
				t.Fatal(err)
			}
			if n := len(client.Actions()); n != 1 || asked != tc.asked {
				t.Errorf("%d requests after %d questions, want 1 after %d", n, asked, tc.asked)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	good := Config{Client: fake.NewClientset(), NodeName: "n"}
	for _, tc := range []struct {
		want   string
		change func(*Config)
	}{
		{"Config.Client: missing", func(c *Config) { c.Client = nil }},
		{"Config.NodeName: missing", func(c *Config) { c.NodeName = "" }},
		{"Config.QPS: want 0 or more (got -1)", func(c *Config) { c.QPS = -1 }},
		{"Config.Burst: want 0 or more (got -2)", func(c *Config) { c.Burst = -2 }},
	} {
		c := good
		tc.change(&c)
		if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}
