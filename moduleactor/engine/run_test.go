package engine_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

func load(t *testing.T, code []byte) *engine.Program {
	t.Helper()
	p, err := engine.Load(t.Context(), engine.Source{Code: code, CacheDir: compiled})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// open opens dir as the guest's root.
func open(t testing.TB, dir string, readOnly bool, mounts ...rootfs.Mount) *rootfs.FS {
	t.Helper()
	root, err := rootfs.Open(rootfs.Mount{Host: dir, ReadOnly: readOnly}, mounts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	})
	return root
}

func TestRunHello(t *testing.T) {
	p := load(t, enginetest.C(t, "hello.c"))
	for range 2 { // a program can run again
		var stdout, stderr bytes.Buffer
		res := p.Run(t.Context(), engine.Guest{
			Args: []string{"hello", "a b"}, Env: []string{"X=1=2", "CODE=7"},
			Stdout: &stdout, Stderr: &stderr,
		})
		if diff := cmp.Diff(engine.Result{Code: 7, Reason: engine.Error}, res); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff("arg hello\narg a b\nenv X=1=2\nenv CODE=7\n", stdout.String()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff("to stderr\n", stderr.String()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestExitCodes(t *testing.T) {
	p := load(t, enginetest.C(t, "faults.c"))
	for arg, want := range map[string]engine.Result{
		"0":          {Reason: engine.Completed},
		"1":          {Code: 1, Reason: engine.Error},
		"137":        {Code: 137, Reason: engine.Error},
		"255":        {Code: 255, Reason: engine.Error},
		"256":        {Reason: engine.Completed},
		"-1":         {Code: 255, Reason: engine.Error}, // wazero: module closed with context canceled
		"-268435457": {Code: 255, Reason: engine.Error}, // 0xefffffff, wazero: deadline exceeded
		"-2":         {Code: 254, Reason: engine.Error},
	} {
		t.Run(arg, func(t *testing.T) {
			if diff := cmp.Diff(want, p.Run(t.Context(), engine.Guest{Args: []string{"faults", "exit", arg}})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTraps(t *testing.T) {
	p := load(t, enginetest.C(t, "faults.c"))
	for how, want := range map[string][]string{
		"trap":   {"wasm error: unreachable", "wasm stack trace:", ".inner()", ".outer()", "._start()"},
		"divide": {"wasm error: integer divide by zero", "._start()"},
		"bounds": {"wasm error: out of bounds memory access", "._start()"},
		"abort":  {"wasm error: unreachable", ".abort()"},
	} {
		t.Run(how, func(t *testing.T) {
			res := p.Run(t.Context(), engine.Guest{Args: []string{"faults", how}})
			if res.Code != engine.CodeTrap || res.Reason != engine.Trap || len(res.Message) > engine.MaxMessage {
				t.Errorf("code %d, reason %s, message of %d bytes", res.Code, res.Reason, len(res.Message))
			}
			for _, text := range want {
				if !strings.Contains(res.Message, text) {
					t.Errorf("no %q in\n%s", text, res.Message)
				}
			}
		})
	}
}

func TestEndlessRecursion(t *testing.T) {
	p := load(t, enginetest.Command(1, nil, 0x10, 0)) // call _start
	res := p.Run(t.Context(), engine.Guest{})
	want := engine.Result{Code: 134, Reason: engine.Trap, Message: "wasm error: stack overflow: calls are nested too deeply (84 MB), or without end"}
	if diff := cmp.Diff(want, res); diff != "" {
		t.Error(diff)
	}
}

func TestMemoryLimit(t *testing.T) {
	const limit = 16 << 20
	p := load(t, enginetest.C(t, "faults.c"))
	for how, want := range map[string]engine.Result{
		"hoard-exit": {Code: 42, Reason: engine.OOMKilled, Message: "the guest's memory reached its limit of 16777216 bytes"},
		"hoard-trap": {Code: 137, Reason: engine.OOMKilled, Message: "the guest's memory reached its limit of 16777216 bytes"},
		"hoard-ok":   {Reason: engine.Completed},
		"trap":       {Code: 134, Reason: engine.Trap, Message: "wasm error: unreachable"},
	} {
		t.Run(how, func(t *testing.T) {
			memory := engine.NewMemory(limit)
			got := p.Run(t.Context(), engine.Guest{Args: []string{"faults", how}, Memory: memory})
			got.Message, _, _ = strings.Cut(got.Message, "\n")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if strings.HasPrefix(how, "hoard") != memory.Exhausted() {
				t.Errorf("exhausted: %v", memory.Exhausted())
			}
			if memory.Peak() > limit || (memory.Exhausted() && memory.Peak() < limit/2) {
				t.Errorf("peak %d with a limit of %d", memory.Peak(), limit)
			}
		})
	}
}

func TestStartErrors(t *testing.T) {
	exit := enginetest.Import("wasi_snapshot_preview1", "proc_exit", 0, 1)
	start := func(code ...byte) []byte { // a module with a start section; _start is the function of the code too
		return enginetest.Module(
			enginetest.Section(1, enginetest.Type(nil, nil), enginetest.Type([]byte{0x7f}, nil)),
			enginetest.Section(2, exit), enginetest.Section(3, enginetest.U32(0)),
			enginetest.Section(7, enginetest.Export("_start", 0, 1)), enginetest.RawSection(8, enginetest.U32(1)),
			enginetest.Section(10, enginetest.Body(code...)),
		)
	}
	for name, tc := range map[string]struct {
		code []byte
		want engine.Result
	}{
		"a WASI function of another type": {
			enginetest.Command(1, [][]byte{enginetest.Import("wasi_snapshot_preview1", "sched_yield", 0, 1)}),
			engine.Result{Code: 128, Reason: engine.StartError, Message: "instantiate: import func[wasi_snapshot_preview1.sched_yield]: " +
				"signature mismatch: i32_v != v_i32"},
		},
		"more memory than the limit": {
			enginetest.Command(3, nil),
			engine.Result{Code: 128, Reason: engine.StartError, Message: "the module cannot run here: its memory starts with 196608 bytes, " +
				"above the memory limit of 131072 bytes: raise the container's resources.limits.memory"},
		},
		"the start section exits": {
			start(0x41, 5, 0x10, 0), // i32.const 5, call proc_exit
			engine.Result{Code: 5, Reason: engine.Error},
		},
		"the start section traps": {
			start(0x00),
			engine.Result{Code: 134, Reason: engine.Trap, Message: "start function[1] failed: wasm error: unreachable"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			entered := false
			got := load(t, tc.code).Run(t.Context(), engine.Guest{
				Memory:  engine.NewMemory(2 * wasm.PageSize),
				Entered: func() error { entered = true; return nil },
			})
			if got.Reason == engine.Trap {
				got.Message, _, _ = strings.Cut(got.Message, "\n")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if entered {
				t.Error("_start was entered")
			}
		})
	}
}

func TestEnteredRefuses(t *testing.T) {
	p := load(t, enginetest.Command(1, nil, 0x00))
	got := p.Run(t.Context(), engine.Guest{Entered: func() error { return errors.New("disk full") }})
	want := engine.Result{Code: 128, Reason: engine.StartError, Message: "disk full"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestClocksPollRandomStdin(t *testing.T) {
	p := load(t, enginetest.C(t, "clocks.c"))
	var stdout bytes.Buffer
	res := p.Run(t.Context(), engine.Guest{Args: []string{"clocks"}, Stdout: &stdout, Root: open(t, t.TempDir(), false)})
	if res.Reason != engine.Completed || strings.Count(stdout.String(), "\n") != 1 || !strings.HasPrefix(stdout.String(), "wall 1") {
		t.Errorf("%+v\n%s", res, stdout.String())
	}
}

func TestUnstable(t *testing.T) {
	p := load(t, enginetest.C(t, "unstable.c"))
	var stdout bytes.Buffer
	res := p.Run(t.Context(), engine.Guest{Args: []string{"unstable"}, Stdout: &stdout, Root: open(t, t.TempDir(), false)})
	if diff := cmp.Diff("ok\n", stdout.String()); diff != "" || res.Reason != engine.Completed {
		t.Errorf("%+v\n%s", res, diff)
	}
}

// TestProvidesEveryFunction runs a module that imports every function that wazero has, with its type, and those of WasmEdge's
// sockets, under both names; they are those that wasm.Functions promises.
func TestProvidesEveryFunction(t *testing.T) {
	r := wazero.NewRuntime(t.Context())
	defer r.Close(t.Context())
	b := r.NewHostModuleBuilder("wasi")
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	compiled, err := b.Compile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	params := map[string]int{
		"sock_open": 3, "sock_bind": 3, "sock_listen": 2, "sock_connect": 3, "sock_send_to": 7, "sock_recv_from": 8, "sock_getsockopt": 5,
		"sock_setsockopt": 5, "sock_getlocaladdr": 3, "sock_getpeeraddr": 3, "sock_getaddrinfo": 8,
	}
	functions := compiled.ExportedFunctions()
	names := slices.Sorted(maps.Keys(functions))
	names = slices.Sorted(slices.Values(append(names, slices.Collect(maps.Keys(params))...)))
	if diff := cmp.Diff(wasm.Functions(), names); diff != "" {
		t.Fatal(diff)
	}
	types, imports := [][]byte{enginetest.Type(nil, nil)}, [][]byte{}
	for _, name := range names {
		i32 := []byte{api.ValueTypeI32}
		in, out := bytes.Repeat(i32, params[name]), i32
		if f, ok := functions[name]; ok {
			in, out = f.ParamTypes(), f.ResultTypes()
		}
		index := append([]byte{0}, enginetest.U32(uint32(len(types)))...)
		types = append(types, enginetest.Type(in, out))
		for _, module := range []string{wasm.Preview1Module, wasm.UnstableModule} {
			imports = append(imports, enginetest.Import(module, name, index...))
		}
	}
	code := enginetest.Module(
		enginetest.Section(1, types...), enginetest.Section(2, imports...), enginetest.Section(3, enginetest.U32(0)),
		enginetest.Section(7, enginetest.Export("_start", 0, uint32(len(imports)))), enginetest.Section(10, enginetest.Body()),
	)
	if diff := cmp.Diff(engine.Result{Reason: engine.Completed}, load(t, code).Run(t.Context(), engine.Guest{})); diff != "" {
		t.Error(diff)
	}
}

func TestMessageIsClipped(t *testing.T) {
	p := load(t, enginetest.Command(1, nil))
	long := strings.Repeat("x", engine.MaxMessage-5) + "äöü\xffend"
	res := p.Run(t.Context(), engine.Guest{Entered: func() error { return errors.New(long) }})
	if len(res.Message) > engine.MaxMessage || !strings.HasSuffix(res.Message, "\n...") {
		t.Errorf("%d bytes, ends with %q", len(res.Message), res.Message[len(res.Message)-10:])
	}
}
