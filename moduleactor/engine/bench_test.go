package engine_test

import (
	"context"
	"crypto/rand"
	"io"
	"strconv"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// The calls that the guest calls.c makes, as often as it is told, by our host and by wazero's.
var hotCalls = []string{"clock", "write", "seek", "pread"}

func BenchmarkCalls(b *testing.B) {
	code := enginetest.C(b, "calls.c", "-O2")
	p, err := engine.Load(b.Context(), engine.Source{Code: code})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(b.Context())
	for _, call := range hotCalls {
		b.Run(call+"/wazlet", func(b *testing.B) {
			root := open(b, b.TempDir(), false)
			b.ReportAllocs()
			b.ResetTimer()
			res := p.Run(b.Context(), engine.Guest{Args: []string{"calls", call, strconv.Itoa(b.N)}, Stdout: io.Discard, Root: root})
			if res.Reason != engine.Completed {
				b.Fatalf("%+v", res)
			}
		})
		b.Run(call+"/wazero", func(b *testing.B) {
			run := bareCalls(b, code, b.TempDir())
			b.ReportAllocs()
			b.ResetTimer()
			run(call, b.N)
		})
	}
}

func bareCalls(b *testing.B, code []byte, dir string) func(call string, n int) {
	b.Helper()
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	b.Cleanup(func() { _ = r.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	compiled, err := r.CompileModule(ctx, code)
	if err != nil {
		b.Fatal(err)
	}
	return func(call string, n int) {
		cfg := wazero.NewModuleConfig().WithFSConfig(wazero.NewFSConfig().WithDirMount(dir, "/")).WithStdout(io.Discard).
			WithArgs("calls", call, strconv.Itoa(n)).WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader)
		if _, err := r.InstantiateModule(ctx, compiled, cfg); err != nil {
			b.Fatal(err)
		}
	}
}

// TestHotCallsDoNotAllocate bounds what a hundred thousand calls allocate: less than one allocation for each hundred.
func TestHotCallsDoNotAllocate(t *testing.T) {
	p := load(t, enginetest.C(t, "calls.c", "-O2"))
	for _, call := range hotCalls {
		t.Run(call, func(t *testing.T) {
			root := open(t, t.TempDir(), false)
			allocs := testing.AllocsPerRun(1, func() {
				res := p.Run(t.Context(), engine.Guest{Args: []string{"calls", call, "100000"}, Stdout: io.Discard, Root: root})
				if res.Reason != engine.Completed {
					t.Fatalf("%+v", res)
				}
			})
			if allocs > 1000 {
				t.Errorf("%v allocations", allocs)
			}
		})
	}
}
