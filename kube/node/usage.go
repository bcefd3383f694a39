package node

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Usage is what is used of the machine, as far as it can be known; what cannot is zero.
type Usage struct {
	// Booted is when counting began.
	Booted time.Time
	// CPU is the time that all processors were busy.
	CPU time.Duration
	// MemoryBytes is all memory, UsedBytes what is not free, WorkingSetBytes that without the page cache that was not used
	// of late, RSSBytes the anonymous part. A limit of the control groups of this process makes them theirs.
	MemoryBytes, UsedBytes, WorkingSetBytes, RSSBytes uint64
	PageFaults, MajorPageFaults                       uint64
	// Tasks are threads, which take process IDs too, and MaxTasks how many there can be.
	Tasks, MaxTasks uint64
	// Interfaces are those of the network but loopback; the first has the default route, if any has.
	Interfaces []Interface
}

// An Interface has counted these since it was made.
type Interface struct {
	Name                                 string
	RxBytes, RxErrors, TxBytes, TxErrors uint64
}

// userHZ is the unit of /proc/stat for programs, 1/100 s on every architecture of Linux that Go supports.
const userHZ = 100

// Usage measures the machine. An error: nothing is known of its memory or its processors.
func (h Host) Usage() (Usage, error) {
	memory, err := h.meminfo()
	if err != nil {
		return Usage{}, err
	}
	u := Usage{MemoryBytes: memory["MemTotal"], RSSBytes: memory["AnonPages"]}
	u.UsedBytes = u.MemoryBytes - min(memory["MemFree"], u.MemoryBytes)
	u.WorkingSetBytes = u.UsedBytes - min(memory["Inactive(file)"], u.UsedBytes)
	if l := h.limits(); l.memory < u.MemoryBytes {
		u.MemoryBytes, u.WorkingSetBytes = l.memory, l.memory-min(l.free, l.memory)
		u.UsedBytes, u.RSSBytes = max(u.WorkingSetBytes, min(u.UsedBytes, l.memory)), min(u.RSSBytes, l.memory)
	}
	if err := h.procStat(&u); err != nil {
		return Usage{}, err
	}
	vm := h.table("proc/vmstat")
	u.PageFaults, u.MajorPageFaults = vm["pgfault"], vm["pgmajfault"]
	if u.Tasks, u.MaxTasks, err = h.tasks(); err != nil {
		u.Tasks, u.MaxTasks = 0, 0
	}
	u.Interfaces = h.interfaces()
	return u, nil
}

// procStat reads the time of boot and of processors.
func (h Host) procStat(u *Usage) error {
	content, err := os.ReadFile(h.path("proc/stat"))
	if err != nil {
		return fmt.Errorf("use of processors: %w", err)
	}
	found := false
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 8 && fields[0] == "cpu":
			// user nice system idle iowait irq softirq steal; what guests of virtual machines use is in user and nice.
			var ticks uint64
			for _, i := range []int{1, 2, 3, 6, 7, 8} {
				n, err := strconv.ParseUint(fields[i], 10, 56)
				if err != nil {
					return fmt.Errorf("proc/stat: cpu: field %d: want a number (got %.80q)", i+1, fields[i])
				}
				ticks += n
			}
			u.CPU, found = time.Duration(ticks)*(time.Second/userHZ), true
		case len(fields) == 2 && fields[0] == "btime":
			if n, err := strconv.ParseInt(fields[1], 10, 48); err == nil {
				u.Booted = time.Unix(n, 0)
			}
		}
	}
	if !found {
		return errors.New("proc/stat: no line cpu with 9 fields or more")
	}
	return nil
}

// table reads a file of lines "key value"; nil when there is none.
func (h Host) table(name string) map[string]uint64 {
	content, err := os.ReadFile(h.path(name))
	if err != nil {
		return nil
	}
	out := map[string]uint64{}
	for line := range strings.Lines(string(content)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			out[key] = n
		}
	}
	return out
}

// interfaces reads /proc/net/dev: "NAME: RxBytes packets errs drop fifo frame compressed multicast TxBytes packets errs ...".
func (h Host) interfaces() []Interface {
	content, err := os.ReadFile(h.path("proc/net/dev"))
	if err != nil {
		return nil
	}
	byDefault := h.defaultInterface()
	var out []Interface
	for line := range strings.Lines(string(content)) {
		name, rest, found := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		fields := strings.Fields(rest)
		if !found || name == "lo" || len(fields) < 11 {
			continue
		}
		number := func(i int) uint64 {
			n, _ := strconv.ParseUint(fields[i], 10, 64)
			return n
		}
		i := Interface{Name: name, RxBytes: number(0), RxErrors: number(2), TxBytes: number(8), TxErrors: number(10)}
		if name == byDefault {
			out = slices.Insert(out, 0, i)
		} else {
			out = append(out, i)
		}
	}
	return out
}

// defaultInterface is the interface of the first default route of IPv4, empty when there is none.
func (h Host) defaultInterface() string {
	content, err := os.ReadFile(h.path("proc/net/route"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) > 7 && fields[1] == "00000000" && fields[7] == "00000000" {
			return fields[0]
		}
	}
	return ""
}

// Filesystem tells how full the file system of a directory is.
func (h Host) Filesystem(dir string) (Filesystem, error) { return h.statfs(dir) }
