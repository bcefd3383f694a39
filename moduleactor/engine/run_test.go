package engine_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

func load(t *testing.T, code []byte) *engine.Program {
	t.Helper()
	p, err := engine.Load(t.Context(), engine.Source{Code: code})
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
func open(t *testing.T, dir string, readOnly bool, mounts ...rootfs.Mount) *rootfs.FS {
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
	want := engine.Result{Code: 134, Reason: engine.Trap, Message: "wasm error: stack overflow: calls are nested too deeply (50 MB), or without end"}
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

func TestMemoryLimitOfGoGuest(t *testing.T) {
	p := load(t, enginetest.Go(t, "hoard"))
	memory := engine.NewMemory(64 << 20)
	var stderr bytes.Buffer
	res := p.Run(t.Context(), engine.Guest{Args: []string{"hoard"}, Memory: memory, Stderr: &stderr})
	want := engine.Result{Code: 2, Reason: engine.OOMKilled, Message: "the guest's memory reached its limit of 67108864 bytes"}
	if diff := cmp.Diff(want, res); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(stderr.String(), "out of memory") {
		t.Errorf("stderr: %.300s", stderr.String())
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
		"a reactor": {
			enginetest.Module(
				enginetest.Section(1, enginetest.Type(nil, nil)), enginetest.Section(3, enginetest.U32(0)),
				enginetest.Section(7, enginetest.Export("add", 0, 0)), enginetest.Section(10, enginetest.Body()),
			),
			engine.Result{Code: 128, Reason: engine.StartError, Message: "the module cannot run here: it exports no function _start " +
				"(it is a library or a reactor, not a command); its functions are add"},
		},
		"an unknown import": {
			enginetest.Command(1, [][]byte{enginetest.Import("env", "log", 0, 1)}),
			engine.Result{Code: 128, Reason: engine.StartError, Message: "the module cannot run here: it imports what wazlet does not " +
				"provide: env.log(i32) (provided: the 46 functions of WASI preview 1, as wasi_snapshot_preview1 and wasi_unstable)"},
		},
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

// TestProvidesEveryFunction instantiates a module that imports everything that wasm.Functions promises, under both names.
func TestProvidesEveryFunction(t *testing.T) {
	for _, module := range []string{wasm.Preview1Module, wasm.UnstableModule} {
		var problems []string
		for _, name := range wasm.Functions() {
			// With a wrong type wazero says that the types differ; a missing function would be another message.
			code := enginetest.Command(1, [][]byte{enginetest.Import(module, name, 0, 0)})
			res := load(t, code).Run(t.Context(), engine.Guest{})
			if !strings.Contains(res.Message, "signature mismatch") {
				problems = append(problems, name+": "+res.Message)
			}
		}
		if len(problems) > 0 {
			t.Errorf("%s: %s", module, strings.Join(problems, "\n"))
		}
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
