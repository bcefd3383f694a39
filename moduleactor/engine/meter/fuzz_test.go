package meter_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	. "github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/meter"
)

// outcome is what can be told of a module that ran.
type outcome struct {
	refused error // by the compiler
	started string
	calls   []string
	memory  []byte
	globals []uint64
	stopped bool
}

// execute compiles and instantiates a module and calls what it exports and takes no parameters. The tick ends it all
// after so many.
func execute(t testing.TB, code []byte, ticks int) (o outcome) {
	t.Helper()
	ctx := t.Context()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features).WithMemoryLimitPages(16))
	defer func() { _ = r.Close(context.WithoutCancel(ctx)) }()
	tick := api.GoFunc(func(_ context.Context, stack []uint64) {
		if ticks--; ticks < 0 {
			panic(errStopped)
		}
		stack[0] = uint64(options.Every)
	})
	_, err := r.NewHostModuleBuilder(meter.TickModule).NewFunctionBuilder().WithGoFunction(tick, nil, []api.ValueType{i32}).Export(meter.TickName).Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := r.CompileModule(ctx, code)
	if err != nil {
		o.refused = err
		return o
	}
	m, err := r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		o.started, o.stopped = reason(err), errors.Is(err, errStopped)
		return o
	}
	names := make([]string, 0, len(m.ExportedFunctionDefinitions()))
	for name, def := range m.ExportedFunctionDefinitions() {
		if len(def.ParamTypes()) == 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		result, err := m.ExportedFunction(name).Call(ctx)
		if errors.Is(err, errStopped) || (err != nil && firstLine(err) == "stack overflow") {
			o.stopped = true // frames have other sizes
			return o
		}
		if err != nil {
			o.calls = append(o.calls, name+": "+firstLine(err))
		} else if !slices.ContainsFunc(m.ExportedFunction(name).Definition().ResultTypes(), isAddress) {
			for _, v := range result {
				o.calls = append(o.calls, name+string(rune(v)))
			}
		}
	}
	if mem := m.Memory(); len(m.ExportedMemoryDefinitions()) > 0 {
		b, _ := mem.Read(0, mem.Size())
		o.memory = bytes.Clone(b)
	}
	if g := m.ExportedGlobal("g"); g != nil && !isAddress(g.Type()) {
		o.globals = append(o.globals, g.Get())
	}
	return o
}

func isAddress(t api.ValueType) bool { return t == 0x70 || t == 0x6f }

// compare runs the rewritten module, and the original if that has an end: nobody can tell them apart.
func compare(t testing.TB, code, changed []byte) {
	t.Helper()
	got := execute(t, changed, 2000)
	if got.stopped {
		return
	}
	want := execute(t, code, 0)
	if want.refused != nil && strings.Contains(want.refused.Error(), "section custom") {
		return // wazero is strict with names; ours are left out if they cannot be read
	}
	if (got.refused == nil) != (want.refused == nil) {
		t.Fatalf("the compiler says %v, of the rewritten module %v", want.refused, got.refused)
	}
	if strings.Contains(got.started, "not instantiated") && strings.Contains(want.started, "not instantiated") {
		return // of several modules that are missing wazero names any
	}
	if got.started != want.started || !slices.Equal(got.calls, want.calls) || !bytes.Equal(got.memory, want.memory) || !slices.Equal(got.globals, want.globals) {
		t.Fatalf("rewritten: %q %q %d; want %q %q %d; same memory: %v", got.started, got.calls, got.globals, want.started, want.calls, want.globals,
			bytes.Equal(got.memory, want.memory))
	}
}

// FuzzRewrite mutates modules of the specification's tests: nothing makes Rewrite fail badly, what it makes is valid
// exactly if the original is, and does the same.
func FuzzRewrite(f *testing.F) {
	root := specification(f)
	for _, pattern := range []string{"v2/testdata/[a-l]*.1.wasm", "v2/testdata/{simd_lane,bulk,table_init,ref_func,data,elem}.0.wasm", "extended-const/testdata/*.wasm"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			if code, err := os.ReadFile(name); err != nil {
				f.Fatal(err)
			} else if len(code) < 2000 {
				f.Add(code)
			}
		}
	}
	f.Add(program(Body(0x41, 0, 0x11, 0, 0)))
	f.Fuzz(func(t *testing.T, code []byte) {
		changed, err := meter.Rewrite(code, meter.Options{Every: options.Every, MaxTable: 10_000, MergeAbove: 1})
		if err != nil {
			if changed != nil || strings.Contains(err.Error(), "panic") {
				t.Fatalf("%v, and a module", err)
			}
			return
		}
		if len(changed) > 20*len(code)+100_000 {
			t.Fatalf("%d bytes became %d", len(code), len(changed))
		}
		compare(t, code, changed)
	})
}

// FuzzGenerated compares valid modules that are made of the fuzzer's bytes.
func FuzzGenerated(f *testing.F) {
	f.Add([]byte("\x03\x00\x05\x0a many a statement, and some loops that end: \x02\x06\x01\x04\x08\x03"))
	f.Fuzz(func(t *testing.T, in []byte) {
		code := generate(in)
		compare(t, code, rewrite(t, code, options))
	})
}
