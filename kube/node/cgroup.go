package node

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// limits are what the control groups of this process leave to it.
type limits struct {
	memory uint64
	// free is how much of memory is not in use, page cache that can be dropped aside.
	free uint64
	cpus int
}

// limits reads control groups of version 2, from ours up. Without any, or with version 1, there is no limit.
func (h Host) limits() limits {
	l := limits{memory: math.MaxUint64, free: math.MaxUint64, cpus: math.MaxInt}
	_, group, found := strings.Cut(h.first("proc/self/cgroup"), "0::")
	if !found {
		return l
	}
	group, _, _ = strings.Cut(group, "\n")
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		at := path.Join("sys/fs/cgroup", dir)
		if most, err := strconv.ParseUint(h.first(path.Join(at, "memory.max")), 10, 64); err == nil {
			l.memory = min(l.memory, most)
			l.free = min(l.free, most-min(most, h.workingSet(at)))
		}
		quota, period, _ := strings.Cut(h.first(path.Join(at, "cpu.max")), " ")
		q, errQ := strconv.ParseFloat(quota, 64)
		p, errP := strconv.ParseFloat(period, 64)
		if errQ == nil && errP == nil && p > 0 {
			l.cpus = min(l.cpus, max(1, int(math.Ceil(q/p))))
		}
		if dir == "/" {
			return l
		}
	}
}

// workingSet is the memory in use that cannot simply be dropped.
func (h Host) workingSet(at string) uint64 {
	used, err := strconv.ParseUint(h.first(path.Join(at, "memory.current")), 10, 64)
	if err != nil {
		return 0
	}
	stat, err := os.ReadFile(h.path(path.Join(at, "memory.stat")))
	if err != nil {
		return used
	}
	for line := range strings.Lines(string(stat)) {
		if value, found := strings.CutPrefix(line, "inactive_file "); found {
			if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64); err == nil {
				return used - min(used, n)
			}
		}
	}
	return used
}
