package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// density is a node with very many Pods.
type density struct {
	name, class string
	pods        int
	// target is what a Pod may take, the daemon's part included.
	target uint64
}

// densities are those of the design, or a tenth of them.
func densities(quick bool) []density {
	list := []density{
		{name: "process", class: "", pods: 1000, target: 4 << 20},
		{name: "shared", class: "wasm-shared", pods: 10_000, target: 100 << 10},
	}
	for i := range list {
		if quick {
			list[i].pods /= 10
		}
	}
	return list
}

const (
	// restTime is how long a node is left alone before its memory counts: the daemon gives back what the start took.
	restTime = time.Minute
	// idleTime is how long the use of processors is watched. It contains a look at all manifests.
	idleTime = 30 * time.Second
	// settleTime is how long guests are left to finish what they do when they start.
	settleTime = 5 * time.Second
)

// dense measures how fast many small Pods start, and what they take when they idle, the daemon included.
func (t *tools) dense(ctx context.Context, d density) error {
	n, err := t.startNode(ctx, "dense-"+d.name, "--max-pods", strconv.Itoa(2*d.pods), "--log-level", "warn")
	if err != nil {
		return err
	}
	defer n.end()
	begin := time.Now()
	if err := n.apply(d.pods, d.class); err != nil {
		return err
	}
	if err := n.awaitContainers(ctx, d.pods); err != nil {
		return err
	}
	took := time.Since(begin)
	spent, _, err := n.family()
	if err != nil {
		return err
	}
	t.printf("\ndensity: %d Pods of the small C guest, isolation %s, load average %s\n", d.pods, d.name, loadAverage())
	t.printf("  files written to all running: %s, %.0f Pods/s, %.1f ms of CPU a Pod\n", took.Round(10*time.Millisecond),
		float64(d.pods)/took.Seconds(), 1000*spent.all()/float64(d.pods))
	if err := pause(ctx, restTime); err != nil {
		return err
	}
	before, memory, err := n.family()
	if err != nil {
		return err
	}
	if err := pause(ctx, idleTime); err != nil {
		return err
	}
	after, memory2, err := n.family()
	if err != nil {
		return err
	}
	memory.daemon, memory.shims = max(memory.daemon, memory2.daemon), max(memory.shims, memory2.shims)
	each := func(b uint64) string { return fmt.Sprintf("%.1f KiB", float64(b)/float64(d.pods)/(1<<10)) }
	t.printf("  memory of each (Pss, idle for a minute): %s, of that daemon %s, shims %s; the target is less than %s\n",
		each(memory.all()), each(memory.daemon), each(memory.shims), each(d.target*uint64(d.pods)))
	t.printf("  CPU of all while idle: %.2f %% of a core, of that daemon %.2f %%, over %s\n",
		100*(after.all()-before.all())/idleTime.Seconds(), 100*(after.daemon-before.daemon)/idleTime.Seconds(), idleTime)
	return t.timed(ctx, n, "/pods", "/metrics")
}

// timed prints how long the daemon takes to answer.
func (t *tools) timed(ctx context.Context, n *running, paths ...string) error {
	for _, path := range paths {
		var took []time.Duration
		for range 10 {
			begin := time.Now()
			if _, err := n.get(ctx, path); err != nil {
				return err
			}
			took = append(took, time.Since(begin))
		}
		t.printf("  GET %s: p50 %s, the longest of 10 %s\n", path, quantile(took, 0.5).Round(time.Millisecond), quantile(took, 1).Round(time.Millisecond))
	}
	return nil
}

// awaitContainers waits until so many containers have run. It asks for a counter, and seldom, since listing thousands of
// Pods would be a good part of what is measured.
func (n *running) awaitContainers(ctx context.Context, want int) error {
	const patience, every = 20 * time.Minute, 500 * time.Millisecond
	return n.pollEvery(ctx, patience, every, func() error {
		b, err := n.get(ctx, "/metrics")
		if err != nil {
			return err
		}
		if got := startedContainers(b); got < want {
			return fmt.Errorf("%d of %d containers run", got, want)
		}
		return nil
	})
}

func startedContainers(metrics []byte) int {
	for line := range bytes.Lines(metrics) {
		if rest, ok := strings.CutPrefix(string(line), `kubelet_started_containers_total{container_type="container"} `); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err == nil {
				return int(n)
			}
		}
	}
	return 0
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.Join(errInterrupted, ctx.Err())
	}
}

var errInterrupted = errors.New("interrupted")
