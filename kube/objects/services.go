package objects

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// newServices follows the Services of all namespaces; only what makes environment variables is kept.
func newServices(client kubernetes.Interface) (cache.SharedIndexInformer, error) {
	informer := coreinformers.NewServiceInformer(client, metav1.NamespaceAll, 0, cache.Indexers{
		cache.NamespaceIndex: cache.MetaNamespaceIndexFunc,
	})
	err := informer.SetTransform(func(obj any) (any, error) {
		if s, ok := obj.(*corev1.Service); ok {
			return &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion,
				},
				Spec: corev1.ServiceSpec{ClusterIP: s.Spec.ClusterIP, Ports: s.Spec.Ports},
			}, nil
		}
		return obj, nil
	})
	if err != nil {
		return nil, fmt.Errorf("follow services: %w", err)
	}
	return informer, nil
}

// Services lists the Services of a namespace, in no order, with their addresses and ports. They are shared and must not
// be changed. With a context that is over it does not wait for the first complete list.
func (s *Objects) Services(ctx context.Context, namespace string) ([]*corev1.Service, error) {
	if !s.services.HasSynced() {
		ctx, cancel := context.WithTimeout(ctx, s.o.Wait)
		defer cancel()
		select {
		case <-s.services.HasSyncedChecker().Done():
		case <-ctx.Done():
			return nil, fmt.Errorf("list services of namespace %s: %w", namespace, ctx.Err())
		}
	}
	found, err := s.services.GetIndexer().ByIndex(cache.NamespaceIndex, namespace)
	if err != nil {
		return nil, fmt.Errorf("list services of namespace %s: %w", namespace, err)
	}
	services := make([]*corev1.Service, 0, len(found))
	for _, obj := range found {
		if svc, ok := obj.(*corev1.Service); ok {
			services = append(services, svc)
		}
	}
	return services, nil
}
