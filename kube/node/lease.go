package node

import (
	"context"
	"errors"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/apimachinery/lease"
)

// runLease renews the lease that tells the node lifecycle controller that this node is alive. It begins once the Node
// exists, because the lease is owned by it.
func (c *Controller) runLease(ctx context.Context) {
	select {
	case <-c.registered:
	case <-ctx.Done():
		return
	}
	name := c.config.NodeName
	// Run, not Start: Start and Stop delete the lease, which would make every restart look like a failure.
	lease.NewController(c.clock, c.config.Client, name, int32(LeaseDuration.Seconds()), c.config.OnHeartbeatFailure,
		LeaseDuration/4, name, corev1.NamespaceNodeLease, c.own).Run(c.logged(ctx))
}

// own makes the lease be collected with the Node. A Node that was deleted and registered again has another UID.
func (c *Controller) own(l *coordinationv1.Lease) error {
	node := c.Node()
	if node == nil {
		return errors.New("the node is not registered")
	}
	owner := metav1.OwnerReference{
		APIVersion: corev1.SchemeGroupVersion.WithKind("Node").Version, Kind: "Node", Name: node.Name, UID: node.UID,
	}
	if len(l.OwnerReferences) != 1 || l.OwnerReferences[0] != owner {
		l.OwnerReferences = []metav1.OwnerReference{owner}
	}
	return nil
}
