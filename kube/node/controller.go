package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Controller keeps the Node object. Run may be called once; all other methods at any time from any goroutine.
type Controller struct {
	config Config
	log    *zap.Logger
	clock  clock.WithDelayedExecution
	nodes  cache.SharedInformer

	registered     chan struct{}
	registeredOnce sync.Once
	// nudge asks for a status now; gone says that somebody deleted the Node.
	nudge, gone chan struct{}

	// telling keeps the calls of OnPodCIDRs in order.
	telling sync.Mutex
	mu      sync.Mutex
	// written is the Node as our last request left it: what the informer has not seen yet.
	written *corev1.Node
	// rewritten is closed, and replaced, with each of them.
	rewritten chan struct{}
	// podCIDRs were told to OnPodCIDRs; cordoned was told as an Event.
	podCIDRs []string
	cordoned bool

	// The rest belongs to Run.
	exists     bool
	ready      bool
	startedAt  time.Time
	reportedAt time.Time
	delay      time.Duration
	// sent and got are the last patch: the Node as we wanted it and as the API server made it, which may be less.
	sent, got *corev1.Node
	// problem is the latest that observe has logged.
	problem string
}

// New checks the configuration.
func New(config Config) (*Controller, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	c := &Controller{
		config: config, log: config.Log.With(zap.String("node", config.NodeName)), clock: config.Clock,
		registered: make(chan struct{}), nudge: make(chan struct{}, 1), gone: make(chan struct{}, 1), rewritten: make(chan struct{}),
	}
	c.nodes = c.informer()
	return c, nil
}

// Run registers the Node and keeps it until ctx ends. It leaves Node and lease as they are: a node that restarts is not gone.
func (c *Controller) Run(ctx context.Context) {
	c.event(event{corev1.EventTypeNormal, "Starting", "Starting kubelet."})
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts.Go(func() { c.nodes.RunWithContext(c.logged(ctx)) })
	parts.Go(func() { c.runLease(ctx) })

	c.startedAt = c.clock.Now()
	next := c.startedAt // of the next full pass; those between only look whether the node has become ready
	for ctx.Err() == nil {
		if now := c.clock.Now(); !now.Before(next) {
			c.sync(ctx)
			next = c.clock.Now().Add(StatusInterval)
		} else {
			c.hurry(ctx)
		}
		select {
		case <-ctx.Done():
		case <-c.clock.After(c.pause(next)):
		case <-c.nudge:
			next = c.clock.Now()
		case <-c.gone:
			c.exists = false
			next = c.clock.Now()
		}
	}
}

// pause is how long until the next pass.
func (c *Controller) pause(next time.Time) time.Duration {
	now := c.clock.Now()
	if !c.ready && now.Sub(c.startedAt) < fastFor {
		return min(fastInterval, next.Sub(now))
	}
	return next.Sub(now)
}

// Nudge makes the controller look at the node's state now, because something relevant has changed.
func (c *Controller) Nudge() { signal(c.nudge) }

// AwaitUnready waits until the API server has a Node that is not ready, for a node that is about to end. One that was never
// registered has nothing to say. It is Config.Ready that must give the reason.
func (c *Controller) AwaitUnready(ctx context.Context) error {
	c.Nudge()
	for {
		c.mu.Lock()
		rewritten := c.rewritten
		c.mu.Unlock()
		if node := c.Node(); node == nil || !isReady(node) {
			return nil
		}
		select {
		case <-rewritten:
		case <-ctx.Done():
			return fmt.Errorf("write that the node is not ready: %w", ctx.Err())
		}
	}
}

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default: // somebody has asked already
	}
}

// Node is the Node object as last seen; nil before it is known. It must not be changed.
func (c *Controller) Node() *corev1.Node {
	c.mu.Lock()
	written := c.written
	c.mu.Unlock()
	object, exists, err := c.nodes.GetStore().GetByKey(c.config.NodeName)
	if err != nil || !exists {
		return written
	}
	cached, ok := object.(*corev1.Node)
	if !ok {
		return written
	}
	if written != nil && newer(written, cached) {
		return written
	}
	return cached
}

// Refresh reads the Node, for a caller to whom what was last seen is not new enough.
func (c *Controller) Refresh(ctx context.Context) error {
	node, err := c.config.Client.CoreV1().Nodes().Get(ctx, c.config.NodeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get node: %w", err)
	}
	c.mu.Lock()
	news := c.written == nil || newer(node, c.written)
	if news {
		c.written = node
	}
	c.mu.Unlock()
	if news {
		c.seen(node)
	}
	return nil
}

// Registered is closed once the Node exists.
func (c *Controller) Registered() <-chan struct{} { return c.registered }

// PodCIDRs are those of the Node; nil while there are none.
func (c *Controller) PodCIDRs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.podCIDRs)
}

// Addresses are what the node can be reached at, the host name included; for certificates. They do not depend on the Node
// being registered.
func (c *Controller) Addresses() []corev1.NodeAddress {
	if node := c.Node(); node != nil && len(node.Status.Addresses) > 0 {
		return node.Status.Addresses
	}
	addresses, err := c.config.Addresses()
	if err != nil {
		return nil
	}
	return append(slices.Clone(addresses), corev1.NodeAddress{Type: corev1.NodeHostName, Address: c.config.Hostname})
}

// keep remembers what a request has left behind.
func (c *Controller) keep(node *corev1.Node) {
	c.mu.Lock()
	c.written = node
	close(c.rewritten)
	c.rewritten = make(chan struct{})
	c.mu.Unlock()
	c.seen(node)
	c.registeredOnce.Do(func() { close(c.registered) })
}

// seen tells of what others decide about the Node: its Pod CIDRs and whether Pods may be scheduled to it.
func (c *Controller) seen(node *corev1.Node) {
	c.telling.Lock()
	defer c.telling.Unlock()
	c.mu.Lock()
	cidrs := node.Spec.PodCIDRs
	news := len(cidrs) > 0 && !slices.Equal(cidrs, c.podCIDRs)
	if news {
		c.podCIDRs = slices.Clone(cidrs)
	}
	turned := c.cordoned != node.Spec.Unschedulable
	c.cordoned = node.Spec.Unschedulable
	c.mu.Unlock()
	if news && c.config.OnPodCIDRs != nil {
		c.config.OnPodCIDRs(slices.Clone(cidrs))
	}
	if !turned {
		return
	}
	reason := "NodeSchedulable"
	if node.Spec.Unschedulable {
		reason = "NodeNotSchedulable"
	}
	c.event(event{corev1.EventTypeNormal, reason, c.config.statusIsNow(reason)})
}

// event records an Event of the Node. Its UID is the name, by which kubectl describe looks for a node's Events.
func (c *Controller) event(e event) {
	c.log.Info("node event", zap.String("reason", e.reason), zap.String("message", e.message))
	if c.config.Recorder == nil {
		return
	}
	name := c.config.NodeName
	c.config.Recorder.Event(&corev1.ObjectReference{Kind: "Node", Name: name, UID: types.UID(name)}, e.kind, e.reason, e.message)
}
