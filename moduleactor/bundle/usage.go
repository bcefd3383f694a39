package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Sample is what an attempt that runs uses, and has used so far: the shim's share, the guest's included.
type Sample struct {
	// At is when it was taken, StartedAt when the guest's _start was entered; zero before.
	At, StartedAt time.Time
	// CPU is the time of processors so far. That of an attempt in a shared shim is its guest's alone, and so is its memory.
	CPU time.Duration
	// WorkingSetBytes is the part of MemoryBytes that the kernel cannot simply drop, RSSBytes the anonymous part.
	MemoryBytes, WorkingSetBytes, RSSBytes uint64
	// PageFaults include the major ones, which had to wait for a disk.
	PageFaults, MajorPageFaults uint64
}

// A Meter is a Cgroups that can also tell what is being used; *cgroup.Hierarchy is.
type Meter interface {
	// Sample measures the processes of a cgroup. An error: it cannot be known there.
	Sample(dirs []string) (Sample, error)
}

// Usage measures an attempt: its cgroup, or its process where there is none. Not ok: it does not run. It opens a few small
// files, or asks the shared shim, and blocks for no more than a second.
func (r *Runtime) Usage(id ID) (s Sample, ok bool) {
	p := r.lookup(id)
	if p == nil {
		return Sample{}, false
	}
	var err error
	if p.link != nil {
		s, err = p.link.sample(p)
	} else {
		s, err = r.sample(p)
		if err == nil && p.dead() { // one that is alive now is the one that was measured, whatever happens to process IDs
			err = os.ErrProcessDone
		}
	}
	if err != nil {
		return Sample{}, false
	}
	s.At = r.now()
	if st := p.state.Load(); st != nil {
		s.StartedAt = st.StartedAt
	}
	return s, true
}

func (r *Runtime) sample(p *Process) (Sample, error) {
	if m, ok := r.cfg.Cgroups.(Meter); ok && len(p.spec.Cgroups) > 0 {
		if s, err := m.Sample(p.spec.Cgroups); err == nil {
			return s, nil
		}
	}
	return sampleProcess(p.pid)
}

// ProcessUsage measures a process by procfs; not ok: there is none. When and by whom it was started it does not say.
func ProcessUsage(pid int) (s Sample, ok bool) {
	s, err := sampleProcess(pid)
	return s, err == nil
}

// dead tells whether the process has ended, reaped or not.
func (p *Process) dead() bool {
	dead := true
	err := control(p.pidfd, func(fd int) {
		ended, perr := readable(fd)
		dead = ended || perr != nil
	})
	return dead || err != nil
}

// sampleProcess measures a process by procfs. Of its memory only what is its own counts as working set: all shims share the
// pages of the program and of compiled modules.
func sampleProcess(pid int) (Sample, error) {
	cpu, err := processTime(pid)
	if err != nil {
		return Sample{}, err
	}
	dir := "/proc/" + strconv.Itoa(pid)
	statm, err := os.ReadFile(dir + "/statm")
	if err != nil {
		return Sample{}, err
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Sample{}, err
	}
	s := Sample{CPU: cpu}
	if err := errors.Join(s.parseStatm(statm), s.parseFaults(stat)); err != nil {
		return Sample{}, fmt.Errorf("%s: %w", dir, err)
	}
	return s, nil
}

// parseStatm reads "SIZE RESIDENT SHARED ...", in pages.
func (s *Sample) parseStatm(statm []byte) error {
	fields := bytes.Fields(statm)
	if len(fields) < 3 {
		return fmt.Errorf("statm: want 3 fields or more (got %d)", len(fields))
	}
	resident, err := strconv.ParseUint(string(fields[1]), 10, 48)
	if err != nil {
		return fmt.Errorf("statm: field 2: want pages (got %.80q)", fields[1])
	}
	shared, err := strconv.ParseUint(string(fields[2]), 10, 48)
	if err != nil {
		return fmt.Errorf("statm: field 3: want pages (got %.80q)", fields[2])
	}
	page := uint64(os.Getpagesize())
	s.MemoryBytes = resident * page
	s.RSSBytes = (resident - min(shared, resident)) * page
	s.WorkingSetBytes = s.RSSBytes
	return nil
}

// parseFaults reads fields 10 and 12 of a stat file.
func (s *Sample) parseFaults(stat []byte) error {
	minor, err := statField(stat, 10)
	if err != nil {
		return err
	}
	s.MajorPageFaults, err = statField(stat, 12)
	s.PageFaults = minor + s.MajorPageFaults
	return err
}

// ReadSmall reads a file of a few KiB that the kernel makes up, into buf. It is three system calls: the os package asks for
// the size first, which such files do not tell, and offers each to the poller.
func ReadSmall(path string, buf []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if m == 0 {
			break
		}
		n += m
	}
	return buf[:n], nil
}
