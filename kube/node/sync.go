package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/node/util"
)

const (
	// updateTries is how often a status is tried in one pass.
	updateTries = 5
	// requestTimeout bounds one request, so that a dead connection costs no more than one lease renewal.
	requestTimeout = 10 * time.Second

	registerFirst = 100 * time.Millisecond
	registerMax   = 7 * time.Second
)

// sync registers the Node if need be and reports its status if need be.
func (c *Controller) sync(ctx context.Context) {
	if !c.exists && !c.register(ctx) {
		return
	}
	var err error
	for try := range updateTries {
		err = c.tryUpdate(ctx, try > 0)
		if err == nil || ctx.Err() != nil {
			return
		}
		if apierrors.IsNotFound(err) {
			c.deleted()
			return
		}
		if try > 0 && c.config.OnHeartbeatFailure != nil {
			c.config.OnHeartbeatFailure()
		}
	}
	c.log.Warn("node status is not written, will be tried again", zap.Error(err))
}

// hurry lets the scheduler know as soon as the node becomes ready.
func (c *Controller) hurry(ctx context.Context) {
	node := c.Node()
	if c.ready || !c.exists || node == nil || c.config.Ready != nil && c.config.Ready() != nil {
		return
	}
	next, _ := c.config.status(node, c.observe(), c.clock.Now())
	if isReady(next) {
		c.sync(ctx)
	}
}

// tryUpdate writes the status if it differs, or was written long ago.
func (c *Controller) tryUpdate(ctx context.Context, live bool) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	old := c.Node()
	if live || old == nil {
		var err error
		old, err = c.config.Client.CoreV1().Nodes().Get(ctx, c.config.NodeName, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("get node: %w", err)
		}
	}
	now := c.clock.Now()
	next, events := c.config.status(old, c.observe(), now)
	changed := c.isNews(old, next)
	if !changed && now.Sub(c.reportedAt) < ReportInterval+c.delay {
		c.ready = isReady(old)
		return nil
	}
	written, err := c.patch(ctx, old, next)
	if err != nil {
		return err
	}
	c.sent, c.got = next, written
	c.reported(now, changed || c.reportedAt.IsZero(), written, events)
	return nil
}

// isNews says whether there is a difference that the API server has not been told yet. One that it was told of and did not
// take over, such as a field that it does not know, would otherwise be written every ten seconds.
func (c *Controller) isNews(old, next *corev1.Node) bool {
	if !differs(old, next) {
		return false
	}
	return c.sent == nil || differs(c.sent, next) || differs(c.got, old)
}

// reported takes note of a status that the API server has accepted.
func (c *Controller) reported(now time.Time, changed bool, written *corev1.Node, events []event) {
	c.delay = 0
	if changed { // so that nodes that changed together do not report together for ever
		c.delay = time.Duration(float64(ReportInterval) * (c.config.Random() - 0.5))
	}
	c.reportedAt = now
	c.ready = isReady(written)
	c.keep(written)
	for _, e := range events {
		c.event(e)
	}
}

// observe asks everybody and logs problems once.
func (c *Controller) observe() observation {
	o := c.config.observe()
	var problem string
	if err := errors.Join(o.addressErr, o.machineErr, o.pressureErr); err != nil {
		problem = err.Error()
	}
	if problem != c.problem && problem != "" {
		c.log.Warn("the state of the node is not fully known", zap.String("err", problem))
	}
	c.problem = problem
	return o
}

func isReady(n *corev1.Node) bool {
	_, condition := util.GetNodeCondition(&n.Status, corev1.NodeReady)
	return condition != nil && condition.Status == corev1.ConditionTrue
}
