package stats

import (
	"cmp"
	"context"
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

// Disk says where things are on disk. A nil function: what it would tell is not shown.
type Disk struct {
	// Pods, Logs and Images tell how full the file systems of Pods, of logs and of images are.
	Pods, Logs, Images func() (node.Filesystem, error)
	// ImageDirs are where images and compiled modules are.
	ImageDirs []string
	// Dirs are the directories of a Pod.
	Dirs func(*corev1.Pod) Dirs
}

// Dirs are a Pod's directories: the root file system and the logs of each container that runs, and each volume.
type Dirs struct{ Rootfs, Logs, Volumes map[string]string }

const (
	// WalkPeriod is for how long what was counted in a Pod's directories holds, as with the kubelet.
	WalkPeriod = time.Minute
	// walkBudget bounds how long one summary waits for directories to be walked; the rest is left for the next one.
	walkBudget = 2 * time.Second
	// MaxEntries bounds the files that are counted in one directory. What is beyond is not counted.
	MaxEntries = 100_000
)

// A walker counts what Pods have on disk.
type walker struct {
	disk  Disk
	clock clock.PassiveClock

	// walking is held by the one who walks; nobody waits for it.
	walking sync.Mutex

	mu       sync.Mutex
	pods     map[types.UID]*walked
	images   DirUsage
	imagesAt time.Time
}

// walked is what was counted in a Pod's directories. It is replaced, never changed.
type walked struct {
	at                    time.Time
	rootfs, logs, volumes map[string]DirUsage
}

func newWalker(d Disk, c clock.PassiveClock) *walker {
	return &walker{disk: d, clock: c, pods: map[types.UID]*walked{}}
}

// refresh walks the Pods whose numbers are old, the oldest first, until it has taken walkBudget or ctx is done. Who comes
// while another does that uses what there is.
func (w *walker) refresh(ctx context.Context, pods []*corev1.Pod) {
	if w.disk.Dirs == nil || !w.walking.TryLock() {
		return
	}
	defer w.walking.Unlock()
	began := w.clock.Now()
	w.walkImages(ctx, began)
	for _, p := range w.stale(pods, began) {
		if ctx.Err() != nil || w.clock.Since(began) >= walkBudget {
			return
		}
		d := w.disk.Dirs(p)
		n := &walked{at: w.clock.Now(), rootfs: walkAll(ctx, d.Rootfs), logs: walkAll(ctx, d.Logs), volumes: walkAll(ctx, d.Volumes)}
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		w.pods[p.UID] = n
		w.mu.Unlock()
	}
}

func (w *walker) walkImages(ctx context.Context, now time.Time) {
	if now.Sub(w.imagesAt) < WalkPeriod { // only who holds walking writes it
		return
	}
	var sum DirUsage
	for _, dir := range w.disk.ImageDirs {
		if u, err := Walk(ctx, dir, MaxEntries); err == nil {
			sum.Bytes += u.Bytes
			sum.Inodes += u.Inodes
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images, w.imagesAt = sum, now
}

func walkAll(ctx context.Context, dirs map[string]string) map[string]DirUsage {
	out := make(map[string]DirUsage, len(dirs))
	for name, dir := range dirs {
		if u, err := Walk(ctx, dir, MaxEntries); err == nil { // it may be gone by now
			out[name] = u
		}
	}
	return out
}

// stale lists the Pods to walk and forgets those that are gone.
func (w *walker) stale(pods []*corev1.Pod, now time.Time) []*corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := make(map[types.UID]time.Time, len(pods))
	var stale []*corev1.Pod
	for _, p := range pods {
		n := w.pods[p.UID]
		at[p.UID] = time.Time{}
		if n != nil {
			at[p.UID] = n.at
		}
		if n == nil || now.Sub(n.at) >= WalkPeriod {
			stale = append(stale, p)
		}
	}
	for uid := range w.pods {
		if _, there := at[uid]; !there {
			delete(w.pods, uid)
		}
	}
	slices.SortStableFunc(stale, func(a, b *corev1.Pod) int { return at[a.UID].Compare(at[b.UID]) })
	return stale
}

// node adds the file systems of the node.
func (w *walker) node(n *stats.NodeStats) {
	now := w.clock.Now()
	n.Fs = whole(w.disk.Pods, now)
	images := whole(w.disk.Images, now)
	w.mu.Lock()
	used := w.images
	known := !w.imagesAt.IsZero() && len(w.disk.ImageDirs) > 0
	w.mu.Unlock()
	if images != nil && known {
		images.UsedBytes, images.InodesUsed = &used.Bytes, &used.Inodes
	}
	n.Runtime = &stats.RuntimeStats{ImageFs: images, ContainerFs: whole(w.disk.Pods, now)}
}

// whole is a file system with all that is on it, nil when it is not known.
func whole(f func() (node.Filesystem, error), at time.Time) *stats.FsStats {
	s, known := fsStats(f, at)
	if !known {
		return nil
	}
	used, inodes := *s.CapacityBytes-min(*s.AvailableBytes, *s.CapacityBytes), *s.Inodes-min(*s.InodesFree, *s.Inodes)
	s.UsedBytes, s.InodesUsed = &used, &inodes
	return &s
}

// fsStats is a file system without what is used of it.
func fsStats(f func() (node.Filesystem, error), at time.Time) (s stats.FsStats, known bool) {
	if f == nil {
		return s, false
	}
	x, err := f()
	if err != nil {
		return s, false
	}
	return stats.FsStats{
		Time: metav1.NewTime(at), CapacityBytes: &x.Bytes, AvailableBytes: &x.BytesFree, Inodes: &x.Inodes, InodesFree: &x.InodesFree,
	}, true
}

// pod adds what is known of a Pod's directories. The containers are copied: s is shared.
func (w *walker) pod(s *stats.PodStats, pod *corev1.Pod) {
	w.mu.Lock()
	n := w.pods[pod.UID]
	w.mu.Unlock()
	if n == nil {
		return
	}
	podFs, _ := fsStats(w.disk.Pods, n.at)
	logFs, _ := fsStats(w.disk.Logs, n.at)
	var sum DirUsage
	s.Containers = slices.Clone(s.Containers)
	for i := range s.Containers {
		c := &s.Containers[i]
		c.Rootfs = part(podFs, n.rootfs, c.Name, &sum)
		c.Logs = part(logFs, n.logs, c.Name, &sum)
	}
	s.VolumeStats = nil
	for name := range n.volumes {
		s.VolumeStats = append(s.VolumeStats, stats.VolumeStats{Name: name, FsStats: *part(podFs, n.volumes, name, &sum)})
	}
	slices.SortFunc(s.VolumeStats, func(a, b stats.VolumeStats) int { return cmp.Compare(a.Name, b.Name) })
	s.EphemeralStorage = part(podFs, map[string]DirUsage{"": sum}, "", new(DirUsage))
}

// part is the share of one directory in a file system, nil when it was not counted.
func part(f stats.FsStats, counted map[string]DirUsage, name string, sum *DirUsage) *stats.FsStats {
	u, known := counted[name]
	if !known {
		return nil
	}
	sum.Bytes += u.Bytes
	sum.Inodes += u.Inodes
	f.UsedBytes, f.InodesUsed = &u.Bytes, &u.Inodes
	return &f
}
