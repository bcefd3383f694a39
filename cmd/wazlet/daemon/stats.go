package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/kube/node"
	"github.com/wazlet/wazlet/kube/stats"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/podactor/volume"
)

// measure makes what /stats/summary and /metrics/resource are served from.
func (d *daemon) measure() (*stats.Provider, error) {
	root, logs := d.Config.RootDir, d.Config.PodLogsDir
	host := node.Host{Disk: root}
	filesystem := func(dir string) func() (node.Filesystem, error) {
		return func() (node.Filesystem, error) { return host.Filesystem(dir) }
	}
	started := time.Now()
	images := filepath.Join(root, "images")
	p, err := stats.New(stats.Config{
		NodeName: d.Config.NodeName, Pods: d.pods, Node: host.Usage,
		Container: func(c stats.Container) (stats.Sample, bool) {
			return sampleOf(d.runtime.Usage(bundle.ID{PodUID: string(c.PodUID), Container: c.Name, Attempt: c.Attempt}))
		},
		Daemon: func() (stats.Sample, bool) {
			s, ok := sampleOf(bundle.ProcessUsage(os.Getpid()))
			s.StartedAt = started
			return s, ok
		},
		Disk: stats.Disk{
			Pods: filesystem(root), Logs: filesystem(logs), Images: filesystem(images),
			ImageDirs: []string{images, d.cacheDir()},
			Dirs:      func(pod *corev1.Pod) stats.Dirs { return dirsOf(root, logs, pod) },
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make statistics: %w", err)
	}
	return p, nil
}

func sampleOf(s bundle.Sample, ok bool) (stats.Sample, bool) {
	return stats.Sample{
		StartedAt: s.StartedAt, CPU: s.CPU, MemoryBytes: s.MemoryBytes, WorkingSetBytes: s.WorkingSetBytes,
		RSSBytes: s.RSSBytes, PageFaults: s.PageFaults, MajorPageFaults: s.MajorPageFaults,
	}, ok
}

// dirsOf finds a Pod's directories on disk.
func dirsOf(root, logs string, pod *corev1.Pod) stats.Dirs {
	dirs := stats.Dirs{Rootfs: map[string]string{}, Logs: map[string]string{}, Volumes: volume.Dirs(root, pod)}
	for _, c := range stats.Running(&pod.Status) {
		dir, err := bundle.Dir(root, bundle.ID{PodUID: string(pod.UID), Container: c.Name, Attempt: int(c.RestartCount)})
		if err == nil {
			dirs.Rootfs[c.Name] = filepath.Join(dir, bundle.RootfsDir)
			dirs.Logs[c.Name] = filepath.Dir(logFile(logs, pod, c.Name, 0))
		}
	}
	return dirs
}

// logFile is the log of one attempt of a container.
func logFile(logs string, pod *corev1.Pod, container string, attempt int) string {
	return filepath.Join(logs, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID), container, strconv.Itoa(attempt)+".log")
}
