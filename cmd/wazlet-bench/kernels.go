package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine"
)

// kernelRounds is how often each kernel runs; the fastest counts, since others disturb and nobody helps.
const kernelRounds = 10

// runner runs a kernel and returns the CPU time that it took, without compilation, and what it printed.
type runner func(ctx context.Context, kernel string) (time.Duration, string, error)

// kernels measures what computes: as process isolation runs it, metered as shared isolation does, and with nothing but
// wazero, in turns.
func (t *tools) kernels(ctx context.Context) error {
	t.printf("\nkernels: CPU time of C code (-O2), the least of %d runs in turns\n", kernelRounds)
	t.printf("  %-12s %12s %12s %12s %12s %14s\n", "", "bare wazero", "plain", "metered", "plain/bare", "metered/plain")
	code, err := os.ReadFile(t.kernelFile)
	if err != nil {
		return err
	}
	plain, closePlain, err := ours(ctx, engine.Source{Code: code})
	if err != nil {
		return err
	}
	defer closePlain()
	metered, closeMetered, err := ours(ctx, engine.Source{Code: code, Meter: true})
	if err != nil {
		return err
	}
	defer closeMetered()
	bare, closeBare, err := nothingButWazero(ctx, code)
	if err != nil {
		return err
	}
	defer closeBare()
	names := []string{"sha256", "sort", "sieve", "matmul", "fib", "mandelbrot", "interpret"}
	var plainSum, meteredSum float64
	for _, name := range names {
		best, err := fastest(ctx, name, []runner{bare, plain, metered})
		if err != nil {
			return fmt.Errorf("kernel %s: %w", name, err)
		}
		r1, r2 := ratio(best[1], best[0]), ratio(best[2], best[1])
		plainSum, meteredSum = plainSum+math.Log(r1), meteredSum+math.Log(r2)
		t.printf("  %-12s %12s %12s %12s %12.2f %14.2f\n", name, milli(best[0]), milli(best[1]), milli(best[2]), r1, r2)
	}
	n := float64(len(names))
	t.printf("  %-12s %12s %12s %12s %12.2f %14.2f\n", "geomean", "", "", "", math.Exp(plainSum/n), math.Exp(meteredSum/n))
	return nil
}

func milli(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// fastest runs a kernel with each in turns. All must print the same.
func fastest(ctx context.Context, name string, with []runner) ([]time.Duration, error) {
	best := make([]time.Duration, len(with))
	want := ""
	for range kernelRounds {
		for i, run := range with {
			took, out, err := run(ctx, name)
			if err != nil {
				return nil, err
			}
			if want == "" {
				want = out
			}
			if out != want {
				return nil, fmt.Errorf("it printed %q and %q", want, out)
			}
			if best[i] == 0 || took < best[i] {
				best[i] = took
			}
		}
	}
	return best, nil
}

func ours(ctx context.Context, src engine.Source) (runner, func(), error) {
	p, err := engine.Load(ctx, src)
	if err != nil {
		return nil, nil, err
	}
	run := func(ctx context.Context, kernel string) (time.Duration, string, error) {
		var out bytes.Buffer
		var res engine.Result
		took := cpuTime(func() { res = p.Run(ctx, engine.Guest{Args: []string{"kernels", kernel}, Stdout: &out}) })
		if res.Reason != engine.Completed {
			return 0, "", fmt.Errorf("%s: %s", res.Reason, res.Message)
		}
		return took, out.String(), nil
	}
	return run, func() { _ = p.Close(context.WithoutCancel(ctx)) }, nil
}

// cpuTime is the CPU time of f, which stays on its thread: others may have the processor meanwhile.
func cpuTime(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var begin, end unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &begin)
	f()
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &end)
	return time.Duration(end.Nano() - begin.Nano())
}

func nothingButWazero(ctx context.Context, code []byte) (runner, func(), error) {
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	compiled, err := r.CompileModule(ctx, code)
	if err != nil {
		return nil, nil, err
	}
	run := func(ctx context.Context, kernel string) (time.Duration, string, error) {
		var out bytes.Buffer
		var m api.Module
		var err error
		took := cpuTime(func() {
			m, err = r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithArgs("kernels", kernel).WithStdout(&out))
		})
		if err != nil {
			return 0, "", err
		}
		return took, out.String(), m.Close(ctx)
	}
	return run, func() { _ = r.Close(context.WithoutCancel(ctx)) }, nil
}
