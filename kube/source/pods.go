package source

import (
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// PodsOptions are what Pods needs to know. The callbacks are called one at a time, in the order in which things happened,
// and hold up further news while they work. The Pods are shared: they must not be modified.
type PodsOptions struct {
	// Client reads the API. A node may list Pods only by its own name.
	Client   kubernetes.Interface
	NodeName string
	// OnChange is told a Pod that is new or changed, OnGone the last known version of one that is not there any more. A
	// Pod that was replaced by one of the same name is gone first, even if the watch missed it.
	OnChange, OnGone func(*corev1.Pod)
	// OnSynced is called once, when everything that was there at the beginning has been told.
	OnSynced func()
	// OnProblem is told why the API cannot be read; it is tried again, with a back-off, for ever. May be nil.
	OnProblem func(error)
}

// Pods follows the Pods of the API that are bound to this node, mirror Pods included. Make it with NewPods and call Run
// once, after the node was registered.
type Pods struct {
	o        PodsOptions
	informer cache.SharedIndexInformer
	handled  cache.ResourceEventHandlerRegistration
	synced   chan struct{}
}

// NewPods returns a Pods that Run starts.
func NewPods(o PodsOptions) (*Pods, error) {
	if o.OnProblem == nil {
		o.OnProblem = func(error) {}
	}
	mine := fields.OneTermEqualSelector("spec.nodeName", o.NodeName).String()
	p := &Pods{
		o: o, synced: make(chan struct{}),
		informer: coreinformers.NewFilteredPodInformer(o.Client, metav1.NamespaceAll, 0, cache.Indexers{},
			func(l *metav1.ListOptions) { l.FieldSelector = mine }),
	}
	if err := p.informer.SetTransform(slim); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	if err := p.informer.SetWatchErrorHandlerWithContext(p.failed); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	var err error
	p.handled, err = p.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { p.changed(nil, obj) }, UpdateFunc: p.changed, DeleteFunc: p.deleted,
	})
	if err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	return p, nil
}

// Run follows the API until ctx is done.
func (p *Pods) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
		case <-p.handled.HasSyncedChecker().Done():
			p.o.OnSynced()
			close(p.synced)
		}
	}()
	p.informer.RunWithContext(ctx)
	<-done
}

// Synced is closed when OnSynced has returned.
func (p *Pods) Synced() <-chan struct{} { return p.synced }

// Get returns the Pod as it was last seen, nil when there is none of that name. It must not be modified.
func (p *Pods) Get(namespace, name string) *corev1.Pod {
	obj, found, err := p.informer.GetStore().GetByKey(cache.NewObjectName(namespace, name).String())
	if err != nil || !found {
		return nil
	}
	pod, _ := obj.(*corev1.Pod)
	return pod
}

// List returns all Pods as they were last seen, in no order. They must not be modified.
func (p *Pods) List() []*corev1.Pod {
	objects := p.informer.GetStore().List()
	pods := make([]*corev1.Pod, 0, len(objects))
	for _, obj := range objects {
		if pod, ok := obj.(*corev1.Pod); ok {
			pods = append(pods, pod)
		}
	}
	return pods
}

func (p *Pods) changed(before, now any) {
	pod, ok := now.(*corev1.Pod)
	if !ok {
		return
	}
	if old, ok := before.(*corev1.Pod); ok && old.UID != pod.UID {
		p.o.OnGone(old)
	}
	p.o.OnChange(pod)
}

func (p *Pods) deleted(obj any) {
	if missed, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = missed.Obj
	}
	if pod, ok := obj.(*corev1.Pod); ok {
		p.o.OnGone(pod)
	}
}

// failed reports what keeps the watch from working. That it ends now and then is how watches are.
func (p *Pods) failed(ctx context.Context, _ *cache.Reflector, err error) {
	if ctx.Err() != nil || errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return
	}
	p.o.OnProblem(fmt.Errorf("watch pods of node %s: %w", p.o.NodeName, err))
}

// slim drops what nobody here reads and what is as large as the rest of the Pod together.
func slim(obj any) (any, error) {
	if pod, ok := obj.(*corev1.Pod); ok {
		pod.ManagedFields = nil
	}
	return obj, nil
}
