// Package approver approves the requests of nodes for serving certificates, which nobody does in a cluster of its own
// accord: kube-controller-manager signs what is approved, and approves client certificates only. A node gets a
// certificate for itself and for the addresses its Node object has.
package approver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/certificates/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/apis/certificates"
	capihelper "k8s.io/kubernetes/pkg/apis/certificates/v1"
	"k8s.io/utils/clock"
)

const (
	// nodePrefix begins the user name of every node.
	nodePrefix = "system:node:"
	// grace is how long a node may take from asking for a certificate to publishing the addresses it asks for.
	grace = 2 * time.Second
	// again is when a request that cannot be judged yet is looked at again.
	again = 200 * time.Millisecond
)

type approver struct {
	client kubernetes.Interface
	clock  clock.PassiveClock
	lister listers.CertificateSigningRequestLister
	queue  workqueue.TypedRateLimitingInterface[string]
}

// Run approves and denies until ctx is done.
func Run(ctx context.Context, client kubernetes.Interface) error {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = "spec.signerName=" + certificatesv1.KubeletServingSignerName
	}))
	requests := factory.Certificates().V1().CertificateSigningRequests()
	a := &approver{
		client: client, clock: clock.RealClock{}, lister: requests.Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
	}
	enqueue := func(o any) {
		if key, err := cache.MetaNamespaceKeyFunc(o); err == nil { // requests have no namespace: the key is the name
			a.queue.Add(key)
		}
	}
	if _, err := requests.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, o any) { enqueue(o) },
	}); err != nil {
		return fmt.Errorf("watch requests: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	factory.WaitForCacheSync(ctx.Done())
	defer context.AfterFunc(ctx, a.queue.ShutDown)()
	for a.next(ctx) {
	}
	return nil
}

// next handles one request. It returns false at the end.
func (a *approver) next(ctx context.Context) bool {
	name, done := a.queue.Get()
	if done {
		return false
	}
	defer a.queue.Done(name)
	wait, err := a.sync(ctx, name)
	switch {
	case err != nil && ctx.Err() == nil:
		klog.FromContext(ctx).Error(err, "judge a request for a serving certificate", "name", name)
		a.queue.AddRateLimited(name)
	case wait:
		a.queue.AddAfter(name, again)
	default:
		a.queue.Forget(name)
	}
	return true
}

// sync judges one request and writes the verdict. wait: it cannot be judged yet.
func (a *approver) sync(ctx context.Context, name string) (wait bool, err error) {
	r, err := a.lister.Get(name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if len(r.Status.Conditions) > 0 {
		return false, nil
	}
	v := check(r)
	if v.kind == undecided {
		node, err := a.client.CoreV1().Nodes().Get(ctx, strings.TrimPrefix(r.Spec.Username, nodePrefix), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil // it will be, or else the request expires
		}
		if err != nil {
			return false, err
		}
		v = compare(v, node, a.clock.Since(r.CreationTimestamp.Time))
	}
	if v.kind == undecided {
		return true, nil
	}
	r = r.DeepCopy()
	r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
		Type: v.kind, Status: corev1.ConditionTrue, Reason: "DevCluster", Message: v.message,
	}}
	_, err = a.client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, name, r, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil // its next version is looked at
	}
	return false, err
}

// undecided is the verdict of a request that only the Node object can decide.
const undecided certificatesv1.RequestConditionType = ""

type verdict struct {
	kind    certificatesv1.RequestConditionType
	message string
	names   []string // that the certificate is for
}

func deny(format string, args ...any) verdict {
	return verdict{kind: certificatesv1.CertificateDenied, message: fmt.Sprintf(format, args...)}
}

// check says what is wrong with a request by itself.
func check(r *certificatesv1.CertificateSigningRequest) verdict {
	if !strings.HasPrefix(r.Spec.Username, nodePrefix) || !slices.Contains(r.Spec.Groups, "system:nodes") {
		return deny("%s is no node", r.Spec.Username)
	}
	req, err := capihelper.ParseCSR(r.Spec.Request)
	if err != nil {
		return deny("the request is not readable: %v", err)
	}
	usages := sets.NewString()
	for _, u := range r.Spec.Usages {
		usages.Insert(string(u))
	}
	if err := certificates.ValidateKubeletServingCSR(req, usages); err != nil {
		return deny("the request is not for a kubelet's server: %v", err)
	}
	if req.Subject.CommonName != r.Spec.Username {
		return deny("%s asked for a certificate of %s", r.Spec.Username, req.Subject.CommonName)
	}
	names := slices.Clone(req.DNSNames)
	for _, ip := range req.IPAddresses {
		names = append(names, ip.String())
	}
	return verdict{names: names}
}

// compare says if the names asked for are those of the node. Ones that are not may still become so while the request is
// younger than grace.
func compare(v verdict, node *corev1.Node, age time.Duration) verdict {
	own := []string{node.Name}
	for _, a := range node.Status.Addresses {
		own = append(own, a.Address)
	}
	for _, name := range v.names {
		if !slices.Contains(own, name) {
			if age < grace {
				return v
			}
			return deny("%s is no address of node %s, which has %s", name, node.Name, strings.Join(own, ", "))
		}
	}
	return verdict{kind: certificatesv1.CertificateApproved, message: "a node asked for itself"}
}
