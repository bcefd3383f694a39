package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	namespace = corev1.NamespaceDefault
	// clients is how many requests of ours are under way at once.
	clients = 32
	// roundPatience bounds one half of a round.
	roundPatience = 10 * time.Minute
)

// sighting is what a watch showed of a Pod for the first time.
type sighting struct {
	name string
	gone bool
	at   time.Time
}

// watcher creates Pods and sees what becomes of them, as kubectl get --watch would.
type watcher struct {
	client kubernetes.Interface
	seen   chan sighting
	ready  map[string]bool // of the informer's goroutine
	serial int
	costs  meter
}

// watchPods begins to watch; it ends with ctx.
func watchPods(ctx context.Context, client kubernetes.Interface, costs meter) (*watcher, error) {
	w := &watcher{client: client, costs: costs, seen: make(chan sighting, 4096), ready: map[string]bool{}}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	pods := factory.Core().V1().Pods().Informer()
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { w.look(o) }, UpdateFunc: func(_, o any) { w.look(o) },
		DeleteFunc: func(o any) {
			if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = d.Obj
			}
			if p, ok := o.(*corev1.Pod); ok {
				delete(w.ready, p.Name)
				w.seen <- sighting{p.Name, true, time.Now()}
			}
		},
	})
	if err != nil {
		return nil, err
	}
	factory.StartWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced) {
		return nil, ctx.Err()
	}
	return w, nil
}

// look passes on when a Pod is Ready for the first time.
func (w *watcher) look(o any) {
	if p, ok := o.(*corev1.Pod); ok && !w.ready[p.Name] && isReady(p) {
		w.ready[p.Name] = true
		w.seen <- sighting{p.Name, false, time.Now()}
	}
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// half is what was measured of one half of a round: how long each Pod took, and all of them, and what that cost.
type half struct {
	each []time.Duration
	all  time.Duration
	cost cost
}

func (h *half) add(o half) {
	h.each = append(h.each, o.each...)
	h.all += o.all
	h.cost = h.cost.plus(o.cost)
}

func (h *half) String() string {
	return fmt.Sprintf("%8s %8s %8.1f", quantile(h.each, 0.5).Round(time.Millisecond), quantile(h.each, 0.99).Round(time.Millisecond),
		float64(len(h.each))/h.all.Seconds())
}

type result struct{ created, deleted half }

func (r *result) add(o result) {
	r.created.add(o.created)
	r.deleted.add(o.deleted)
}

// round creates n Pods at once, waits until all are Ready, calls between, deletes them and waits until all are gone.
func (w *watcher) round(ctx context.Context, c contender, n int, between func() error) (r result, err error) {
	names := make([]string, n)
	for i := range names {
		w.serial++
		names[i] = fmt.Sprintf("%s-%d", c.node, w.serial)
	}
	pods := w.client.CoreV1().Pods(namespace)
	r.created, err = w.half(ctx, names, false, func(ctx context.Context, name string) error {
		_, err := pods.Create(ctx, benchPod(c, name), metav1.CreateOptions{})
		return err
	})
	if err == nil && between != nil {
		err = between()
	}
	if err != nil {
		return r, err
	}
	r.deleted, err = w.half(ctx, names, true, func(ctx context.Context, name string) error {
		return pods.Delete(ctx, name, metav1.DeleteOptions{})
	})
	return r, err
}

// half does something with each Pod and waits until it is seen.
func (w *watcher) half(ctx context.Context, names []string, gone bool, do func(context.Context, string) error) (half, error) {
	ctx, cancel := context.WithTimeout(ctx, roundPatience)
	defer cancel()
	before, err := w.costs.read()
	if err != nil {
		return half{}, err
	}
	begin := time.Now()
	began := make([]time.Time, len(names))
	index := make(map[string]int, len(names))
	var all errgroup.Group
	all.SetLimit(clients + 1) // one waits
	done := make([]time.Time, len(names))
	for i, name := range names {
		index[name] = i
	}
	all.Go(func() error { return w.await(ctx, index, gone, done) })
	for i, name := range names {
		all.Go(func() error {
			began[i] = time.Now()
			return do(ctx, name)
		})
	}
	if err := all.Wait(); err != nil {
		return half{}, err
	}
	after, err := w.costs.read()
	if err != nil {
		return half{}, err
	}
	h := half{each: make([]time.Duration, len(names)), cost: after.minus(before)}
	last := begin
	for i := range names {
		h.each[i] = done[i].Sub(began[i])
		if done[i].After(last) {
			last = done[i]
		}
	}
	h.all = last.Sub(begin)
	return h, nil
}

// await notes when each Pod was seen.
func (w *watcher) await(ctx context.Context, index map[string]int, gone bool, done []time.Time) error {
	for left := len(done); left > 0; {
		select {
		case s := <-w.seen:
			if i, ours := index[s.name]; ours && s.gone == gone && done[i].IsZero() {
				done[i] = s.at
				left--
			}
		case <-ctx.Done():
			return fmt.Errorf("%d of %d Pods were not seen: %w", left, len(done), ctx.Err())
		}
	}
	return nil
}

func benchPod(c contender, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{corev1.LabelHostname: c.node},
			Tolerations:  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers:   []corev1.Container{{Name: "main", Image: c.image, ImagePullPolicy: corev1.PullIfNotPresent}},
		},
	}
}

var (
	requestLine = regexp.MustCompile(`^apiserver_request_total\{(.*)\} (\S+)$`)
	label       = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// requests are those so far about Pods, by verb and resource, watches excepted, as the API server counts them: not those that
// it refused before it looked at them.
func (w *watcher) requests(ctx context.Context) (map[string]float64, error) {
	text, err := w.client.Discovery().RESTClient().Get().AbsPath("/metrics").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		m := requestLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		labels := map[string]string{}
		for _, l := range label.FindAllStringSubmatch(m[1], -1) {
			labels[l[1]] = l[2]
		}
		what := labels["verb"] + " " + labels["resource"]
		if labels["subresource"] != "" {
			what += "/" + labels["subresource"]
		}
		n, err := strconv.ParseFloat(m[2], 64)
		if err != nil || labels["verb"] == "WATCH" || !slices.Contains([]string{"pods", "events", "serviceaccounts"}, labels["resource"]) {
			continue
		}
		out[what] += n
	}
	return out, nil
}

// difference lists what there is more, for each of n.
func difference(before, after map[string]float64, n int) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(after)) {
		if more := after[what] - before[what]; more > 0 {
			parts = append(parts, fmt.Sprintf("%s %.2f", what, more/float64(n)))
		}
	}
	return strings.Join(parts, ", ")
}
