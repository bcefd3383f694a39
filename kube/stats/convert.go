package stats

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/wazlet/wazlet/kube/node"
)

// cpuStats shows a meter.
func cpuStats(m *meter, at time.Time) *stats.CPUStats {
	c := &stats.CPUStats{Time: metav1.NewTime(at), UsageCoreNanoSeconds: nanos(m.last)}
	if m.rated {
		rate := m.rate
		c.UsageNanoCores = &rate
	}
	return c
}

func nanos(d time.Duration) *uint64 {
	n := uint64(max(0, d))
	return &n
}

// containerStats shows a sample. What is available of memory is known only under a limit; 0 is none.
func containerStats(name string, s Sample, m *meter, at time.Time, limit uint64) stats.ContainerStats {
	c := stats.ContainerStats{Name: name, StartTime: metav1.NewTime(s.StartedAt), CPU: cpuStats(m, at), Memory: &stats.MemoryStats{
		Time: metav1.NewTime(at), UsageBytes: &s.MemoryBytes, WorkingSetBytes: &s.WorkingSetBytes, RSSBytes: &s.RSSBytes,
		PageFaults: &s.PageFaults, MajorPageFaults: &s.MajorPageFaults,
	}}
	if limit > 0 {
		available := limit - min(limit, s.WorkingSetBytes)
		c.Memory.AvailableBytes = &available
	}
	return c
}

// A total adds up containers or Pods.
type total struct {
	Sample

	at    time.Time
	rate  uint64
	rated bool
}

func (t *total) add(s Sample, m *meter, at time.Time) {
	t.MemoryBytes += s.MemoryBytes
	t.WorkingSetBytes += s.WorkingSetBytes
	t.RSSBytes += s.RSSBytes
	t.PageFaults += s.PageFaults
	t.MajorPageFaults += s.MajorPageFaults
	t.at = at
	if m.rated {
		t.rate, t.rated = t.rate+m.rate, true
	}
}

// addStats adds what a total became.
func (t *total) addStats(at time.Time, c *stats.CPUStats, m *stats.MemoryStats) {
	rate := meter{}
	if c.UsageNanoCores != nil {
		rate.rate, rate.rated = *c.UsageNanoCores, true
	}
	t.add(Sample{
		MemoryBytes: *m.UsageBytes, WorkingSetBytes: *m.WorkingSetBytes, RSSBytes: *m.RSSBytes,
		PageFaults: *m.PageFaults, MajorPageFaults: *m.MajorPageFaults,
	}, &rate, at)
}

func (t *total) stats(used time.Duration) (*stats.CPUStats, *stats.MemoryStats) {
	c := containerStats("", t.Sample, &meter{last: used, rate: t.rate, rated: t.rated}, t.at, 0)
	return c.CPU, c.Memory
}

// nodeStats shows the machine. Available is what the kubelet calls so: all but the working set.
func nodeStats(name string, u node.Usage, m *meter, at time.Time) stats.NodeStats {
	available := u.MemoryBytes - min(u.WorkingSetBytes, u.MemoryBytes)
	n := stats.NodeStats{
		NodeName: name, StartTime: metav1.NewTime(u.Booted), CPU: cpuStats(m, at),
		Memory: &stats.MemoryStats{
			Time: metav1.NewTime(at), AvailableBytes: &available, UsageBytes: &u.UsedBytes, WorkingSetBytes: &u.WorkingSetBytes,
			RSSBytes: &u.RSSBytes, PageFaults: &u.PageFaults, MajorPageFaults: &u.MajorPageFaults,
		},
	}
	if u.MaxTasks > 0 {
		most, tasks := int64(u.MaxTasks), int64(u.Tasks)
		n.Rlimit = &stats.RlimitStats{Time: metav1.NewTime(at), MaxPID: &most, NumOfRunningProcesses: &tasks}
	}
	if len(u.Interfaces) > 0 {
		n.Network = &stats.NetworkStats{Time: metav1.NewTime(at)}
		for _, i := range u.Interfaces {
			n.Network.Interfaces = append(n.Network.Interfaces, stats.InterfaceStats{
				Name: i.Name, RxBytes: &i.RxBytes, RxErrors: &i.RxErrors, TxBytes: &i.TxBytes, TxErrors: &i.TxErrors,
			})
		}
		n.Network.InterfaceStats = n.Network.Interfaces[0]
	}
	return n
}
