package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Host reads procfs and sysfs.
type Host struct {
	// Root is where /proc, /sys and /etc are; "" means /.
	Root string
	// Disk is a directory on the file system that Pods write to.
	Disk string
	// Statfs is nil for the real one.
	Statfs func(dir string) (Filesystem, error)
}

// Filesystem is how full a file system is. Free is what is left for those who are not root.
type Filesystem struct{ Bytes, BytesFree, Inodes, InodesFree uint64 }

// Machine describes the machine. Limits of the control groups that this process is in count: what they leave is all that
// Pods can ever have.
func (h Host) Machine() (Machine, error) {
	memory, err := h.meminfo()
	if err != nil {
		return Machine{}, err
	}
	disk, err := h.statfs(h.Disk)
	if err != nil {
		return Machine{}, fmt.Errorf("size of the file system of %s: %w", h.Disk, err)
	}
	limits := h.limits()
	m := Machine{
		MachineID:     h.first("etc/machine-id", "var/lib/dbus/machine-id"),
		SystemUUID:    h.first("sys/class/dmi/id/product_uuid", "sys/hypervisor/uuid", "etc/machine-id", "var/lib/dbus/machine-id"),
		BootID:        h.first("proc/sys/kernel/random/boot_id"),
		KernelVersion: h.first("proc/sys/kernel/osrelease"),
		OSImage:       h.osImage(),
		CPUs:          min(h.cpus(), limits.cpus),
		MemoryBytes:   min(memory["MemTotal"], limits.memory),
		SwapBytes:     memory["SwapTotal"],
		DiskBytes:     disk.Bytes,
	}
	return m, nil
}

func (h Host) path(name string) string { return filepath.Join("/", h.Root, name) }

// first returns the first of some one-line files that can be read.
func (h Host) first(names ...string) string {
	for _, name := range names {
		if content, err := os.ReadFile(h.path(name)); err == nil && len(bytes.TrimSpace(content)) > 0 {
			return string(bytes.TrimSpace(content))
		}
	}
	return ""
}

// meminfo returns /proc/meminfo in bytes.
func (h Host) meminfo() (map[string]uint64, error) {
	content, err := os.ReadFile(h.path("proc/meminfo"))
	if err != nil {
		return nil, fmt.Errorf("memory of the machine: %w", err)
	}
	out := map[string]uint64{}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		if n, err := strconv.ParseUint(fields[1], 10, 54); err == nil {
			out[strings.TrimSuffix(fields[0], ":")] = n * 1024
		}
	}
	if out["MemTotal"] == 0 {
		return nil, errors.New("memory of the machine: proc/meminfo has no MemTotal")
	}
	return out, nil
}

// cpus counts the processors that are online.
func (h Host) cpus() int {
	n := 0
	for part := range strings.SplitSeq(h.first("sys/devices/system/cpu/online"), ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, errA := strconv.Atoi(from)
		b, errB := a, errA
		if isRange {
			b, errB = strconv.Atoi(to)
		}
		if errA != nil || errB != nil || b < a {
			return runtime.NumCPU()
		}
		n += b - a + 1
	}
	return n
}

func (h Host) osImage() string {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		content, err := os.ReadFile(h.path(name))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(bytes.NewReader(content))
		for lines.Scan() {
			value, found := strings.CutPrefix(lines.Text(), "PRETTY_NAME=")
			if !found {
				continue
			}
			if unquoted, err := strconv.Unquote(value); err == nil {
				value = unquoted
			}
			return strings.Trim(value, `'"`)
		}
	}
	return "Linux"
}

// statfs asks about the file system of a directory.
func (h Host) statfs(dir string) (Filesystem, error) {
	if h.Statfs != nil {
		return h.Statfs(dir)
	}
	return statfs(dir)
}
