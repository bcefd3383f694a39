package meter_test

import (
	"bytes"
	"strings"
	"testing"

	. "github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/meter"
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// at is a data segment.
func at(offset uint32, data string) []byte {
	return append(constant(0, offset), Str(data)...)
}

func constant(kind byte, offset uint32) []byte {
	out := []byte{kind}
	if kind == 2 {
		out = append(out, 0)
	}
	return append(append(append(out, 0x41), signed(offset)...), 0x0b)
}

func signed(v uint32) []byte {
	return []byte{byte(v) | 0x80, byte(v>>7) | 0x80, byte(v>>14) | 0x80, byte(v>>21) | 0x80, byte(int32(v)>>28) & 0x7f}
}

// dataModule has f of the given code, a memory of two pages, a global of 8 that it imports, and segments.
func dataModule(code []byte, segments ...[]byte) []byte {
	return Module(
		Section(1, Type(nil, nil)),
		Section(2, Import("consts", "eight", 3, i32, 0)),
		Section(3, U32(0)),
		Section(5, []byte{0, 2}),
		Section(7, Export("f", 0, 0), Export("memory", 2, 0)),
		RawSection(12, U32(uint32(len(segments)))),
		Section(10, Body(code...)),
		Section(11, segments...),
	)
}

// TestMerge: memory is the same, with fewer segments.
func TestMerge(t *testing.T) {
	computed := append([]byte{0, 0x23, 0, 0x0b}, Str("computed")...)
	sum := append([]byte{0, 0x41, 4, 0x41, 4, 0x6a, 0x0b}, Str("sum")...)
	passive := append([]byte{1}, Str("passive")...)
	initSecond := []byte{0x41, 0x80, 2, 0x41, 0, 0x41, 3, 0xfc, 8, 1, 0}
	for name, tc := range map[string]struct {
		code     []byte
		segments [][]byte
		want     int // segments; -1 if it traps
	}{
		"adjacent":                      {nil, [][]byte{at(0, "ab"), at(2, "cd"), at(4, "e")}, 1},
		"gaps":                          {nil, [][]byte{at(100, "ab"), at(110, "cd"), at(220, "e")}, 1},
		"a gap of a page":               {nil, [][]byte{at(0, string(make([]byte, 4000))), at(8096, "b"), at(8100, "c")}, 2},
		"gaps larger than the segments": {nil, [][]byte{at(0, "a"), at(4000, "b"), at(8000, "c")}, 1},
		"overlapping, the later wins":   {nil, [][]byte{at(10, "abcdef"), at(12, "XY"), at(14, "0123456")}, 1},
		"descending":                    {nil, [][]byte{at(20, "abc"), at(10, "def"), at(0, "ghi")}, 3},
		"back over the pending one":     {nil, [][]byte{at(20, "abc"), at(18, "def"), at(19, "g")}, 2},
		"a gap that was written":        {nil, [][]byte{at(50, "gap"), at(10, "abc"), at(100, "def")}, 3},
		"a gap above what was written":  {nil, [][]byte{at(50, "gap"), at(10, string(make([]byte, 43))), at(100, "def")}, 2},
		"a gap below what was written":  {nil, [][]byte{at(200, "high"), at(10, "abc"), at(100, "def")}, 2},
		"a computed offset":             {nil, [][]byte{at(0, "a"), computed, at(1, "b"), at(20, "c")}, 4},
		"extended constants":            {nil, [][]byte{at(0, "a"), sum, at(1, "b"), at(2, "c")}, 3},
		"empty":                         {nil, [][]byte{at(0, ""), at(0, "a"), at(1, ""), at(131072, "")}, 2},
		"explicit memory":               {nil, [][]byte{append(constant(2, 0), Str("x")...), append(constant(2, 1), Str("y")...)}, 1},
		"the end of memory":             {nil, [][]byte{at(131070, "a"), at(131071, "b")}, 1},
		"out of bounds":                 {nil, [][]byte{at(0, "a"), at(1, "b"), at(131072, "c")}, -1},
		"out of bounds, empty":          {nil, [][]byte{at(0, "a"), at(1, "b"), at(131073, "")}, -1},
		"far out of bounds":             {nil, [][]byte{at(0, "a"), at(1, "b"), at(0xffffffff, "c")}, -1},
		"passive":                       {initSecond, [][]byte{at(0, "a"), passive, at(1, "c")}, 2},
		"passive, moved":                {initSecond, [][]byte{at(0, "a"), passive, at(1, "c"), at(30000, "d"), passive, at(30001, "e")}, 4},
		"passive, never used":           {nil, [][]byte{at(0, "a"), passive, at(1, "c")}, 2},
		"memory.init of an active one":  {initSecond, [][]byte{at(0, "a"), at(1, "bcd"), at(4, "e"), at(5, "f")}, 3},
		"data.drop of an active one":    {[]byte{0xfc, 9, 1}, [][]byte{at(0, "a"), at(1, "bcd"), at(4, "e"), at(5, "f")}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			code := dataModule(tc.code, tc.segments...)
			want, wantErr := run(t, code, 0)
			for _, every := range []uint32{0, 1} {
				changed := rewrite(t, code, meter.Options{Every: every, MergeAbove: 1})
				got, err := run(t, changed, 1000)
				if (err == nil) != (wantErr == nil) || (err != nil && reason(err) != reason(wantErr)) || !bytes.Equal(got, want) {
					t.Errorf("got %v, want %v; same memory: %v", err, wantErr, bytes.Equal(got, want))
				}
				if (wantErr != nil) != (tc.want < 0) {
					t.Errorf("without us: %v", wantErr)
				}
				m, err := wasm.Parse(changed)
				if err != nil || (tc.want >= 0 && m.DataSegments != tc.want) {
					t.Errorf("%d segments, %v; want %d", m.DataSegments, err, tc.want)
				}
			}
		})
	}
}

// reason is an error without the index of the segment.
func reason(err error) string {
	line := firstLine(err)
	return line[strings.Index(line, ":")+1:]
}

// TestMergeIsBounded: gaps do not make a small module large.
func TestMergeIsBounded(t *testing.T) {
	var segments [][]byte
	for i := range uint32(10_000) {
		segments = append(segments, at(i*4000, "x"))
	}
	code := Module(Section(5, append([]byte{0}, U32(1024)...)), Section(11, segments...))
	out := rewrite(t, code, meter.Options{MergeAbove: 1})
	if len(out) > 2*len(code)+64<<10 {
		t.Errorf("%d bytes became %d", len(code), len(out))
	}
}

// TestMergeImportedMemory: others may see how far the segments of a module got, so they stay.
func TestMergeImportedMemory(t *testing.T) {
	code := Module(Section(2, Import("env", "memory", 2, 0, 1)), Section(11, at(0, "a"), at(1, "b")))
	if out := rewrite(t, code, meter.Options{MergeAbove: 1}); &out[0] != &code[0] {
		t.Error("the segments were merged")
	}
}
