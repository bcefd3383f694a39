package stats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/kube/node"
)

// A Sample is what a process or container uses, and has used so far.
type Sample struct {
	// StartedAt is when the program was entered; zero when that is not known.
	StartedAt                              time.Time
	CPU                                    time.Duration
	MemoryBytes, WorkingSetBytes, RSSBytes uint64
	PageFaults, MajorPageFaults            uint64
}

// A Container names an attempt of a container.
type Container struct {
	PodUID  types.UID
	Name    string
	Attempt int
}

// Config says what is measured. All functions may block for moments only.
type Config struct {
	NodeName string
	// Pods lists the node's Pods with their current status; nothing is changed in them.
	Pods func(ctx context.Context) ([]*corev1.Pod, error)
	// Node measures the machine.
	Node func() (node.Usage, error)
	// Container measures an attempt; not ok when it does not run.
	Container func(Container) (s Sample, ok bool)
	// Daemon measures this process; nil: it is not shown.
	Daemon func() (s Sample, ok bool)
	// Disk is what is known of file systems.
	Disk Disk
	// Clock is nil for the real one.
	Clock clock.PassiveClock
}

// fresh is for how long samples are good enough for whoever asks next.
const fresh = time.Second

// Provider makes summaries. Its methods may be called from any goroutine.
type Provider struct {
	c     Config
	walks *walker

	mu     sync.Mutex
	node   *meter
	daemon *meter
	pods   map[types.UID]*podMeter
	gone   time.Duration // what Pods that are gone had used
	last   measured
}

// measured is a summary without disks, and the Pods that it was made of, in the same order.
type measured struct {
	at      time.Time
	summary stats.Summary
	pods    []*corev1.Pod
}

// New takes the first sample of the node, so that the first summary has its rate.
func New(c Config) (*Provider, error) {
	if c.Pods == nil || c.Node == nil || c.Container == nil {
		return nil, errors.New("stats: Config.Pods, Node and Container: missing")
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	p := &Provider{
		c: c, node: startMeter(point{}), daemon: startMeter(point{}), pods: map[types.UID]*podMeter{},
		walks: newWalker(c.Disk, c.Clock),
	}
	u, err := c.Node()
	if err != nil {
		return nil, fmt.Errorf("measure the node: %w", err)
	}
	p.node.add(c.Clock.Now(), u.CPU)
	return p, nil
}

// Summary measures the node and the Pods of which something runs. With onlyCPUAndMemory no disk is looked at. It is a
// server.Handlers.Stats.
func (p *Provider) Summary(ctx context.Context, onlyCPUAndMemory bool) (*stats.Summary, error) {
	m, err := p.measure(ctx)
	if err != nil {
		return nil, err
	}
	s := m.summary
	if onlyCPUAndMemory {
		return &s, nil
	}
	p.walks.refresh(ctx, m.pods)
	p.walks.node(&s.Node)
	s.Pods = slices.Clone(s.Pods)
	for i := range s.Pods {
		p.walks.pod(&s.Pods[i], m.pods[i])
	}
	return &s, nil
}

// measure takes samples, unless there are fresh ones. The result is shared and must not be modified.
func (p *Provider) measure(ctx context.Context) (measured, error) {
	pods, err := p.c.Pods(ctx)
	if err != nil {
		return measured{}, fmt.Errorf("list pods: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.c.Clock.Now()
	if age := now.Sub(p.last.at); age >= 0 && age < fresh {
		return p.last, nil
	}
	u, err := p.c.Node()
	if err != nil {
		return measured{}, fmt.Errorf("measure the node: %w", err)
	}
	m := measured{at: now, summary: stats.Summary{Pods: []stats.PodStats{}}}
	p.forget(pods)
	for _, pod := range pods {
		if s, some := p.measurePod(pod); some {
			m.summary.Pods, m.pods = append(m.summary.Pods, s), append(m.pods, pod)
		}
	}
	p.node.add(now, u.CPU)
	m.summary.Node = nodeStats(p.c.NodeName, u, p.node, now)
	m.summary.Node.SystemContainers = p.systemContainers(m.summary.Pods, now, u.Booted)
	p.last = m
	return m, nil
}

// forget drops the meters of Pods that are gone.
func (p *Provider) forget(pods []*corev1.Pod) {
	there := make(map[types.UID]bool, len(pods))
	for _, pod := range pods {
		there[pod.UID] = true
	}
	for uid, m := range p.pods {
		if !there[uid] {
			p.gone += m.used()
			delete(p.pods, uid)
		}
	}
}

// measurePod returns some = false for a Pod of which nothing runs.
func (p *Provider) measurePod(pod *corev1.Pod) (s stats.PodStats, some bool) {
	meters := p.pods[pod.UID]
	if meters == nil {
		meters = &podMeter{containers: map[string]*attemptMeter{}}
		p.pods[pod.UID] = meters
	}
	s = stats.PodStats{PodRef: stats.PodReference{Name: pod.Name, Namespace: pod.Namespace, UID: string(pod.UID)}}
	if pod.Status.StartTime != nil {
		s.StartTime = *pod.Status.StartTime
	}
	var sum total
	for _, c := range Running(&pod.Status) {
		attempt := int(c.RestartCount)
		sample, ok := p.c.Container(Container{pod.UID, c.Name, attempt})
		if !ok {
			continue
		}
		if sample.StartedAt.IsZero() {
			sample.StartedAt = c.State.Running.StartedAt.Time
		}
		m := meters.of(c.Name, attempt, sample.StartedAt)
		at := p.c.Clock.Now()
		m.add(at, sample.CPU)
		s.Containers = append(s.Containers, containerStats(c.Name, sample, m.meter, at, memoryLimit(pod, c.Name)))
		sum.add(sample, m.meter, at)
	}
	if len(s.Containers) == 0 {
		return s, false
	}
	s.CPU, s.Memory = sum.stats(meters.used())
	count := uint64(len(s.Containers)) // a container is one process, its shim
	s.ProcessStats = &stats.ProcessStats{ProcessCount: &count}
	return s, true
}

// Running lists the containers that run, of every kind; the restart count of each is its attempt.
func Running(s *corev1.PodStatus) []corev1.ContainerStatus {
	return slices.DeleteFunc(slices.Concat(s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses),
		func(c corev1.ContainerStatus) bool { return c.State.Running == nil })
}

// memoryLimit is a container's limit of memory, 0 for none.
func memoryLimit(pod *corev1.Pod, name string) uint64 {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return uint64(max(0, list[i].Resources.Limits.Memory().Value()))
			}
		}
	}
	return 0
}

// systemContainers are the daemon and the sum of all Pods, under the names that the kubelet gives them.
func (p *Provider) systemContainers(pods []stats.PodStats, now, booted time.Time) []stats.ContainerStats {
	var list []stats.ContainerStats
	if p.c.Daemon != nil {
		if s, ok := p.c.Daemon(); ok {
			p.daemon.add(now, s.CPU)
			list = append(list, containerStats(stats.SystemContainerKubelet, s, p.daemon, now, 0))
		}
	}
	var sum total
	used := p.gone
	for _, m := range p.pods {
		used += m.used()
	}
	for i := range pods {
		sum.addStats(now, pods[i].CPU, pods[i].Memory)
	}
	all := stats.ContainerStats{Name: stats.SystemContainerPods, StartTime: metav1.NewTime(booted)}
	sum.at = now
	all.CPU, all.Memory = sum.stats(used)
	return append(list, all)
}
