package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// statBytes is room for memory.stat, the largest file read here: 1.5 to 3 KiB on kernels of today.
const statBytes = 16 << 10

var _ bundle.Meter = (*Hierarchy)(nil)

// Sample implements bundle.Meter. Dirs must be as Dirs returned them: one for each mount.
func (h *Hierarchy) Sample(dirs []string) (bundle.Sample, error) {
	if len(dirs) != len(h.mounts) {
		return bundle.Sample{}, fmt.Errorf("measure cgroup: want %d directories (got %d)", len(h.mounts), len(dirs))
	}
	buf, ok := h.buffers.Get().(*[statBytes]byte)
	if !ok {
		buf = new([statBytes]byte)
	}
	defer h.buffers.Put(buf)
	r := reader{buf: buf[:]}
	if h.unified {
		return h.sampleUnified(&r, dirs[0])
	}
	return h.sampleSplit(&r, dirs)
}

// sampleSplit is for version 1, whose controllers may each have a mount of their own.
func (h *Hierarchy) sampleSplit(r *reader, dirs []string) (bundle.Sample, error) {
	var s bundle.Sample
	cpu := false
	for i, m := range h.mounts {
		for _, c := range m.controllers {
			switch c {
			case "memory":
				s.MemoryBytes = r.number(dirs[i] + "/memory.usage_in_bytes")
				r.stat(dirs[i]+"/memory.stat", &s, []byte("total_"))
			case "cpuacct":
				cpu = true
				s.CPU = time.Duration(r.number(dirs[i] + "/cpuacct.usage"))
			}
		}
	}
	if !cpu && r.err == nil {
		r.err = errors.New("measure cgroup: no cpuacct controller is mounted")
	}
	return s, r.err
}

func (h *Hierarchy) sampleUnified(r *reader, dir string) (bundle.Sample, error) {
	s := bundle.Sample{MemoryBytes: r.number(dir + "/memory.current")}
	r.stat(dir+"/memory.stat", &s, nil)
	r.keyed(dir+"/cpu.stat", func(key []byte, n uint64) {
		if string(key) == "usage_usec" {
			s.CPU = time.Duration(n) * time.Microsecond
		}
	})
	return s, r.err
}

// A reader reads files of the kernel until the first error.
type reader struct {
	buf []byte
	err error
}

func (r *reader) read(path string) []byte {
	if r.err != nil {
		return nil
	}
	var data []byte
	data, r.err = bundle.ReadSmall(path, r.buf)
	return data
}

func (r *reader) number(path string) uint64 {
	data := bytes.TrimSpace(r.read(path))
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(string(data), 10, 63)
	if err != nil {
		r.err = fmt.Errorf("%s: want a number (got %.80q)", path, data)
	}
	return n
}

// keyed calls f for each line "key value" of a file; lines of another form are not ours.
func (r *reader) keyed(path string, f func(key []byte, n uint64)) {
	for line := range bytes.Lines(r.read(path)) {
		key, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		if n, err := strconv.ParseUint(string(value), 10, 63); err == nil {
			f(key, n)
		}
	}
}

// stat reads memory.stat after MemoryBytes was read. With version 1 the keys of what counts children too have a prefix.
func (r *reader) stat(path string, s *bundle.Sample, prefix []byte) {
	var inactive uint64
	r.keyed(path, func(key []byte, n uint64) {
		if string(key) == "anon" {
			s.RSSBytes = n
		}
		key, found := bytes.CutPrefix(key, prefix)
		if !found {
			return
		}
		switch string(key) {
		case "rss":
			s.RSSBytes = n
		case "inactive_file":
			inactive = n
		case "pgfault":
			s.PageFaults = n
		case "pgmajfault":
			s.MajorPageFaults = n
		}
	})
	s.WorkingSetBytes = s.MemoryBytes - min(inactive, s.MemoryBytes)
}
