// Package cgroup makes the cgroups that bound shims, below one cgroup of ours, in version 1 or version 2 hierarchies.
//
// Files are written directly. github.com/containerd/cgroups/v3 was considered: for version 2 it brings an eBPF assembler,
// a systemd D-Bus client and a second logger for what are five small writes here, it does not tell the directories that a
// shim is to join by itself, and it cannot be pointed at a tree made by a test.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

const (
	cpuPeriodMicros = 100_000
	// minQuotaMicros is the least that the kernel takes.
	minQuotaMicros = 1000
)

// PIDs bounds the threads of a shim. The Go runtime needs some beside one for each CPU; a guest cannot make any.
func PIDs() int { return 64 + 2*runtime.NumCPU() }

// Hierarchy is a cgroup of ours with one cgroup below for each shim. Its methods may be called from any goroutine.
type Hierarchy struct {
	// mounts are where the controllers are mounted, without duplicates; one of version 2.
	mounts  []mount
	unified bool
	parent  string
	// making is held for reading while a cgroup is made, so that nobody removes the one above it meanwhile.
	making sync.RWMutex
	// buffers are *[statBytes]byte, for Sample.
	buffers sync.Pool
}

type mount struct {
	path        string
	controllers []string
}

// Open finds where the controllers memory, cpu and pids are mounted. Cgroups will be made below the one called parent
// ("wazlet"). That they are mounted does not mean that they can be written: Create tells.
func Open(parent string) (*Hierarchy, error) {
	infos, err := procfs.GetMounts()
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	var v1 []mount
	for _, m := range infos {
		switch m.FSType {
		case "cgroup2":
			if c := available(m.MountPoint); slices.Contains(c, "memory") {
				return &Hierarchy{mounts: []mount{{m.MountPoint, c}}, unified: true, parent: parent}, nil
			}
		case "cgroup":
			if c := known(m.SuperOptions); len(c) > 0 {
				v1 = append(v1, mount{m.MountPoint, c})
			}
		}
	}
	h := &Hierarchy{mounts: v1, parent: parent}
	if !h.has("memory") {
		return nil, errors.New("find cgroups: no memory controller is mounted")
	}
	return h, nil
}

func known(options map[string]string) []string {
	var c []string
	for _, name := range []string{"memory", "cpu", "cpuacct", "pids"} {
		if _, ok := options[name]; ok {
			c = append(c, name)
		}
	}
	return c
}

// available lists the controllers of a version 2 hierarchy that we use.
func available(mountPoint string) []string {
	data, err := os.ReadFile(filepath.Join(mountPoint, "cgroup.controllers"))
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(strings.Fields(string(data)), func(c string) bool {
		return c != "memory" && c != "cpu" && c != "pids"
	})
}

func (h *Hierarchy) has(controller string) bool {
	return slices.ContainsFunc(h.mounts, func(m mount) bool { return slices.Contains(m.controllers, controller) })
}

// Dirs returns the directories of the cgroup called name ("a/b"), whether it exists or not.
func (h *Hierarchy) Dirs(name string) []string {
	dirs := make([]string, len(h.mounts))
	for i, m := range h.mounts {
		dirs[i] = filepath.Join(m.path, h.parent, name)
	}
	return dirs
}

// Create makes the cgroup called name and sets its limits. It may exist. After an error it does not.
func (h *Hierarchy) Create(name string, limits bundle.Limits) error {
	for _, m := range h.mounts {
		h.making.RLock()
		err := h.create(m, name, limits)
		h.making.RUnlock()
		if err != nil {
			return errors.Join(fmt.Errorf("create cgroup %s: %w", name, err), h.Remove(h.Dirs(name)))
		}
	}
	return nil
}

func (h *Hierarchy) create(m mount, name string, limits bundle.Limits) error {
	dir := m.path
	for part := range strings.SplitSeq(filepath.Join(h.parent, name), "/") {
		if h.unified {
			if err := delegate(dir, m.controllers); err != nil {
				return err
			}
		}
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, s := range h.settings(m.controllers, limits) {
		err := set(filepath.Join(dir, s.file), s.value)
		if err != nil && (!s.optional || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// delegate lets the children of a version 2 cgroup have the controllers.
func delegate(dir string, controllers []string) error {
	path := filepath.Join(dir, "cgroup.subtree_control")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	on := strings.Fields(string(data))
	for _, c := range controllers {
		if slices.Contains(on, c) {
			continue
		}
		if err := set(path, "+"+c); err != nil {
			return err
		}
	}
	return nil
}

type setting struct {
	file, value string
	// optional files exist only with swap accounting.
	optional bool
}

// settings are the files to write, in order. A bundle that is created again gets new limits, hence no limit is written
// too.
func (h *Hierarchy) settings(controllers []string, l bundle.Limits) []setting {
	var s []setting
	for _, c := range controllers {
		switch c {
		case "memory":
			s = append(s, h.memory(l.MemoryBytes)...)
		case "cpu":
			s = append(s, h.cpu(l.CPUMillicores)...)
		case "pids":
			s = append(s, setting{file: "pids.max", value: strconv.Itoa(PIDs())})
		}
	}
	return s
}

// memory bounds memory and keeps it from being swapped instead, as the kubelet does without swap.
func (h *Hierarchy) memory(limit int64) []setting {
	value, none := strconv.FormatInt(limit, 10), "-1"
	if h.unified {
		none = "max"
	}
	if limit == 0 {
		value = none
	}
	if h.unified {
		return []setting{{file: "memory.max", value: value}, {file: "memory.swap.max", value: "0", optional: true}}
	}
	s := []setting{
		{file: "memory.limit_in_bytes", value: value},
		// Never less than the limit of memory, so it is lifted first and set last.
		{file: "memory.memsw.limit_in_bytes", value: value, optional: true},
	}
	if limit == 0 {
		slices.Reverse(s)
		return s
	}
	return append([]setting{{file: "memory.memsw.limit_in_bytes", value: none, optional: true}}, s...)
}

func (h *Hierarchy) cpu(millicores int64) []setting {
	quota := max(minQuotaMicros, millicores*cpuPeriodMicros/1000)
	if h.unified {
		value := "max"
		if millicores > 0 {
			value = strconv.FormatInt(quota, 10)
		}
		return []setting{{file: "cpu.max", value: value + " " + strconv.Itoa(cpuPeriodMicros)}}
	}
	if millicores == 0 {
		quota = -1
	}
	return []setting{
		{file: "cpu.cfs_period_us", value: strconv.Itoa(cpuPeriodMicros)},
		{file: "cpu.cfs_quota_us", value: strconv.FormatInt(quota, 10)},
	}
}

// set writes a file that the kernel made; it never creates one.
func set(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Usage reads what the processes of a cgroup have used so far; zero values where that cannot be known.
func (*Hierarchy) Usage(dirs []string) bundle.Usage {
	var u bundle.Usage
	for _, d := range dirs {
		u.OOMKills += keyed(filepath.Join(d, "memory.events"), "oom_kill") +
			keyed(filepath.Join(d, "memory.oom_control"), "oom_kill")
		u.PeakMemoryBytes = max(u.PeakMemoryBytes, number(filepath.Join(d, "memory.peak")),
			number(filepath.Join(d, "memory.max_usage_in_bytes")))
		u.CPUTime = max(u.CPUTime,
			time.Duration(number(filepath.Join(d, "cpuacct.usage"))),
			time.Duration(keyed(filepath.Join(d, "cpu.stat"), "usage_usec"))*time.Microsecond)
	}
	return u
}

func number(path string) uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// keyed reads one value of a file of lines "key value".
func keyed(path, key string) uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		if k != key {
			continue
		}
		if n, err := strconv.ParseUint(v, 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// Remove removes an empty cgroup, and the one above it (the Pod's) with its last. One that is gone is no error.
func (h *Hierarchy) Remove(dirs []string) error {
	var errs []error
	for _, d := range dirs {
		// The path comes from a file: only what Dirs could have made is touched.
		if !h.owns(d) {
			errs = append(errs, fmt.Errorf("remove cgroup: %s is not below a cgroup %s", d, h.parent))
			continue
		}
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		if up := filepath.Dir(d); h.owns(up) {
			h.making.Lock()
			_ = os.Remove(up) // fails while it has others
			h.making.Unlock()
		}
	}
	return errors.Join(errs...)
}

func (h *Hierarchy) owns(dir string) bool {
	return slices.ContainsFunc(h.mounts, func(m mount) bool {
		rel, err := filepath.Rel(filepath.Join(m.path, h.parent), dir)
		return err == nil && rel != "." && filepath.IsLocal(rel)
	})
}
