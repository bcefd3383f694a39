package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/procfs"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// userHZ is what a second has of the kernel's units for users, on every architecture that Go knows.
const userHZ = 100

// cost is the time of processors, in seconds, of those who share the machine. Shims include what the daemon has waited for.
type cost struct{ daemon, shims, plane, bench float64 }

func (c cost) minus(o cost) cost {
	return cost{c.daemon - o.daemon, c.shims - o.shims, c.plane - o.plane, c.bench - o.bench}
}

func (c cost) plus(o cost) cost {
	return cost{c.daemon + o.daemon, c.shims + o.shims, c.plane + o.plane, c.bench + o.bench}
}

// each is the cost of one of n Pods.
func (c cost) each(n int) string {
	ms := func(s float64) float64 { return 1000 * s / float64(n) }
	return fmt.Sprintf("daemon %.1f, shims %.1f, control plane %.1f, this program %.1f", ms(c.daemon), ms(c.shims), ms(c.plane), ms(c.bench))
}

// meter reads the costs of a node and of the control plane whose directory is plane.
type meter struct {
	node  *running
	plane string
}

func (m meter) read() (cost, error) {
	var c cost
	procs, err := procfs.AllProcs()
	if err != nil {
		return c, err
	}
	for _, p := range procs {
		used, ok := bundle.ProcessUsage(p.PID)
		if !ok {
			continue // it has ended
		}
		seconds := used.CPU.Seconds()
		switch {
		case p.PID == os.Getpid():
			c.bench = seconds
		case p.PID == m.node.cmd.Process.Pid:
			c.daemon = seconds
			s, err := p.Stat()
			if err != nil {
				return c, err
			}
			c.shims += float64(s.CUTime+s.CSTime) / userHZ
		case worksIn(p, m.node.dir):
			c.shims += seconds
		case m.serves(p):
			c.plane = seconds
		}
	}
	return c, nil
}

// serves tells whether a process is the control plane.
func (m meter) serves(p procfs.Proc) bool {
	args, err := p.CmdLine()
	return err == nil && len(args) > 3 && filepath.Base(args[0]) == "devcluster" && args[1] == "serve" && args[3] == m.plane
}
