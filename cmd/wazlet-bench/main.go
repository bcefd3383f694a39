// Command wazlet-bench measures wazlet beside what it is compared to, in one run, and prints ratios. It is not installed:
// `make bench` builds what it needs and runs it. It wants Linux, and clang with wasi-libc for the small guest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	flags := flag.NewFlagSet("wazlet-bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	bin := flags.String("bin", "bin", "`DIR` of wazlet and wazlet-shim")
	rounds := flags.Int("rounds", 40, "starts of each kind")
	parts := flags.String("parts", "", "measure only `PARTS`, with commas between: "+strings.Join(partNames(), ", "))
	quick := flags.Bool("quick", false, "a tenth of the Pods, and fewer starts: to see that it works, not to be quoted")
	cluster := flags.Bool("cluster", false, "measure Pods of a real control plane instead, beside virtual-kubelet (root)")
	pods := flags.String("pods", "1,50,100,300", "with --cluster: how many are created at once")
	only := flags.String("only", "", "with --cluster: the one `NODE` to measure, bench or vk")
	plane := flags.String("inside", "", "in the network namespace of the control plane in `DIR` (--cluster does that)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	work := func() error { return bench(ctx, *bin, *rounds, *parts, *quick, stdout) }
	switch {
	case *plane != "":
		work = func() error { return benchInside(ctx, *bin, *plane, *only, *pods, stdout) }
	case *cluster:
		work = func() error { return outside(ctx, *bin, *pods, *only, stdout, stderr) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(stderr, "wazlet-bench:", err)
		return 1
	}
	return 0
}

// tools are the binaries and guests of one run.
type tools struct {
	dir, wazlet, shim, bare string
	examples                string // the directory of the example modules
	guests                  []guest
	handlerGuests           []guest
	hostile                 string // a module
	kernelFile              string // another
	out                     io.Writer
}

// guest is a module that prints a line and then sleeps for ever.
type guest struct {
	name, file string
	// memory is the guest's own linear memory in bytes, when it is known beforehand.
	memory uint64
}

func benchInside(ctx context.Context, bin, plane, only, pods string, out io.Writer) (err error) {
	var counts []int
	for text := range strings.SplitSeq(pods, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("--pods: want numbers of 1 or more, with commas between (got %q)", pods)
		}
		counts = append(counts, n)
	}
	dir, err := os.MkdirTemp("", "wazlet-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t, err := build(ctx, bin, dir, out)
	if err != nil {
		return err
	}
	t.printf("%s, %d CPUs, %s\n", runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	return t.inside(ctx, plane, only, counts)
}

// partNames are what is measured, in this order.
func partNames() []string {
	return []string{"kernels", "start", "memory", "node", "process", "shared", "idle", "hostile", "handlers"}
}

func bench(ctx context.Context, bin string, rounds int, parts string, quick bool, out io.Writer) error {
	chosen := partNames()
	if parts != "" {
		chosen = strings.Split(parts, ",")
	}
	for _, p := range chosen {
		if !slices.Contains(partNames(), p) {
			return fmt.Errorf("--parts: want %s, with commas between (got %q)", strings.Join(partNames(), ", "), p)
		}
	}
	dir, err := os.MkdirTemp("", "wazlet-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t, err := build(ctx, bin, dir, out)
	if err != nil {
		return err
	}
	t.printf("%s, %d CPUs, %s, load average %s\n", runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly), loadAverage())
	if quick {
		rounds = min(rounds, quickRounds)
	}
	for _, p := range chosen {
		if err := t.part(ctx, p, rounds, quick); err != nil {
			return err
		}
	}
	return nil
}

// quickRounds is how many starts of each kind a quick run measures.
const quickRounds = 5

func (t *tools) part(ctx context.Context, name string, rounds int, quick bool) error {
	switch name {
	case "kernels":
		return t.kernels(ctx)
	case "start":
		return t.starts(ctx, rounds)
	case "memory":
		return t.memory(ctx)
	case "node":
		for _, pods := range []int{100, 500} {
			if quick {
				pods /= 10
			}
			if err := t.node(ctx, pods); err != nil {
				return err
			}
		}
		return nil
	case "idle":
		return t.idleServers(ctx, quick)
	case "hostile":
		return t.besideHostile(ctx)
	case "handlers":
		return t.handlers(ctx)
	}
	for _, d := range densities(quick) {
		if d.name == name {
			return t.dense(ctx, d)
		}
	}
	return nil
}

// build makes the bare program and the guests.
func build(ctx context.Context, bin, dir string, out io.Writer) (*tools, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	t := &tools{
		dir: dir, out: out, bare: filepath.Join(dir, "bare"), examples: filepath.Join(bin, "examples"),
		hostile: filepath.Join(dir, "hostile.wasm"), kernelFile: filepath.Join(dir, "kernels.wasm"),
		wazlet: filepath.Join(bin, "wazlet"), shim: filepath.Join(bin, "wazlet-shim"),
		guests: []guest{
			{name: "small C guest", file: filepath.Join(dir, "small.wasm"), memory: 64 << 10},
			{name: "Go guest", file: filepath.Join(dir, "gohello.wasm")},
		},
	}
	t.handlerGuests = []guest{
		{name: "small C guest", file: filepath.Join(dir, "cgi.wasm")}, {name: "Go guest", file: filepath.Join(dir, "gocgi.wasm")},
	}
	for _, c := range []struct {
		env  []string
		args []string
	}{
		{[]string{"CGO_ENABLED=0"}, []string{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", t.bare, "./moduleactor/engine/bare"}},
		{nil, []string{
			"clang", "--target=wasm32-wasi", "--sysroot=/usr", "-Os", "-Wl,-z,stack-size=8192", "-Wl,--initial-memory=65536",
			"-o", t.guests[0].file, "cmd/wazlet-bench/guests/small/main.c",
		}},
		{nil, []string{"clang", "--target=wasm32-wasi", "--sysroot=/usr", "-O1", "-o", t.hostile, "cmd/wazlet-bench/guests/hostile/main.c"}},
		{nil, []string{"clang", "--target=wasm32-wasi", "--sysroot=/usr", "-O2", "-o", t.kernelFile, "cmd/wazlet-bench/guests/kernels/main.c"}},
		{nil, []string{"clang", "--target=wasm32-wasi", "--sysroot=/usr", "-O2", "-o", t.handlerGuests[0].file, "cmd/wazlet-bench/guests/cgi/main.c"}},
		{[]string{"GOOS=wasip1", "GOARCH=wasm"}, []string{"go", "build", "-ldflags=-s -w", "-o", t.handlerGuests[1].file, "./cmd/wazlet-bench/guests/gocgi"}},
		{[]string{"GOOS=wasip1", "GOARCH=wasm"}, []string{"go", "build", "-ldflags=-s -w", "-o", t.guests[1].file, "./cmd/wazlet-bench/guests/gohello"}},
	} {
		cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
		cmd.Env = append(os.Environ(), c.env...)
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", c.args, err, text)
		}
	}
	return t, nil
}

func (t *tools) printf(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

// quantile returns the q-quantile of d, which it sorts.
func quantile(d []time.Duration, q float64) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, int(q*float64(len(d))))]
}
