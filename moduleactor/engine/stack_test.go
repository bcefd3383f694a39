package engine

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	. "github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

const i64, v128 = 0x7e, 0x7b

// recursive is a module with a memory whose _start is function 0. Function 1 returns a number that nobody knows.
func recursive(locals []byte, code ...byte) []byte {
	body := slices.Concat(locals, code, []byte{0x0b})
	return Module(
		Section(1, Type(nil, nil), Type(nil, []byte{i64})),
		Section(3, U32(0), U32(1)),
		Section(5, []byte{0, 1}),
		Section(7, Export("_start", 0, 0)),
		Section(10, append(U32(uint32(len(body))), body...), Body(loadWord(0)...)),
	)
}

// loadWord and storeWord move an i64 from and to an address; loadVector and storeVector a v128.
func loadWord(at int) []byte { return slices.Concat([]byte{0x41}, sleb(at), []byte{0x29, 3, 0}) }

func loadVector(at int) []byte { return slices.Concat([]byte{0x41}, sleb(at), []byte{0xfd, 0, 4, 0}) }

func storeWord(value ...byte) []byte {
	return slices.Concat([]byte{0x41, 0}, value, []byte{0x37, 3, 0})
}

func storeVector(value ...byte) []byte {
	return slices.Concat([]byte{0x41, 0}, value, []byte{0xfd, 0x0b, 4, 0})
}

// sleb is a number that is not negative as signed LEB128 of three bytes.
func sleb(n int) []byte { return []byte{byte(n) | 0x80, byte(n>>7) | 0x80, byte(n>>14) & 0x3f} }

// local is an instruction for a local.
func local(op byte, n int) []byte { return append([]byte{op}, U32(uint32(n))...) }

// each concatenates what code makes of 0 to n-1.
func each(n int, code func(i int) []byte) []byte {
	var out []byte
	for i := range n {
		out = append(out, code(i)...)
	}
	return out
}

// withLocals is a function that calls itself while it has n values of a type in locals.
func withLocals(n int, kind byte, load func(int) []byte, store func(...byte) []byte) []byte {
	return recursive(append(append([]byte{1}, U32(uint32(n))...), kind), slices.Concat(
		each(n, func(i int) []byte { return append(load(16*i), local(0x21, i)...) }),
		[]byte{0x10, 0},
		each(n, func(i int) []byte { return store(local(0x20, i)...) }),
	)...)
}

// withOperands is one that has them on the stack of operands. One more local takes them down.
func withOperands(n int, kind byte, load func(int) []byte, store func(...byte) []byte) []byte {
	return recursive([]byte{1, 1, kind}, slices.Concat(
		each(n, func(i int) []byte { return load(16 * i) }),
		[]byte{0x10, 0},
		each(n, func(int) []byte { return append([]byte{0x21, 0}, store(0x20, 0)...) }),
	)...)
}

// withLoops has loops in loops: in each of them the locals have values of their own, which live across a call, since all are
// set in the innermost one.
func withLoops(n int) []byte {
	return recursive(append(append([]byte{1}, U32(uint32(n))...), i64), slices.Concat(
		each(n, func(i int) []byte { return append(loadWord(16*i), local(0x21, i)...) }),
		bytes.Repeat(append([]byte{0x03, 0x40}, storeWord(0x10, 1)...), n),
		each(n, func(i int) []byte { return append(loadWord(16*i+8), local(0x21, i)...) }),
		each(n, func(i int) []byte { return append(append(loadWord(i), 0x50, 0x45), local(0x0d, i)...) }), // back if it is not 0
		[]byte{0x10, 0},
		bytes.Repeat([]byte{0x0b}, n),
		each(n, func(i int) []byte { return storeWord(local(0x20, i)...) }),
	)...)
}

// withBlocks has blocks in blocks, which end with values of their own, too.
func withBlocks(n int) []byte {
	return recursive(append(append([]byte{1}, U32(uint32(n))...), i64), slices.Concat(
		bytes.Repeat([]byte{0x02, 0x40}, n),
		each(n, func(i int) []byte { return append(loadWord(16*i), local(0x21, i)...) }),
		each(n, func(i int) []byte { return append(append(loadWord(i), 0x50, 0x45), local(0x0d, i)...) }),
		each(n, func(i int) []byte { return append(loadWord(16*i+8), local(0x21, i)...) }),
		bytes.Repeat(append([]byte{0x0b}, storeWord(0x10, 1)...), n),
		[]byte{0x10, 0},
		each(n, func(i int) []byte { return storeWord(local(0x20, i)...) }),
	)...)
}

// withResults gets and gives away 10,000 values by a few instructions.
func withResults() []byte {
	many := bytes.Repeat([]byte{i64}, 500)
	take := each(len(many), func(i int) []byte { return storeWord(local(0x20, i)...) })
	return Module(
		Section(1, Type(nil, nil), Type(nil, many), Type(many, nil)),
		Section(3, U32(0), U32(1), U32(2)),
		Section(5, []byte{0, 1}),
		Section(7, Export("_start", 0, 0)),
		Section(10,
			Body(slices.Concat(bytes.Repeat([]byte{0x10, 1}, 20), []byte{0x10, 0}, bytes.Repeat([]byte{0x10, 2}, 20))...),
			Body(each(len(many), func(i int) []byte { return loadWord(8 * i) })...), Body(take...)),
	)
}

// TestStackIsBounded: whatever its frames are, a guest puts no more than 4 MB on the stack between two looks at it.
func TestStackIsBounded(t *testing.T) {
	const most = 4_000_000
	for name, code := range map[string][]byte{
		"nothing": recursive([]byte{0}, 0x10, 0), "a local": withLocals(1, i64, loadWord, storeWord), "few locals": withLocals(10, i64, loadWord, storeWord),
		"locals": withLocals(1500, i64, loadWord, storeWord), "vectors": withLocals(1500, v128, loadVector, storeVector),
		"operands": withOperands(1500, i64, loadWord, storeWord), "vector operands": withOperands(1500, v128, loadVector, storeVector),
		"loops": withLoops(50), "blocks": withBlocks(50), "results": withResults(),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Load(t.Context(), Source{Code: code, Meter: true})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close(context.WithoutCancel(t.Context())) }()
			q := newQuota(t.Context(), nil, 0)
			q.maxStack = 1 // the first look finds more
			ctx := context.WithValue(t.Context(), quotaKey{}, q)
			if err := p.canRun(ctx, NewMemory(0)); err != nil {
				t.Fatal(err)
			}
			instance, err := p.instantiate(ctx, NewMemory(0))
			if err != nil {
				t.Fatal(err)
			}
			called, err := call(ctx, instance.ExportedFunction(wasm.StartFunction))
			var deep *stackOverflow
			if !called || !errors.As(err, &deep) {
				t.Fatalf("%v %v", called, err)
			}
			if deep.used < most/1000 || deep.used > most {
				t.Errorf("%d bytes of stack, want at most %d", deep.used, most)
			}
			t.Log(deep.used)
		})
	}
}

// silent is a function of a wazero that has changed.
type silent struct {
	api.Function
	stackTop int
	execCtx  struct{}
}

// A wazero that does not tell of its stacks lets no metered guest run.
func TestGaugeOfNothing(t *testing.T) {
	for name, f := range map[string]api.Function{"nil": nil, "another type": silent{stackTop: 1}, "a pointer to it": &silent{execCtx: struct{}{}}} {
		if _, err := gaugeOf(f); err == nil || !strings.Contains(err.Error(), "does not tell how much stack it takes") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
