// Package events writes Kubernetes Events (contract.md §9): what a user finds at the end of kubectl describe. It knows no
// actors; the daemon gives it a Notice for each actors.Notice.
//
// Emit never blocks. Events wait in a queue of bounded length, are deduplicated and aggregated as client-go does for every
// component, and are sent by one goroutine at no more than QPS, and at less while there is something more urgent to tell the
// API server. An Event that finds the queue full is dropped: Events are best effort, as everywhere in Kubernetes.
package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
)

// Component is the source of every Event of a node: tools filter for it.
const Component = "kubelet"

// The kubelet's limits.
const (
	DefaultQPS   = 50
	DefaultBurst = 100
)

// While there is something more urgent an Event waits for maxYields times yieldFor, so that ten are sent in a second.
const (
	yieldFor  = 10 * time.Millisecond
	maxYields = 10
)

// Config says where Events go.
type Config struct {
	// Client writes the Events.
	Client kubernetes.Interface
	// NodeName is the host in the Events' source.
	NodeName string
	// QPS and Burst bound the requests; zero means DefaultQPS and DefaultBurst.
	QPS   float32
	Burst int
	// Urgent tells whether there is something that the API server should be told before Events: it takes as long over one of
	// them as over the status of a Pod. It is asked often. Nil: never.
	Urgent func() bool
	// Clock is nil for the real one. It says when similar Events are too old to be counted together; client-go stamps and
	// paces by the real time.
	Clock clock.PassiveClock
}

func (c Config) validate() error {
	switch {
	case c.Client == nil:
		return errors.New("events: Config.Client: missing")
	case c.NodeName == "":
		return errors.New("events: Config.NodeName: missing")
	case c.QPS < 0:
		return fmt.Errorf("events: Config.QPS: want 0 or more (got %v)", c.QPS)
	case c.Burst < 0:
		return fmt.Errorf("events: Config.Burst: want 0 or more (got %d)", c.Burst)
	}
	return nil
}

// Pod names the Pod of a Notice. For a static Pod the UID is its own, not that of its mirror: that is where kubectl
// describe looks for them.
type Pod struct {
	Namespace, Name string
	UID             types.UID
}

// Notice is one Event to be. A zero Pod makes it one of the node.
type Notice struct {
	Pod Pod
	// FieldPath is the part of the Pod, for example spec.containers{web}; empty for the whole.
	FieldPath string
	// Warning is false for type Normal.
	Warning         bool
	Reason, Message string
}

// Sink turns notices into Events. Make it with New; Close ends it.
type Sink struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
	node        *corev1.ObjectReference
	cancel      context.CancelFunc
}

// New returns a Sink that works until ctx is done or Close is called.
func New(ctx context.Context, c Config) (*Sink, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.QPS == 0 {
		c.QPS = DefaultQPS
	}
	if c.Burst == 0 {
		c.Burst = DefaultBurst
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Urgent == nil {
		c.Urgent = func() bool { return false }
	}
	ctx, cancel := context.WithCancel(ctx)
	b := record.NewBroadcaster(record.WithContext(ctx), record.WithCorrelatorOptions(record.CorrelatorOptions{Clock: c.Clock}))
	b.StartRecordingToSink(paced{
		ctx: ctx, events: c.Client.CoreV1().Events(""),
		limit: flowcontrol.NewTokenBucketRateLimiter(c.QPS, c.Burst), urgent: c.Urgent,
	})
	return &Sink{
		broadcaster: b,
		recorder:    b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: Component, Host: c.NodeName}),
		// The UID of a node in Events is its name, as the kubelet has it: kubectl describe node looks for both.
		node:   &corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: c.NodeName, UID: types.UID(c.NodeName)},
		cancel: cancel,
	}, nil
}

// Emit queues an Event. It does not block and may be called from any goroutine.
func (s *Sink) Emit(n Notice) {
	kind := corev1.EventTypeNormal
	if n.Warning {
		kind = corev1.EventTypeWarning
	}
	s.recorder.Event(s.about(n), kind, n.Reason, n.Message)
}

func (s *Sink) about(n Notice) *corev1.ObjectReference {
	if n.Pod == (Pod{}) {
		return s.node
	}
	return &corev1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: n.Pod.Namespace, Name: n.Pod.Name, UID: n.Pod.UID, FieldPath: n.FieldPath,
	}
}

// Recorder is for those who speak client-go: the same queue, source and limits.
func (s *Sink) Recorder() record.EventRecorder { return s.recorder }

// Node is the reference under which Events of the node are recorded.
func (s *Sink) Node() *corev1.ObjectReference { return s.node.DeepCopy() }

// Close drops what is still queued and ends the Sink.
func (s *Sink) Close() {
	s.cancel()
	s.broadcaster.Shutdown()
}

// paced is a record.EventSink that waits for its turn. Waiting holds up the sender only, never those who emit.
type paced struct {
	ctx    context.Context //nolint:containedctx // record.EventSink has no room for it
	events typedcorev1.EventInterface
	limit  flowcontrol.RateLimiter
	urgent func() bool
}

// turn waits until it is an Event's turn.
func (p paced) turn() error {
	for yields := 0; yields < maxYields && p.urgent(); yields++ {
		t := time.NewTimer(yieldFor)
		select {
		case <-t.C:
		case <-p.ctx.Done():
			t.Stop()
			return p.ctx.Err()
		}
	}
	return p.limit.Wait(p.ctx)
}

func (p paced) Create(e *corev1.Event) (*corev1.Event, error) {
	if err := p.turn(); err != nil {
		return nil, err
	}
	return p.events.CreateWithEventNamespaceWithContext(p.ctx, e)
}

func (p paced) Update(e *corev1.Event) (*corev1.Event, error) {
	if err := p.turn(); err != nil {
		return nil, err
	}
	return p.events.UpdateWithEventNamespaceWithContext(p.ctx, e)
}

func (p paced) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	if err := p.turn(); err != nil {
		return nil, err
	}
	return p.events.PatchWithEventNamespaceWithContext(p.ctx, e, data)
}

var _ record.EventSink = paced{}
