package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// share is something that a daemon and its shims take.
type share[N uint64 | float64] struct{ daemon, shims N }

func (s share[N]) all() N { return s.daemon + s.shims }

// family is the time of processors so far, in seconds, and the memory (Pss) of the daemon and its shims.
func (n *running) family() (cpu share[float64], pss share[uint64], err error) {
	procs, err := procfs.AllProcs()
	if err != nil {
		return cpu, pss, err
	}
	for _, p := range procs {
		daemon := p.PID == n.cmd.Process.Pid
		if !daemon && !worksIn(p, n.dir) {
			continue
		}
		used, ok := bundle.ProcessUsage(p.PID)
		if !ok {
			continue // it has ended
		}
		r, err := smaps(p.PID)
		if err != nil {
			continue
		}
		if daemon {
			cpu.daemon, pss.daemon = used.CPU.Seconds(), r.Pss
			continue
		}
		cpu.shims += used.CPU.Seconds()
		pss.shims += r.Pss
	}
	return cpu, pss, nil
}

// threads is how many the shims have together.
func (n *running) threads() (threads, shims int, err error) {
	procs, err := procfs.AllProcs()
	if err != nil {
		return 0, 0, err
	}
	for _, p := range procs {
		if p.PID == n.cmd.Process.Pid || !worksIn(p, n.dir) {
			continue
		}
		s, err := p.Stat()
		if err != nil {
			continue // it has ended
		}
		threads, shims = threads+s.NumThreads, shims+1
	}
	return threads, shims, nil
}

// worksIn tells whether a process was given a path in the directory.
func worksIn(p procfs.Proc, dir string) bool {
	args, err := p.CmdLine()
	return err == nil && slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, dir+"/") })
}

// endShims kills the processes that work in a directory of the benchmark's own, and waits until they are gone.
func endShims(dir string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		procs, err := procfs.AllProcs()
		if err != nil {
			return err
		}
		left := 0
		for _, p := range procs {
			if p.PID != os.Getpid() && worksIn(p, dir) {
				_ = unix.Kill(p.PID, unix.SIGKILL)
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("shims do not end")
		}
		<-time.After(10 * time.Millisecond)
	}
}
