package wasm_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/wazlet/wazlet/moduleactor/engine/enginetest" //nolint:revive // the words of the binary format
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

const i32, i64 = 0x7f, 0x7e

func TestSniff(t *testing.T) {
	for name, tc := range map[string]struct {
		head string
		want wasm.Kind
	}{
		"empty":          {"", wasm.NotWasm},
		"short":          {"\x00asm\x01\x00\x00", wasm.NotWasm},
		"text":           {"(module)  ", wasm.NotWasm},
		"core":           {"\x00asm\x01\x00\x00\x00", wasm.Core},
		"component":      {"\x00asm\x0d\x00\x01\x00rest", wasm.Component},
		"other version":  {"\x00asm\x02\x00\x00\x00", wasm.OtherVersion},
		"old component":  {"\x00asm\x0c\x00\x01\x00", wasm.OtherVersion},
		"ELF executable": {"\x7fELF\x02\x01\x01\x00", wasm.NotWasm},
	} {
		t.Run(name, func(t *testing.T) {
			if got := wasm.Sniff([]byte(tc.head)); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	code := Module(
		Custom("dylink.0", 1, 2, 3),
		Section(1, Type(nil, nil), Type([]byte{i32, i64}, []byte{i32}), Type(nil, []byte{i32, 0x7b})),
		Section(2,
			Import("wasi_unstable", "proc_exit", 0, 1),
			Import("wasi_snapshot_preview1", "fd_write", 0, 2),
			Import("env", "t", 1, 0x70, 0, 0),
			Import("env", "m", 2, 1, 1, 2),
			Import("env", "g", 3, i32, 0),
		),
		Section(3, U32(0)),
		Section(5, []byte{0, 17}),
		Section(7, Export("_start", 0, 2), Export("memory", 2, 0), Export("same", 0, 0), Export("lost", 0, 99)),
		Section(10, Body(0x01)),
		RawSection(11, []byte{3, 0xff}),
		Custom("name", 1, 1, 0, 0, 3, 2, 'h', 'i'),
		Custom("producers"),
		Custom("producers"),
		Custom("target_features", append([]byte{2, '+'}, append(Str("simd128"), append([]byte{'-'}, Str("atomics")...)...)...)...),
	)
	got, err := wasm.Parse(code)
	if err != nil {
		t.Fatal(err)
	}
	want := &wasm.Module{
		Kind: wasm.Core, Size: int64(len(code)), WASI: wasm.Preview1, Name: "hi",
		Imports: []wasm.Import{
			{Module: "wasi_unstable", Name: "proc_exit", Kind: wasm.Func, Type: "(i32, i64) -> i32"},
			{Module: "wasi_snapshot_preview1", Name: "fd_write", Kind: wasm.Func, Type: "() -> (i32, v128)"},
			{Module: "env", Name: "t", Kind: wasm.Table},
			{Module: "env", Name: "m", Kind: wasm.Memory},
			{Module: "env", Name: "g", Kind: wasm.Global},
		},
		Exports: []wasm.Export{
			{Name: "_start", Kind: wasm.Func, Type: "()"},
			{Name: "memory", Kind: wasm.Memory},
			{Name: "same", Kind: wasm.Func, Type: "(i32, i64) -> i32"},
			{Name: "lost", Kind: wasm.Func},
		},
		Memories:       []wasm.Limits{{Min: 1, Max: 2, HasMax: true}, {Min: 17}},
		CustomSections: []string{"dylink.0", "name", "producers", "target_features"},
		TargetFeatures: []string{"+simd128", "-atomics"},
		Functions:      1,
		DataSegments:   3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseMalformed(t *testing.T) {
	for name, tc := range map[string]struct {
		code []byte
		want string
	}{
		"a section beyond the end":  {Module([]byte{1, 5, 0}), "malformed wasm at offset 0xa: a section of 5 bytes in 1"},
		"no size":                   {Module([]byte{1}), "malformed wasm at offset 0x9: unexpected end"},
		"a size of six bytes":       {Module([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 1}), "malformed wasm at offset 0xe: a number is larger than 32 bits"},
		"a fifth byte too large":    {Module([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x1f}), "malformed wasm at offset 0xe: a number is larger than 32 bits"},
		"unknown section":           {Module(RawSection(77, nil)), "malformed wasm at offset 0xa: a section has the unknown id 77"},
		"more imports than bytes":   {Module(RawSection(2, []byte{9, 0, 0})), "malformed wasm at offset 0xb: 9 imports in 2 bytes"},
		"a name beyond the section": {Module(Section(7, []byte{9, 'a'})), "malformed wasm at offset 0xc: a name of 9 bytes in 1"},
		"a name that is not UTF-8":  {Module(Section(7, []byte{1, 0xff, 0, 0})), "malformed wasm at offset 0xd: a name is not UTF-8"},
		"an unknown import kind":    {Module(Section(2, Import("a", "b", 9, 0))), "malformed wasm at offset 0x10: import a.b has the unknown kind 9"},
		"an unknown export kind":    {Module(Section(7, Export("a", 9, 0))), `malformed wasm at offset 0xf: export "a" has the unknown kind 9`},
		"a name for a terminal":     {Module(Section(2, Import("a", "\x1b", 9, 0))), `malformed wasm at offset 0x10: import a.\x1b has the unknown kind 9`},
		"unknown limits":            {Module(Section(5, []byte{0xff, 0})), "malformed wasm at offset 0xc: limits have the unknown flags 0xff"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wasm.Parse(tc.code)
			if _, ok := errors.AsType[*wasm.SyntaxError](err); !ok || err.Error() != tc.want {
				t.Errorf("got %v (%T), want %s", err, err, tc.want)
			}
		})
	}
}

// TestParseHugeType: what is said of imports must not multiply the size of the type that they share.
func TestParseHugeType(t *testing.T) {
	m, err := wasm.Parse(Module(
		Section(1, Type(bytes.Repeat([]byte{i64}, 1000), nil)),
		Section(2, Import("env", "f", 0, 0), Import("env", "g", 0, 0)),
		Section(7, Export("f", 0, 0)),
	))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{m.Imports[0].Type, m.Imports[1].Type, m.Exports[0].Type} {
		if len(text) > 203 || !strings.HasPrefix(text, "(i64, i64, ") || !strings.HasSuffix(text, "...") {
			t.Errorf("a type has %d bytes of text: %.40s", len(text), text)
		}
	}
}

const provided = " (provided: the 57 functions of WASI preview 1 and of WasmEdge's sockets, as wasi_snapshot_preview1 and wasi_unstable)"

func TestCheck(t *testing.T) {
	memory := func(l ...byte) []byte {
		return Module(Section(1, Type(nil, nil)), Section(3, U32(0)), Section(5, l), Section(7, Export("_start", 0, 0)), Section(10, Body()))
	}
	for name, tc := range map[string]struct {
		code  []byte
		limit int64
		want  []string
	}{
		"a command":    {code: Command(1, [][]byte{Import("wasi_snapshot_preview1", "proc_exit", 0, 1)})},
		"old WASI":     {code: Command(1, [][]byte{Import("wasi_unstable", "proc_exit", 0, 1)})},
		"at the limit": {code: Command(2, nil), limit: 2 * wasm.PageSize},
		"text":         {code: []byte("#!/bin/sh"), want: []string{`this is not wasm: it does not start with "\0asm"`}},
		"a component": {code: []byte("\x00asm\x0d\x00\x01\x00"), want: []string{
			"this is a component (WASI 0.2, wasm version 0d 00 01 00); wazlet runs core modules with WASI preview 1: " +
				"build for the target wasm32-wasip1 (Rust, TinyGo, wasi-sdk) or GOOS=wasip1 (Go)",
		}},
		"another version": {code: []byte("\x00asm\x02\x00\x00\x00"), want: []string{
			"the wasm version is neither 1 (core module) nor 0d 00 01 00 (component)",
		}},
		"unknown imports": {
			code: Command(1, [][]byte{
				Import("wasi_snapshot_preview1", "sock_gone", 0, 1), Import("env", "f", 0, 0), Import("env", "f", 0, 0),
				Import("wasi_snapshot_preview1", "fd_write", 3, i32, 0),
			}),
			want: []string{"it imports what wazlet does not provide: env.f(), wasi_snapshot_preview1.fd_write (global), " +
				"wasi_snapshot_preview1.sock_gone(i32)" + provided},
		},
		"imports that drive a terminal": {
			code: Command(1, [][]byte{Import("env", "\x1b[2J\u009b1mé", 0, 0), Import("\x1b]0;x\a", "m", 2, 0, 1)}),
			want: []string{`it imports what wazlet does not provide: \x1b]0;x\a.m (memory), env.\x1b[2J\u009b1m\u00e9()` + provided, "it has 2 memories; wazlet runs modules with one"},
		},
		"exports that drive a terminal": {
			code: Module(Section(1, Type(nil, nil)), Section(3, U32(0)), Section(7, Export("\x1b[2J", 0, 0)), Section(10, Body())),
			want: []string{`it exports no function _start (it is a library or a reactor, not a command); its functions are \x1b[2J`},
		},
		"a long name": {
			code: Command(1, [][]byte{Import("env", strings.Repeat("f", 1<<20), 0, 0)}),
			want: []string{"it imports what wazlet does not provide: env." + strings.Repeat("f", 196) + "...()" + provided},
		},
		"above the limit": {code: Command(3, nil), limit: 2*wasm.PageSize + 1, want: []string{
			"its memory starts with 196608 bytes, above the memory limit of 131073 bytes: raise the container's resources.limits.memory",
		}},
		"threads":           {code: memory(3, 1, 2), want: []string{"its memory is shared (proposal threads), which wazlet does not run"}},
		"memory64":          {code: memory(4, 1), want: []string{"its memory is 64-bit (proposal memory64), which wazlet does not run"}},
		"custom page sizes": {code: memory(8, 1, 0), want: []string{"its memory has its own page size (proposal custom-page-sizes), which wazlet does not run"}},
		"too many pages":    {code: memory(append([]byte{0}, U32(65537)...)...), want: []string{"its memory starts with 65537 pages; at most 65536 are possible"}},
		"a reactor": {
			code: Module(Section(1, Type(nil, nil)), Section(3, U32(0)), Section(7, Export("_initialize", 0, 0), Export("add", 0, 0)), Section(10, Body())),
			want: []string{"it exports no function _start (it is a library or a reactor, not a command); its functions are _initialize, add"},
		},
		"nothing": {code: Module(), want: []string{"it exports no function _start, nor any other"}},
		"_start with a parameter": {
			code: Module(Section(1, Type([]byte{i32}, nil)), Section(3, U32(0)), Section(7, Export("_start", 0, 0)), Section(10, Body())),
			want: []string{"its export _start is a func(i32); it must be a function without parameters and results"},
		},
		"_start is a memory": {
			code: Module(Section(5, []byte{0, 1}), Section(7, Export("_start", 2, 0))),
			want: []string{"its export _start is a memory; it must be a function without parameters and results"},
		},
		"exceptions": {
			code: Module(Section(1, Type(nil, nil)), Section(3, U32(0)), Section(13, []byte{0, 0}), Section(7, Export("_start", 0, 0)), Section(10, Body())),
			want: []string{"it uses the proposal exception-handling, which wazlet does not run"},
		},
		"gc": {
			code: Module(Section(1, []byte{0x5f, 0}), Section(3, U32(0)), Section(7, Export("_start", 0, 0)), Section(10, Body())),
			want: []string{"it uses the proposal gc or typed references, which wazlet does not run"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := wasm.Parse(tc.code)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, m.Check(tc.limit)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFunctionsAreSorted(t *testing.T) {
	if f := wasm.Functions(); !slices.IsSorted(f) || len(f) != 57 {
		t.Errorf("%d functions, sorted: %v", len(f), slices.IsSorted(f))
	}
}

func TestParseRealGuest(t *testing.T) {
	m, err := wasm.Parse(C(t, "hello.c"))
	if err != nil {
		t.Fatal(err)
	}
	if problems := m.Check(0); len(problems) > 0 {
		t.Errorf("cannot run: %q", problems)
	}
	if m.WASI != wasm.Preview1 || m.Functions == 0 || !slices.Contains(m.CustomSections, "producers") {
		t.Errorf("WASI %s, %d functions, sections %q", m.WASI, m.Functions, m.CustomSections)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Command(1, [][]byte{Import("wasi_snapshot_preview1", "proc_exit", 0, 1)}, 0x00))
	f.Add(Module(Custom("name", 0, 2, 1, 'a'), Custom("target_features", 1, '+', 1, 'x'), Section(5, []byte{4, 0xff, 1})))
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, code []byte) {
		m, err := wasm.Parse(code)
		if m == nil || m.Kind != wasm.Sniff(code) {
			t.Fatalf("got %+v", m)
		}
		if _, ok := errors.AsType[*wasm.SyntaxError](err); err != nil && !ok {
			t.Fatalf("got a %T", err)
		}
		if m.Kind != wasm.Core && len(m.Check(0)) == 0 {
			t.Fatalf("a %s would run", m.Kind)
		}
	})
}

// What a module lists is not remembered without end, nor looked through for each entry: 300,000 names would take minutes.
func TestParseBoundsWhatItRemembers(t *testing.T) {
	const many = 300_000
	var sections []byte
	for i := range many {
		sections = append(sections, Custom(string([]rune{rune(0x100 + i%1000), rune(0x100 + i/1000)}))...)
	}
	features := U32(many)
	for range many {
		features = append(features, '+', 1, 'x')
	}
	m, err := wasm.Parse(Module(sections, Custom("target_features", features...)))
	if err != nil || len(m.CustomSections) != 256 || len(m.TargetFeatures) != 256 {
		t.Errorf("%d sections, %d features, %v; want 256 of each", len(m.CustomSections), len(m.TargetFeatures), err)
	}
}

func TestParseRefusesHugeTypes(t *testing.T) {
	_, err := wasm.Parse(Module(Section(1, Type(nil, bytes.Repeat([]byte{i32}, 1001)))))
	if want := "a type has 1001 parameters or results; at most 1000 are supported"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := wasm.Parse(Module(Section(1, Type(bytes.Repeat([]byte{i32}, 1000), nil)))); err != nil {
		t.Error(err)
	}
}
