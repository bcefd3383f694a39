package node

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/wazlet/wazlet/kube/logbridge"
)

// informer follows this Node only; the Node authorizer allows no more.
func (c *Controller) informer() cache.SharedInformer {
	nodes := c.config.Client.CoreV1().Nodes()
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, c.config.NodeName).String()
	informer := cache.NewSharedInformer(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return nodes.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return nodes.Watch(ctx, o)
		},
	}, c.config.Client), &corev1.Node{}, 0)
	changed := func(object any) {
		if node, ok := object.(*corev1.Node); ok && node.Name == c.config.NodeName {
			c.seen(node)
		}
	}
	// An error would say that the informer has been stopped; it has not been started yet.
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    changed,
		UpdateFunc: func(_, object any) { changed(object) },
		DeleteFunc: func(any) { c.deleted() },
	})
	return informer
}

// deleted lets the Node be registered again.
func (c *Controller) deleted() {
	c.mu.Lock()
	c.written = nil
	c.podCIDRs = nil
	c.mu.Unlock()
	c.log.Warn("the node object was deleted, registering it again")
	signal(c.gone)
}

// newer compares what may be two states of one object, or of two objects of the same name.
func newer(a, b *corev1.Node) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order > 0
}

// logged lets client-go log into the node's log.
func (c *Controller) logged(ctx context.Context) context.Context {
	return klog.NewContext(ctx, logbridge.New(c.log))
}
