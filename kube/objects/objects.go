package objects

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// DefaultWait bounds how long a read waits for the API server.
const DefaultWait = 5 * time.Second

// The kinds that OnChange names.
const (
	KindConfigMap = "ConfigMap"
	KindSecret    = "Secret"
)

// Options say where objects come from.
type Options struct {
	// Client reads the API, as the node.
	Client kubernetes.Interface
	// OnChange is told that an object that a registered Pod refers to is another one now, appeared or vanished, or can be
	// read at last after it could not. It is called from the goroutine of the object's watch and must not block. May be nil.
	OnChange func(kind, namespace, name string)
	// Wait bounds each read; zero means DefaultWait.
	Wait time.Duration
	// Clock says when tokens grow old, and paces requests that are refused; nil for the real one.
	Clock clock.Clock
	// Jitter makes a random duration below its argument, by which a token is renewed sooner, so that not all Pods ask at
	// once; nil for a random one.
	Jitter func(below time.Duration) time.Duration
}

func (o Options) validate() error {
	switch {
	case o.Client == nil:
		return errors.New("objects: Options.Client: missing")
	case o.Wait < 0:
		return fmt.Errorf("objects: Options.Wait: want 0 or more (got %s)", o.Wait)
	}
	return nil
}

// Objects reads what Pods refer to. Make it with New; Run does the work. All methods may be called from any goroutine,
// before and after Run, too.
type Objects struct {
	o        Options
	services cache.SharedIndexInformer
	tokens   tokens

	mu      sync.Mutex
	entries map[key]*entry
	pods    map[types.UID]map[key]struct{}
	// start runs the watch of an entry; nil while Run does not.
	start func(*entry)
}

// key names an object.
type key struct{ kind, namespace, name string }

// New checks the options. Nothing is read before Run.
func New(o Options) (*Objects, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Jitter == nil {
		o.Jitter = randomBelow
	}
	services, err := newServices(o.Client)
	if err != nil {
		return nil, err
	}
	return &Objects{
		o: o, services: services, tokens: tokens{cached: map[tokenKey]token{}},
		entries: map[key]*entry{}, pods: map[types.UID]map[key]struct{}{},
	}, nil
}

// Run follows Services and the objects of registered Pods until ctx ends, then returns nil once every watch has ended.
// Call it once.
func (s *Objects) Run(ctx context.Context) error {
	var watches sync.WaitGroup
	s.mu.Lock()
	s.start = func(e *entry) {
		ctx, cancel := context.WithCancel(ctx)
		e.stop = cancel
		e.tells(ctx, s.o.OnChange)
		watches.Go(func() { e.watch(ctx, s.o.Client) })
	}
	for _, e := range s.entries {
		s.start(e)
	}
	s.mu.Unlock()
	s.services.RunWithContext(ctx)
	<-ctx.Done()
	s.mu.Lock()
	s.start = nil // no watch is added to the group any more
	s.mu.Unlock()
	watches.Wait()
	return nil
}

// Register begins to follow what the Pod refers to. Called again with a newer version of the Pod it follows what that one
// refers to. Call it before the Pod is started: what no registered Pod refers to is read from the API server each time.
func (s *Objects) Register(pod *corev1.Pod) {
	now := references(pod)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.pods[pod.UID]
	s.pods[pod.UID] = now
	for k := range now {
		if _, had := before[k]; !had {
			s.acquire(k)
		}
	}
	for k := range before {
		if _, has := now[k]; !has {
			s.release(k)
		}
	}
}

// Unregister ends what Register began, and forgets the Pod's tokens. A UID that is not known is no error.
func (s *Objects) Unregister(uid types.UID) {
	s.tokens.forget(uid)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.pods[uid] {
		s.release(k)
	}
	delete(s.pods, uid)
}

func (s *Objects) acquire(k key) {
	if e := s.entries[k]; e != nil {
		e.references++
		if s.start != nil && e.fails() { // this Pod may be what allows it: do not wait for the end of a long back-off
			e.stop()
			s.start(e)
		}
		return
	}
	e := newEntry(k)
	s.entries[k] = e
	if s.start != nil {
		s.start(e)
	}
}

func (s *Objects) release(k key) {
	e := s.entries[k]
	e.references--
	if e.references > 0 {
		return
	}
	delete(s.entries, k)
	if e.stop != nil {
		e.stop()
	}
}

// Watched counts the objects that are followed.
func (s *Objects) Watched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// ConfigMap reads a ConfigMap, which is shared and must not be changed. One that does not exist is an error for which
// apierrors.IsNotFound is true.
func (s *Objects) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	o, err := s.get(ctx, key{KindConfigMap, namespace, name}, func(ctx context.Context) (runtime.Object, error) {
		return s.o.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return nil, err
	}
	return o.(*corev1.ConfigMap), nil
}

// Secret reads a Secret, as ConfigMap does.
func (s *Objects) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	o, err := s.get(ctx, key{KindSecret, namespace, name}, func(ctx context.Context) (runtime.Object, error) {
		return s.o.Client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return nil, err
	}
	return o.(*corev1.Secret), nil
}

func (s *Objects) get(ctx context.Context, k key, live func(context.Context) (runtime.Object, error)) (runtime.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	s.mu.Lock()
	e := s.entries[k]
	s.mu.Unlock()
	if e != nil {
		return e.read(ctx)
	}
	o, err := live(ctx)
	if apierrors.IsNotFound(err) {
		return nil, k.notFound()
	}
	return o, err
}

// references are the objects that a Pod names. An image pull secret is one of them.
func references(pod *corev1.Pod) map[key]struct{} {
	refs := map[key]struct{}{}
	add := func(kind, name string) {
		if name != "" {
			refs[key{kind, pod.Namespace, name}] = struct{}{}
		}
	}
	for _, s := range pod.Spec.ImagePullSecrets {
		add(KindSecret, s.Name)
	}
	for i := range pod.Spec.Volumes {
		ofVolume(&pod.Spec.Volumes[i], add)
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			ofEnvironment(&list[i], add)
		}
	}
	return refs
}

func ofVolume(v *corev1.Volume, add func(kind, name string)) {
	switch {
	case v.ConfigMap != nil:
		add(KindConfigMap, v.ConfigMap.Name)
	case v.Secret != nil:
		add(KindSecret, v.Secret.SecretName)
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			p := &v.Projected.Sources[i]
			if p.ConfigMap != nil {
				add(KindConfigMap, p.ConfigMap.Name)
			}
			if p.Secret != nil {
				add(KindSecret, p.Secret.Name)
			}
		}
	}
}

func ofEnvironment(c *corev1.Container, add func(kind, name string)) {
	for i := range c.EnvFrom {
		f := &c.EnvFrom[i]
		if f.ConfigMapRef != nil {
			add(KindConfigMap, f.ConfigMapRef.Name)
		}
		if f.SecretRef != nil {
			add(KindSecret, f.SecretRef.Name)
		}
	}
	for i := range c.Env {
		f := c.Env[i].ValueFrom
		if f == nil {
			continue
		}
		if f.ConfigMapKeyRef != nil {
			add(KindConfigMap, f.ConfigMapKeyRef.Name)
		}
		if f.SecretKeyRef != nil {
			add(KindSecret, f.SecretKeyRef.Name)
		}
	}
}
