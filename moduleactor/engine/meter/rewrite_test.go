package meter_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	. "github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/meter"
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

const i32 = 0x7f

// stopped is what the tick panics with in these tests.
var errStopped = errors.New("stopped by the tick")

// run instantiates a module, whose imports but the tick it gets from env, and calls its export "f". The tick ends it when
// it was called so many times.
func run(t *testing.T, code []byte, ticks int) (memory []byte, err error) {
	t.Helper()
	ctx := t.Context()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features).WithMemoryLimitPages(64))
	defer func() { _ = r.Close(context.WithoutCancel(ctx)) }()
	hosts := []wazero.HostModuleBuilder{
		r.NewHostModuleBuilder(meter.TickModule).NewFunctionBuilder().WithFunc(func() uint32 {
			if ticks--; ticks < 0 {
				panic(errStopped)
			}
			return meter.DefaultEvery
		}).Export(meter.TickName),
		r.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func() {}).Export("nothing"),
	}
	for _, h := range hosts {
		if _, err := h.Instantiate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	global := Module(Section(6, []byte{i32, 0, 0x41, 8, 0x0b}), Section(7, Export("eight", 3, 0)))
	if _, err := r.InstantiateWithConfig(ctx, global, wazero.NewModuleConfig().WithName("consts")); err != nil {
		t.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(ctx, code, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		return nil, err
	}
	if f := m.ExportedFunction("f"); f != nil {
		_, err = f.Call(ctx)
	}
	if mem := m.Memory(); mem != nil {
		memory, _ = mem.Read(0, mem.Size())
	}
	return slices.Clone(memory), err
}

func rewrite(t *testing.T, code []byte, o meter.Options) []byte {
	t.Helper()
	out, err := meter.Rewrite(code, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// program is a module whose functions have the type of no parameters and results; f is the first. It imports env.nothing,
// which is function 0, and has a memory of 2 pages and a table with f in it.
func program(bodies ...[]byte) []byte {
	return Module(programSections(nil, bodies...)...)
}

func programSections(start []byte, bodies ...[]byte) [][]byte {
	types := make([][]byte, len(bodies))
	for i := range types {
		types[i] = U32(0)
	}
	return [][]byte{
		Section(1, Type(nil, nil)),
		Section(2, Import("env", "nothing", 0, 0)),
		Section(3, types...),
		Section(4, []byte{0x70, 0, 1}),
		Section(5, []byte{0, 2}),
		Section(7, Export("f", 0, 1), Export("memory", 2, 0), Export("table", 1, 0)),
		start,
		Section(9, []byte{0, 0x41, 0, 0x0b, 1, 1}),
		Section(10, bodies...),
	}
}

// typed is the program with type 1, which takes and returns an i32.
func typed(program []byte) []byte {
	return bytes.Replace(program, Section(1, Type(nil, nil)), Section(1, Type(nil, nil), Type([]byte{i32}, []byte{i32})), 1)
}

// TestSpins: nothing goes on without end, whatever it is made of.
func TestSpins(t *testing.T) {
	// deep makes a function call itself, or another, twice: 2^n calls without a loop, as deep as the global that counts
	// down says. The stack does not overflow meanwhile.
	stop := []byte{0x23, 0, 0x45, 0x04, 0x40, 0x0f, 0x0b, 0x23, 0, 0x41, 1, 0x6b, 0x24, 0}
	deep := func(call ...byte) []byte {
		code := append(slices.Clone(stop), call...)
		code = append(code, call...)
		return Body(append(code, 0x23, 0, 0x41, 1, 0x6a, 0x24, 0)...)
	}
	counted := func(bodies ...[]byte) []byte {
		s := programSections(nil, bodies...)
		return Module(slices.Insert(s, 5, Section(6, []byte{i32, 1, 0x41, 60, 0x0b}))...)
	}
	local := func(code ...byte) []byte {
		code = append(append([]byte{1, 1, i32}, code...), 0x0b)
		return append(U32(uint32(len(code))), code...)
	}
	fill := []byte{0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 8, 0xfc, 11, 0} // 128 KiB
	for name, code := range map[string][]byte{
		"loop":                   program(Body(0x03, 0x40, 0x0c, 0, 0x0b)),
		"br_if":                  program(Body(0x03, 0x40, 0x41, 1, 0x0d, 0, 0x0b)),
		"br_table":               program(Body(0x03, 0x40, 0x41, 1, 0x0e, 1, 0, 0, 0x0b)),
		"outer loop":             program(Body(0x03, 0x40, 0x03, 0x40, 0x0c, 1, 0x0b, 0x0b)),
		"loop with a parameter":  program(Body(0x41, 1, 0x03, 0x01, 0x0c, 0, 0x0b, 0x1a)),
		"recursion":              counted(deep(0x10, 1)),
		"mutual recursion":       counted(deep(0x10, 2), deep(0x10, 1)),
		"indirect recursion":     counted(deep(0x41, 0, 0x11, 0, 0)),
		"start section":          Module(programSections(RawSection(8, U32(1)), Body(0x03, 0x40, 0x0c, 0, 0x0b))...),
		"fills":                  program(Body(append(append([]byte{0x03, 0x40}, fill...), 0x0c, 0, 0x0b)...)),
		"calls of the host":      program(Body(0x03, 0x40, 0x10, 0, 0x0c, 0, 0x0b)),
		"memory.grow by nothing": program(Body(0x03, 0x40, 0x41, 0, 0x40, 0, 0x1a, 0x0c, 0, 0x0b)),
		"table.grow by nothing":  program(Body(0x03, 0x40, 0xd0, 0x70, 0x41, 0, 0xfc, 15, 0, 0x1a, 0x0c, 0, 0x0b)),
		"table.grow without end": program(Body(0x03, 0x40, 0xd0, 0x70, 0x41, 0x80, 0x20, 0xfc, 15, 0, 0x1a, 0x0c, 0, 0x0b)),
		// What is light is not charged when it is entered: its callers, and the loops in it, are.
		"a loop of calls of a light function": program(Body(0x03, 0x40, 0x10, 2, 0x0c, 0, 0x0b), Body(0x01)),
		"recursion in loops that run once":    counted(Body(append(append([]byte{0x03, 0x40}, stop...), append(bytes.Repeat([]byte{0x10, 1}, 2), 0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x0b)...)...)),
		"a loop in a loop that runs once":     program(Body(0x03, 0x40, 0x03, 0x40, 0x0b, 0x0c, 0, 0x0b)),
		"a counter that is set back":          program(local(0x03, 0x40, 0x41, 0, 0x21, 0, 0x20, 0, 0x41, 1, 0x6a, 0x22, 0, 0x41, 100, 0x49, 0x0d, 0, 0x0b)),
		"a loop with a result":                program(Body(0x03, 0x7f, 0x41, 0, 0x41, 1, 0x0d, 0, 0x0b, 0x1a)),
		"the loop around, by br_table":        program(Body(0x03, 0x40, 0x02, 0x40, 0x03, 0x40, 0x41, 1, 0x0e, 1, 0, 2, 0x0b, 0x0b, 0x0b)),
		"memory.grow without end":             program(Body(0x03, 0x40, 0x41, 1, 0x40, 0, 0x1a, 0x0c, 0, 0x0b)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, rewrite(t, typed(code), meter.Options{Every: meter.DefaultEvery, MaxTable: 10_000}), 20)
			if !errors.Is(err, errStopped) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestEndlessRecursion: calls without end overflow the stack, as they do without us.
func TestEndlessRecursion(t *testing.T) {
	_, err := run(t, rewrite(t, program(Body(0x10, 1)), meter.Options{Every: meter.DefaultEvery}), 1000)
	if err == nil || !strings.Contains(err.Error(), "stack overflow") {
		t.Errorf("got %v", err)
	}
}

// TestCharges counts the ticks of a loop of 10,000 rounds.
func TestCharges(t *testing.T) {
	// f is function 1; function 2 is in the table.
	with := func(function2 []byte, code ...byte) []byte {
		body := append([]byte{1, 1, i32, 0x03, 0x40}, code...)
		body = append(body, 0x20, 0, 0x41, 1, 0x6a, 0x22, 0, 0x41, 0x90, 0xce, 0, 0x49, 0x0d, 0, 0x0b, 0x0b)
		module := typed(program(append(U32(uint32(len(body))), body...), function2))
		return bytes.Replace(module, Section(9, []byte{0, 0x41, 0, 0x0b, 1, 1}), Section(9, []byte{0, 0x41, 0, 0x0b, 1, 2}), 1)
	}
	rounds := func(code ...byte) []byte { return with(Body(), code...) }
	calls := func(instructions int) []byte {
		return with(Body(bytes.Repeat([]byte{0x01}, instructions-1)...), 0x10, 2)
	}
	for name, tc := range map[string]struct {
		code []byte
		want int // with a tick each 1000
	}{
		"nothing":                       {rounds(), 10},
		"256 instructions":              {rounds(bytes.Repeat([]byte{0x01}, 256)...), 30},
		"a call of the host":            {rounds(0x10, 0), 10_000 * 65 / 1000},
		"a small function":              {calls(100), 10},
		"a light function":              {calls(128), 20},
		"a function that is not light":  {calls(129), 190}, // its frame may have 131 values
		"an inner loop":                 {rounds(0x03, 0x40, 0x0b), 20},
		"an inner loop with parameters": {rounds(0x41, 0, 0x03, 1, 0x0b, 0x1a), 20},
		"a light function by the table": {rounds(0x41, 0, 0x11, 0, 0), 20},
		"a fill of 64 KiB":              {rounds(0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0), 10_000},
		"a copy of 320 bytes":           {rounds(0x41, 0, 0x41, 0, 0x41, 0xc0, 2, 0xfc, 10, 0, 0), 110},
	} {
		t.Run(name, func(t *testing.T) {
			got := countTicks(t, rewrite(t, tc.code, meter.Options{Every: 1000}), 1000)
			if got < tc.want*9/10-1 || got > tc.want*11/10+1 {
				t.Errorf("%d ticks, want about %d", got, tc.want)
			}
		})
	}
}

func countTicks(t *testing.T, code []byte, every uint32) int {
	t.Helper()
	ctx, n := t.Context(), 0
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features))
	defer func() { _ = r.Close(context.WithoutCancel(ctx)) }()
	_, err1 := r.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func() {}).Export("nothing").Instantiate(ctx)
	_, err2 := r.NewHostModuleBuilder(meter.TickModule).NewFunctionBuilder().
		WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) { n++; stack[0] = uint64(every) }), nil, []api.ValueType{i32}).
		Export(meter.TickName).Instantiate(ctx)
	m, err3 := r.Instantiate(ctx, code)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ExportedFunction("f").Call(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTrapNames: the stack of a trap names the functions that it has without us.
func TestTrapNames(t *testing.T) {
	code := Module(append(programSections(nil, Body(0x10, 2), Body(0x00)),
		Custom("name", 0, 2, 1, 'm', 1, 12, 3, 0, 1, 'h', 1, 2, 'f', '1', 2, 2, 'f', '2', 2, 3, 1, 1, 0))...)
	_, want := run(t, code, 0)
	_, got := run(t, rewrite(t, code, options), 100)
	if want == nil || !strings.Contains(want.Error(), "m.f2()") {
		t.Fatalf("without us: %v", want)
	}
	if diff := cmp.Diff(want.Error(), got.Error()); diff != "" {
		t.Error(diff)
	}
}

// TestRefused are modules that would mean something else after the rewriting, or that wazero might read otherwise.
func TestRefused(t *testing.T) {
	with := func(id byte, section []byte) []byte {
		s := programSections(nil, Body())
		for i := range s {
			if len(s[i]) > 0 && s[i][0] == id {
				s[i] = section
			}
		}
		return Module(s...)
	}
	for name, tc := range map[string]struct {
		code []byte
		want string
	}{
		"a call of the tick":         {program(Body(0x10, 2)), "function 2 does not exist: there are 2"},
		"the tick in the table":      {with(9, Section(9, []byte{0, 0x41, 0, 0x0b, 1, 3})), "function 3 does not exist: there are 2"},
		"the tick by expression":     {with(9, Section(9, []byte{5, 0x70, 1, 0xd2, 2, 0x0b})), "function 2 does not exist: there are 2"},
		"an export of the tick":      {with(7, Section(7, Export("f", 0, 2))), "function 2 does not exist: there are 2"},
		"the tick as start":          {Module(programSections(RawSection(8, U32(4)), Body())...), "function 4 does not exist: there are 2"},
		"the countdown":              {program(Body(0x41, 0, 0x24, 0)), "global 0 does not exist: there are 0"},
		"an export of the countdown": {with(7, Section(7, Export("f", 3, 0))), "global 0 does not exist: there are 0"},
		"an added type":              {program(Body(0x02, 1, 0x0b)), "type 1 does not exist: there are 1"},
		"an added type in a call":    {program(Body(0x41, 0, 0x11, 1, 0)), "type 1 does not exist: there are 1"},
		"the label of a charge":      {program(Body(0x03, 0x40, 0x0c, 2, 0x0b)), "a branch out of 3 blocks: it is in 2"},
		"its label by br_table":      {program(Body(0x03, 0x40, 0x41, 0, 0x0e, 1, 0, 3, 0x0b)), "a branch out of 4 blocks: it is in 2"},
		"a type of many values":      {with(1, Section(1, Type(nil, nil), Type(bytes.Repeat([]byte{i32}, 1001), nil))), "a type has 1001 parameters or results; at most 1000 are supported"},
		"an import from wazlet":      {with(2, Section(2, Import("wazlet", "tick", 0, 0))), "it imports tick from the module wazlet, which is the node's own"},
		"a tail call":                {program(Body(0x12, 1)), "the instruction 0x12 is unknown or of an unsupported proposal"},
		"an atomic instruction":      {program(Body(0xfe, 0x03, 0)), "the instruction 0xfe is unknown or of an unsupported proposal"},
		"a long vector instruction":  {program(Body(0xfd, 0x80, 0x02)), "a vector instruction is unknown or of an unsupported proposal"},
		"an unknown 0xfc":            {program(Body(0xfc, 18)), "the instruction 0xfc 18 is unknown or of an unsupported proposal"},
		"a long block type":          {program(Body(0x02, 0xc0, 0x7f, 0x0b)), "a block has an unknown or unsupported type"},
		"another memory":             {program(Body(0x3f, 0x80, 0x00, 0x1a)), "an instruction names another memory than 0"},
		"code after the end":         {program(Body(0x0b)), "a function has 1 bytes after its end"},
		"no end":                     {program([]byte{2, 0, 0x01}), "unexpected end"},
		"too many locals":            {program([]byte{7, 1, 0xd1, 0x86, 0x03, i32, 0x01, 0x0b}), "a function has 50001 locals and parameters; at most 50000 are supported"},
		"a large table":              {with(4, Section(4, []byte{0x70, 0, 100}, []byte{0x70, 0, 101})), "its tables start with 201 elements or more; at most 200 are allowed"},
		"a typed table":              {with(4, Section(4, []byte{0x64, 0, 0, 100})), "a table has the unsupported type 0x64"},
		"exceptions":                 {Module(Section(13, []byte{0, 0})), "a section has the id 13, which is unknown or of an unsupported proposal"},
		"sections in disorder":       {Module(Section(3), Section(1)), "a section of kind 1 is out of order"},
		"gc":                         {Module(Section(1, []byte{0x5f, 0})), "a type has the form 0x5f, which is unknown or of an unsupported proposal"},
		"memory64":                   {Module(Section(5, []byte{4, 1})), "the limits of a memory have the unsupported flags 0x4"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := meter.Rewrite(tc.code, meter.Options{Every: 1, MaxTable: 200})
			if _, ok := errors.AsType[*wasm.SyntaxError](err); !ok || !strings.HasSuffix(err.Error(), ": "+tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestNotWasm(t *testing.T) {
	for name, code := range map[string]string{"text": "#!/bin/sh", "a component": "\x00asm\x0d\x00\x01\x00"} {
		if _, err := meter.Rewrite([]byte(code), options); err == nil || !strings.HasPrefix(err.Error(), "this is no core module") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestNothingToDo gives back the same bytes.
func TestNothingToDo(t *testing.T) {
	code := program(Body())
	for _, o := range []meter.Options{{}, {MergeAbove: 1}} {
		if out := rewrite(t, code, o); &out[0] != &code[0] {
			t.Errorf("%+v made a copy", o)
		}
	}
}

// TestTables: no table grows beyond its share.
func TestTables(t *testing.T) {
	// f grows the table until that is refused, and then traps; what is in memory is the size.
	code := program(Body(0x03, 0x40, 0xd0, 0x70, 0x41, 1, 0xfc, 15, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b, 0x41, 0, 0xfc, 16, 0, 0x36, 2, 0))
	for name, tc := range map[string]struct {
		tables [][]byte
		want   byte
	}{
		"one":                 {[][]byte{{0x70, 0, 1}}, 100},
		"two":                 {[][]byte{{0x70, 0, 1}, {0x6f, 0, 1}}, 50},
		"a larger minimum":    {[][]byte{{0x70, 0, 70}, {0x6f, 0, 1}}, 70},
		"a smaller maximum":   {[][]byte{{0x70, 1, 1, 7}}, 7},
		"a larger maximum":    {[][]byte{{0x70, 1, 1, 127}}, 100},
		"at most the minimum": {[][]byte{{0x70, 1, 100, 100}}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			changed := bytes.Replace(code, Section(4, []byte{0x70, 0, 1}), Section(4, tc.tables...), 1)
			memory, err := run(t, rewrite(t, changed, meter.Options{MaxTable: 100}), 0)
			if err != nil || memory[0] != tc.want {
				t.Errorf("%d elements, %v; want %d", memory[0], err, tc.want)
			}
		})
	}
}
