package stats_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	summary "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/wazlet/wazlet/kube/node"
	"github.com/wazlet/wazlet/kube/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a node whose numbers a test sets.
type world struct {
	t     *testing.T
	clock *clocktesting.FakePassiveClock
	pods  []*corev1.Pod
	node  node.Usage
	used  map[stats.Container]stats.Sample
	err   error
	asked int
	*stats.Provider
}

func newWorld(t *testing.T, disk stats.Disk) *world {
	t.Helper()
	w := &world{
		t: t, clock: clocktesting.NewFakePassiveClock(noon), used: map[stats.Container]stats.Sample{},
		node: node.Usage{
			Booted: noon.Add(-time.Hour), CPU: 100 * time.Second, MemoryBytes: 1000, UsedBytes: 700, WorkingSetBytes: 600, RSSBytes: 500,
			PageFaults: 9, MajorPageFaults: 8, Tasks: 3, MaxTasks: 4,
			Interfaces: []node.Interface{{Name: "eth0", RxBytes: 1, RxErrors: 2, TxBytes: 3, TxErrors: 4}},
		},
	}
	p, err := stats.New(stats.Config{
		NodeName: "n", Clock: w.clock, Disk: disk,
		Pods: func(context.Context) ([]*corev1.Pod, error) { return w.pods, w.err },
		Node: func() (node.Usage, error) { w.asked++; return w.node, w.err },
		Container: func(c stats.Container) (stats.Sample, bool) {
			s, ok := w.used[c]
			return s, ok
		},
		Daemon: func() (stats.Sample, bool) { return stats.Sample{StartedAt: noon, CPU: time.Second, RSSBytes: 5}, true },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Provider = p
	return w
}

// run makes an attempt of a container the one that runs, with what it has used so far.
func (w *world) run(p *corev1.Pod, name string, attempt int, cpu time.Duration) {
	s := &corev1.ContainerStatus{Name: name, RestartCount: int32(attempt), State: corev1.ContainerState{
		Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)},
	}}
	found := false
	for i := range p.Status.ContainerStatuses {
		if p.Status.ContainerStatuses[i].Name == name {
			p.Status.ContainerStatuses[i], found = *s, true
		}
	}
	if !found {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, *s)
	}
	w.used[stats.Container{PodUID: p.UID, Name: name, Attempt: attempt}] = stats.Sample{
		StartedAt: noon, CPU: cpu, MemoryBytes: 100, WorkingSetBytes: 90, RSSBytes: 80, PageFaults: 7, MajorPageFaults: 1,
	}
}

func (w *world) summary(only bool) *summary.Summary {
	w.t.Helper()
	s, err := w.Summary(w.t.Context(), only)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func newPod(name string) *corev1.Pod {
	start := metav1.NewTime(noon.Add(-time.Minute))
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "a", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("200")}}},
			{Name: "b"},
		}},
		Status: corev1.PodStatus{StartTime: &start},
	}
}

func compare(t *testing.T, want, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n"
}

func TestSummary(t *testing.T) {
	w := newWorld(t, stats.Disk{})
	p, idle := newPod("p"), newPod("idle")
	w.pods = []*corev1.Pod{p, idle}
	w.clock.SetTime(noon.Add(10 * time.Second))
	w.run(p, "a", 0, 2*time.Second)
	w.run(p, "b", 3, time.Second)
	w.node.CPU += 15 * time.Second
	golden(t, "summary.json", encode(t, w.summary(true)))
}

// cores are the rates of a node, a Pod and its containers, or "-".
func cores(s *summary.Summary) string {
	text := func(c *summary.CPUStats) string {
		if c == nil || c.UsageNanoCores == nil {
			return "-"
		}
		return strconv.FormatUint(*c.UsageNanoCores/1e6, 10)
	}
	out := []string{text(s.Node.CPU)}
	for _, p := range s.Pods {
		out = append(out, text(p.CPU))
		for _, c := range p.Containers {
			out = append(out, text(c.CPU))
		}
	}
	return strings.Join(out, " ")
}

func TestRates(t *testing.T) {
	w := newWorld(t, stats.Disk{})
	p := newPod("p")
	w.pods = []*corev1.Pod{p}
	for _, step := range []struct {
		name       string
		at         time.Duration
		node, a    time.Duration
		attempt    int
		milliCores string
	}{
		{"too early for a rate", 2 * time.Second, 101 * time.Second, time.Second, 0, "- - -"},
		{"since the start", 5 * time.Second, 110 * time.Second, 2 * time.Second, 0, "2000 400 400"},
		{"the rate stays until there is a better one", 9 * time.Second, 120 * time.Second, 6 * time.Second, 0, "2000 400 400"},
		{"between two samples", 15 * time.Second, 130 * time.Second, 12 * time.Second, 0, "2000 1000 1000"},
		{"a source that went backwards is idle", 25 * time.Second, 140 * time.Second, 11 * time.Second, 0, "1000 0 0"},
		{"another attempt begins with its start", 35 * time.Second, 140 * time.Second, 7 * time.Second, 1, "0 200 200"},
	} {
		w.clock.SetTime(noon.Add(step.at))
		w.node.CPU = step.node
		w.run(p, "a", step.attempt, step.a)
		if got := cores(w.summary(true)); got != step.milliCores {
			t.Errorf("%s: %s, want %s", step.name, got, step.milliCores)
		}
	}
}

func TestSumsNeverFall(t *testing.T) {
	w := newWorld(t, stats.Disk{})
	p := newPod("p")
	w.pods = []*corev1.Pod{p}
	at := noon
	used := func() (pod, container uint64) {
		at = at.Add(2 * time.Second)
		w.clock.SetTime(at)
		s := w.summary(true)
		if len(s.Pods) == 0 {
			return 0, 0
		}
		return *s.Pods[0].CPU.UsageCoreNanoSeconds / 1e9, *s.Pods[0].Containers[0].CPU.UsageCoreNanoSeconds / 1e9
	}
	want := func(what string, pod, container uint64) {
		t.Helper()
		if p, c := used(); p != pod || c != container {
			t.Errorf("%s: Pod %d, container %d; want %d, %d", what, p, c, pod, container)
		}
	}
	w.run(p, "a", 0, 5*time.Second)
	want("the first attempt", 5, 5)
	w.run(p, "a", 0, 3*time.Second)
	want("less than before", 5, 5)
	w.used = map[stats.Container]stats.Sample{}
	want("between two attempts", 0, 0)
	w.run(p, "a", 1, time.Second)
	want("the second attempt", 6, 1)
	w.pods = nil
	want("gone", 0, 0)
	w.pods = []*corev1.Pod{p}
	want("a Pod that comes back, as none does, begins anew", 1, 1)
}

func TestFreshSamplesAreShared(t *testing.T) {
	w := newWorld(t, stats.Disk{})
	before := w.asked
	for _, after := range []time.Duration{0, 900 * time.Millisecond, time.Second, 1500 * time.Millisecond} {
		w.clock.SetTime(noon.Add(after))
		w.summary(after == 0)
	}
	if got := w.asked - before; got != 2 {
		t.Errorf("measured %d times, want 2", got)
	}
	w.clock.SetTime(noon.Add(-time.Hour)) // the clock was set back
	w.summary(true)
	if got := w.asked - before; got != 3 {
		t.Errorf("measured %d times after the clock was set back, want 3", got)
	}
}

func TestErrors(t *testing.T) {
	w := newWorld(t, stats.Disk{})
	w.err = errors.New("broken")
	if _, err := w.Summary(t.Context(), true); err == nil || !strings.Contains(err.Error(), "list pods: broken") {
		t.Error(err)
	}
	if _, err := stats.New(stats.Config{}); err == nil {
		t.Error("an empty Config was accepted")
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size int) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("rootfs/x", 1)
	file("logs/0.log", 10_000)
	file("vol/deep/er/y", 1)
	file("images/z", 1)
	fs := func(n uint64) func() (node.Filesystem, error) {
		return func() (node.Filesystem, error) {
			return node.Filesystem{Bytes: 10 * n, BytesFree: 4 * n, Inodes: 100, InodesFree: 30}, nil
		}
	}
	walks := 0
	w := newWorld(t, stats.Disk{
		Pods: fs(1 << 20), Logs: fs(1 << 21), Images: fs(1 << 22), ImageDirs: []string{filepath.Join(dir, "images")},
		Dirs: func(*corev1.Pod) stats.Dirs {
			walks++
			return stats.Dirs{
				Rootfs: map[string]string{"a": filepath.Join(dir, "rootfs")}, Logs: map[string]string{"a": filepath.Join(dir, "logs")},
				Volumes: map[string]string{"v": filepath.Join(dir, "vol"), "gone": filepath.Join(dir, "gone")},
			}
		},
	})
	p := newPod("p")
	w.pods = []*corev1.Pod{p}
	w.run(p, "a", 0, time.Second)
	if s := w.summary(true); walks != 0 || s.Node.Fs != nil || s.Pods[0].EphemeralStorage != nil {
		t.Errorf("disks were looked at unasked: %+v", s)
	}
	s := w.summary(false)
	n := s.Node
	if *n.Fs.UsedBytes != 6<<20 || *n.Fs.InodesUsed != 70 || *n.Runtime.ContainerFs.CapacityBytes != 10<<20 ||
		*n.Runtime.ImageFs.CapacityBytes != 10<<22 || *n.Runtime.ImageFs.UsedBytes == 0 || *n.Runtime.ImageFs.InodesUsed != 2 {
		t.Errorf("node: %s", encode(t, n))
	}
	pod := s.Pods[0]
	c := pod.Containers[0]
	if *c.Rootfs.InodesUsed != 2 || *c.Logs.InodesUsed != 2 || *c.Logs.UsedBytes < 10_000 || *c.Logs.CapacityBytes != 10<<21 ||
		len(pod.VolumeStats) != 1 || pod.VolumeStats[0].Name != "v" || *pod.VolumeStats[0].InodesUsed != 4 ||
		*pod.EphemeralStorage.InodesUsed != 8 || *pod.EphemeralStorage.AvailableBytes != 4<<20 {
		t.Errorf("pod: %s", encode(t, pod))
	}
	if s := w.summary(true); s.Pods[0].Containers[0].Rootfs != nil {
		t.Error("the shared summary was changed")
	}
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{59 * time.Second, 1}, {60 * time.Second, 2}} {
		w.clock.SetTime(noon.Add(step.at))
		if w.summary(false); walks != step.want {
			t.Errorf("after %s: walked %d times, want %d", step.at, walks, step.want)
		}
	}
}

func TestWalk(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "f"), make([]byte, 8192), 0o600))
	must(os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "again")))
	must(os.Symlink("/usr", filepath.Join(dir, "elsewhere")))
	must(os.Mkdir(filepath.Join(dir, "d"), 0o700))
	must(os.WriteFile(filepath.Join(dir, "d", "sparse"), nil, 0o600))
	must(os.Truncate(filepath.Join(dir, "d", "sparse"), 1<<40))
	u, err := stats.Walk(t.Context(), dir, 100)
	if err != nil || u.Inodes != 5 || u.Bytes < 8192 || u.Bytes > 1<<20 || u.Cut {
		t.Errorf("%+v, %v; want 5 files of less than 1 MiB", u, err)
	}
	if u, err := stats.Walk(t.Context(), dir, 2); err != nil || !u.Cut || u.Inodes > 3 {
		t.Errorf("at most 2: %+v, %v", u, err)
	}
	deep := filepath.Join(dir, strings.Repeat("d/", 100))
	must(os.MkdirAll(deep, 0o700))
	if u, err := stats.Walk(t.Context(), dir, 1000); err != nil || !u.Cut {
		t.Errorf("too deep: %+v, %v", u, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stats.Walk(ctx, dir, 100); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := stats.Walk(t.Context(), filepath.Join(dir, "none"), 100); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func BenchmarkSummary(b *testing.B) {
	t := &testing.T{}
	w := newWorld(t, stats.Disk{})
	for i := range 1000 {
		p := newPod(strconv.Itoa(i))
		w.run(p, "a", 0, time.Second)
		w.pods = append(w.pods, p)
	}
	at := noon
	for b.Loop() {
		at = at.Add(15 * time.Second)
		w.clock.SetTime(at)
		if _, err := w.Summary(b.Context(), true); err != nil {
			b.Fatal(err)
		}
	}
}
