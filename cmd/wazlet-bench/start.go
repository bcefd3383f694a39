package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/procfs"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// starts measures spawn to first output, compiled modules cached, shim and bare program in turns.
func (t *tools) starts(ctx context.Context, rounds int) error {
	t.printf("\nstart: spawn (shared: request) to first output, module cached, %d of each in turns, load average %s\n", rounds, loadAverage())
	t.printf("  %-16s %-14s %10s %10s %10s %10s\n", "", "", "p50", "p99", "ratio p50", "ratio p99")
	for _, g := range t.guests {
		times := map[string][]time.Duration{}
		for i := range rounds + 1 { // the first round warms up
			for _, with := range []string{"wazlet-shim", "bare wazero"} {
				p, took, err := t.spawn(ctx, with, g, i)
				if err != nil {
					return fmt.Errorf("start %s with %s: %w", g.name, with, err)
				}
				p.end()
				if i > 0 {
					times[with] = append(times[with], took)
				}
			}
		}
		shared, err := t.sharedStarts(ctx, g, rounds)
		if err != nil {
			return fmt.Errorf("start %s in a shared shim: %w", g.name, err)
		}
		times["shared shim"] = shared
		for _, with := range []string{"bare wazero", "wazlet-shim", "shared shim"} {
			p50, p99 := quantile(times[with], 0.5), quantile(times[with], 0.99)
			t.printf("  %-16s %-14s %10s %10s %10.2f %10.2f\n", g.name, with, p50.Round(time.Microsecond*10), p99.Round(time.Microsecond*10),
				ratio(p50, quantile(times["bare wazero"], 0.5)), ratio(p99, quantile(times["bare wazero"], 0.99)))
		}
	}
	return nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// memory measures idle processes with one guest each.
func (t *tools) memory(ctx context.Context) error {
	t.printf("\nmemory of one idle process\n")
	t.printf("  %-16s %-14s %10s %10s %10s   %s\n", "", "", "Pss", "private", "anonymous", "anonymous beyond the guest's memory")
	for _, g := range t.guests {
		for i, with := range []string{"wazlet-shim", "bare wazero"} {
			p, _, err := t.spawn(ctx, with, g, 1000+i)
			if err != nil {
				return err
			}
			r, err := smaps(p.cmd.Process.Pid)
			p.end()
			if err != nil {
				return err
			}
			beyond := "-"
			if g.memory > 0 {
				beyond = mib(r.Anonymous - g.memory)
			}
			t.printf("  %-16s %-14s %10s %10s %10s   %s\n", g.name, with, mib(r.Pss), mib(r.PrivateClean+r.PrivateDirty), mib(r.Anonymous), beyond)
		}
	}
	return nil
}

func smaps(pid int) (procfs.ProcSMapsRollup, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcSMapsRollup{}, err
	}
	return p.ProcSMapsRollup()
}

func mib(bytes uint64) string { return fmt.Sprintf("%.2f MiB", float64(bytes)/(1<<20)) }

// process is a running guest of either kind.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
}

func (p *process) end() {
	p.cancel()
	_ = p.cmd.Wait()
}

// spawn starts g and waits for its first line.
func (t *tools) spawn(ctx context.Context, with string, g guest, round int) (*process, time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	cache := filepath.Join(t.dir, "cache-"+with)
	if err := os.MkdirAll(cache, 0o700); err != nil {
		cancel()
		return nil, 0, err
	}
	cmd := exec.CommandContext(ctx, t.bare, g.file, cache)
	if with == "wazlet-shim" {
		dir, err := t.bundle(ctx, g, cache, round)
		if err != nil {
			cancel()
			return nil, 0, err
		}
		cmd = exec.CommandContext(ctx, t.shim, "run", "--bundle", dir)
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, 0, err
	}
	p := &process{cmd, cancel}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, 0, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	took := time.Since(begin)
	if err != nil || line != "ready\n" {
		p.end()
		return nil, 0, errors.Join(err, fmt.Errorf("its first line is %q", line))
	}
	return p, took, nil
}

// bundle writes an attempt of g that prints to the shim's own stdout.
func (t *tools) bundle(ctx context.Context, g guest, cache string, round int) (string, error) {
	dir := filepath.Join(t.dir, filepath.Base(g.file)+"-"+strconv.Itoa(round))
	rootfs := filepath.Join(dir, bundle.RootfsDir)
	if err := os.MkdirAll(rootfs, 0o755); err != nil { //nolint:gosec // the guest's /
		return "", err
	}
	rootfs, err := filepath.EvalSymlinks(rootfs) // the shim follows no link
	if err != nil {
		return "", err
	}
	module, err := os.ReadFile(g.file)
	if err != nil {
		return "", err
	}
	sum := digest.FromBytes(module).String()
	if !bundle.Cached(cache, sum) { // as the daemon sees to
		if out, err := exec.CommandContext(ctx, t.shim, "compile", "--module", g.file, "--cache", cache).CombinedOutput(); err != nil {
			return "", fmt.Errorf("compile %s: %w\n%s", g.file, err, out)
		}
	}
	return dir, bundle.WriteSpec(dir, bundle.Spec{
		Version: bundle.SpecVersion, PodUID: "bench", Namespace: "default", Pod: "bench", Container: "main",
		ContainerID: bundle.NewContainerID(), ImageID: "bench", Module: g.file, CacheDir: cache,
		ModuleDigest: sum, Args: []string{g.name}, Rootfs: rootfs, Landlock: true,
	})
}
