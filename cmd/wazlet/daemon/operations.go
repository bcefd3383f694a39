package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	utilexec "k8s.io/utils/exec"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// The operations of the runtime, by the kubelet's names where a container runtime has the same.
const (
	opPull        = "pull_image"
	opCompile     = "compile_module"
	opStart       = "start_container"
	opStop        = "stop_container"
	opExec        = "exec"
	opAttach      = "attach"
	opPortForward = "port_forward"
)

// operations measures what the node has its runtime do.
type operations struct {
	total, errors *prometheus.CounterVec
	took          *prometheus.HistogramVec

	mu       sync.Mutex
	stopping map[string]map[string]time.Time // by UID of the Pod and name of the container
}

func newOperations() *operations {
	labels := []string{"operation_type"}
	return &operations{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_runtime_operations_total", Help: "[ALPHA] Cumulative number of runtime operations by operation type.",
		}, labels),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_runtime_operations_errors_total", Help: "[ALPHA] Cumulative number of runtime operation errors by operation type.",
		}, labels),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_runtime_operations_duration_seconds", Buckets: prometheus.ExponentialBuckets(.005, 2.5, 14),
			Help: "[ALPHA] Duration in seconds of runtime operations. Broken down by operation type.",
		}, labels),
		stopping: map[string]map[string]time.Time{},
	}
}

func (o *operations) collectors() []prometheus.Collector {
	return []prometheus.Collector{o.total, o.errors, o.took}
}

// measure counts an operation that is done here and now. What a guest exits with is no error of the runtime.
func (o *operations) measure(what string, do func() error) error {
	began := time.Now()
	err := do()
	_, exited := errors.AsType[utilexec.ExitError](err)
	o.count(what, time.Since(began), err != nil && !exited)
	return err
}

func (o *operations) count(what string, took time.Duration, failed bool) {
	o.total.WithLabelValues(what).Inc()
	o.took.WithLabelValues(what).Observe(max(0, took).Seconds())
	if failed {
		o.errors.WithLabelValues(what).Inc()
	}
}

// observe finds in the event stream how long containers take to be stopped.
func (o *operations) observe(e actors.Event) {
	switch e := e.(type) {
	case actors.Notice:
		if name := containerOf(e.FieldPath); name != "" && e.Reason == actors.ReasonKilling {
			o.stop(e.Pod.UID, name, e.Time)
		}
	case actors.Decision:
		o.stopped(e.Pod.UID, e.Container, e.Time)
	case actors.Transition, actors.Failure, actors.DeadLetter:
	}
}

func (o *operations) stop(uid, container string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopping[uid] == nil {
		o.stopping[uid] = map[string]time.Time{}
	}
	o.stopping[uid][container] = at
}

func (o *operations) stopped(uid, container string, at time.Time) {
	o.mu.Lock()
	since, asked := o.stopping[uid][container]
	delete(o.stopping[uid], container)
	o.mu.Unlock()
	if asked {
		o.count(opStop, at.Sub(since), false)
	}
}

// forget drops what is left of a Pod.
func (o *operations) forget(uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.stopping, uid)
}

// countedImages is the image store; pulls that asked a registry are counted.
type countedImages struct {
	*image.Store
	counted *operations
}

// EnsureWith implements moduleactor.Images.
func (i countedImages) EnsureWith(ctx context.Context, ref string, policy image.PullPolicy, keys image.Keys) (image.Image, error) {
	began := time.Now()
	img, err := i.Store.EnsureWith(ctx, ref, policy, keys)
	if askedRegistry(img, err) {
		i.counted.count(opPull, time.Since(began), err != nil)
	}
	return img, err
}

func askedRegistry(img image.Image, err error) bool {
	if problem, ok := errors.AsType[*image.Error](err); ok {
		return problem.Reason == image.ErrImagePull || problem.Reason == image.RegistryUnavailable
	}
	return err != nil || !img.Present
}

// countedRuntime is the runtime with its compilations and starts counted.
type countedRuntime struct {
	moduleactor.Runtime
	counted *operations
}

// Compile implements moduleactor.Runtime.
func (r countedRuntime) Compile(ctx context.Context, module, digest string, metered bool) error {
	return r.counted.measure(opCompile, func() error { return r.Runtime.Compile(ctx, module, digest, metered) })
}

// Start implements moduleactor.Runtime.
func (r countedRuntime) Start(ctx context.Context, spec bundle.Spec, limits bundle.Limits) (p moduleactor.Process, err error) {
	err = r.counted.measure(opStart, func() (err error) {
		p, err = r.Runtime.Start(ctx, spec, limits)
		return err
	})
	return p, err
}
