package node

import (
	"context"
	"fmt"
	"maps"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// register tries until the Node exists; it reports false when ctx ended before.
func (c *Controller) register(ctx context.Context) bool {
	for wait := registerFirst; ; wait = min(2*wait, registerMax) {
		err := c.tryRegister(ctx)
		if err == nil {
			c.exists = true
			return true
		}
		if ctx.Err() == nil {
			c.log.Warn("node is not registered, will be tried again", zap.Duration("backoff", wait), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return false
		case <-c.clock.After(wait):
		}
	}
}

// tryRegister creates the Node, or refreshes one that exists. The taints of a Node that exists stay: the API server lets no
// node change its own.
func (c *Controller) tryRegister(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	nodes := c.config.Client.CoreV1().Nodes()
	now := c.clock.Now()
	o := c.observe()
	node, events := c.config.status(c.config.initial(), o, now)
	created, err := nodes.Create(ctx, node, metav1.CreateOptions{})
	if err == nil {
		c.log.Info("node registered")
		c.reported(now, true, created, events)
		return nil
	}
	// Some clusters let nodes update their Node but not create it.
	if !apierrors.IsAlreadyExists(err) && !apierrors.IsForbidden(err) {
		return fmt.Errorf("create node: %w", err)
	}
	old, getErr := nodes.Get(ctx, c.config.NodeName, metav1.GetOptions{})
	if getErr != nil {
		return fmt.Errorf("create node: %w; get node: %w", err, getErr)
	}
	return c.refresh(ctx, old, o)
}

// refresh brings labels, annotations and status of a Node of an earlier run up to date. Labels that are not ours stay.
func (c *Controller) refresh(ctx context.Context, old *corev1.Node, o observation) error {
	now := c.clock.Now()
	base := old.DeepCopy()
	wanted := c.config.initial()
	if base.Labels == nil {
		base.Labels = map[string]string{}
	}
	if base.Annotations == nil {
		base.Annotations = map[string]string{}
	}
	maps.Copy(base.Labels, wanted.Labels)
	maps.Copy(base.Annotations, wanted.Annotations)
	next, events := c.config.status(base, o, now)
	c.log.Info("node was registered before")
	if !differs(old, next) {
		c.ready = isReady(old)
		c.keep(old)
		return nil
	}
	written, err := c.patch(ctx, old, next)
	if err != nil {
		return err
	}
	c.reported(now, true, written, events)
	return nil
}
