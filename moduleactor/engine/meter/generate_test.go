package meter_test

import (
	"bytes"
	"testing"

	. "github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// generator makes a valid module out of any bytes: functions of no parameters and results, with three locals of i32, that
// compute, branch, loop, call each other, and use memory, tables and globals.
type generator struct {
	in    []byte
	out   []byte
	funcs byte
	// labels are the open blocks, the innermost last: whether a branch there takes a value.
	labels []bool
}

func (g *generator) byte() byte {
	if len(g.in) == 0 {
		return 0
	}
	c := g.in[0]
	g.in = g.in[1:]
	return c
}

func (g *generator) emit(code ...byte) { g.out = append(g.out, code...) }

// value leaves an i32 on the stack.
func (g *generator) value(depth int) {
	choice := g.byte() % 12
	if depth == 0 {
		choice %= 4
	}
	switch choice {
	case 0:
		g.emit(0x41, g.byte()&0x3f)
	case 1, 2:
		g.emit(0x20, g.byte()%3)
	case 3:
		g.emit(0x23, g.byte()%2)
	case 4:
		g.value(depth - 1)
		g.emit(0x2d, 0, g.byte()&0x7f) // i32.load8_u
	case 5:
		g.emit(0x3f, 0)
	case 6:
		g.value(depth - 1)
		g.emit(0x45)
	case 7: // table.grow
		g.emit(0xd0, 0x70)
		g.value(depth - 1)
		g.emit(0xfc, 15, 0)
	case 8: // memory.grow
		g.value(depth - 1)
		g.emit(0x40, 0)
	default:
		g.value(depth - 1)
		g.value(depth - 1)
		g.emit([]byte{0x6a, 0x6b, 0x6c, 0x6d, 0x6f, 0x71, 0x73, 0x74, 0x46, 0x49, 0x4e}[g.byte()%11])
	}
}

func (g *generator) statements(depth int) {
	for n := g.byte() % 5; n > 0 && len(g.in) > 0; n-- {
		g.statement(depth)
	}
}

func (g *generator) statement(depth int) {
	choice := g.byte() % 17
	if depth == 0 {
		choice %= 6
	}
	switch choice {
	case 0, 1:
		g.value(2)
		g.emit(0x21, g.byte()%3)
	case 2:
		g.value(2)
		g.emit(0x24, g.byte()%2)
	case 3: // i32.store
		g.value(1)
		g.value(2)
		g.emit(0x36, 0, g.byte()&0x7f)
	case 4:
		g.emit(0x10, g.byte()%g.funcs)
	case 5: // call_indirect
		g.value(1)
		g.emit(0x11, 0, 0)
	case 6, 7, 8:
		g.block([]byte{0x02, 0x03, 0x04}[choice-6], depth)
	case 9:
		to := g.label()
		g.arguments(to)
		g.value(1)
		g.emit(0x0d, to)
		if g.takes(to) {
			g.emit(0x1a)
		}
	case 10:
		to := g.label()
		g.arguments(to)
		g.value(1)
		g.emit(0x0e, 2, g.labelLike(to), g.labelLike(to), to)
	case 11, 12, 13: // memory.fill, memory.copy, memory.init
		g.value(1)
		g.value(1)
		g.value(1)
		g.emit([][]byte{{0xfc, 11, 0}, {0xfc, 10, 0, 0}, {0xfc, 8, g.byte() % 3, 0}}[choice-11]...)
	case 14: // table.set
		g.value(1)
		g.emit(0xd2, g.byte()%g.funcs, 0x26, 0)
	case 15:
		to := g.label()
		g.arguments(to)
		g.emit(0x0c, to)
	case 16:
		g.emit([][]byte{{0x0f}, {0x00}, {0xfc, 9, g.byte() % 3}}[g.byte()%3]...)
		g.emit(0x01)
	}
}

func (g *generator) label() byte { return g.byte() % byte(len(g.labels)) }

func (g *generator) takes(label byte) bool { return g.labels[len(g.labels)-1-int(label)] }

// labelLike is a label that takes what the other takes.
func (g *generator) labelLike(other byte) byte {
	if l := g.label(); g.takes(l) == g.takes(other) {
		return l
	}
	return other
}

// arguments leaves on the stack what a branch takes.
func (g *generator) arguments(label byte) {
	if g.takes(label) {
		g.value(1)
	}
}

// block makes a block, a loop or an if: without values, with a result, or with a parameter and a result.
func (g *generator) block(op byte, depth int) {
	kind := []byte{0x40, 0x40, 0x7f, 1}[g.byte()%4]
	if kind == 1 {
		g.value(1)
	}
	if op == 0x04 {
		g.value(1)
	}
	g.emit(op, kind)
	g.labels = append(g.labels, kind == 1 || kind == 0x7f && op != 0x03)
	g.arm(kind, depth)
	if op == 0x04 && (kind == 0x7f || g.byte()%2 == 0) {
		g.emit(0x05)
		g.arm(kind, depth)
	}
	g.labels = g.labels[:len(g.labels)-1]
	g.emit(0x0b)
	if kind != 0x40 {
		g.emit(0x21, g.byte()%3)
	}
}

// arm makes what is in a block.
func (g *generator) arm(kind byte, depth int) {
	if kind == 1 {
		g.emit(0x21, g.byte()%3)
	}
	g.statements(depth - 1)
	if kind != 0x40 {
		g.value(1)
	}
}

// generate makes the module.
func generate(in []byte) []byte {
	g := &generator{in: in}
	g.funcs = 1 + g.byte()%4
	offsets := [3]byte{g.byte(), g.byte(), g.byte()}
	var types, bodies [][]byte
	for range g.funcs {
		g.out, g.labels = []byte{1, 3, 0x7f}, []bool{false}
		for range 4 {
			g.statements(4)
		}
		g.emit(0x0b)
		types = append(types, U32(0))
		bodies = append(bodies, append(U32(uint32(len(g.out))), g.out...))
	}
	indices := make([]byte, g.funcs)
	for i := range indices {
		indices[i] = byte(i)
	}
	return Module(
		Section(1, Type(nil, nil), Type([]byte{0x7f}, []byte{0x7f})),
		Section(3, types...),
		Section(4, []byte{0x70, 0, 4}),
		Section(5, []byte{0, 1}),
		Section(6, []byte{0x7f, 1, 0x41, 5, 0x0b}, []byte{0x7f, 1, 0x41, 0, 0x0b}),
		Section(7, Export("f", 0, 0), Export("memory", 2, 0), Export("g", 3, 1)),
		Section(9, append([]byte{0, 0x41, 0, 0x0b, g.funcs}, indices...)),
		RawSection(12, U32(3)),
		Section(10, bodies...),
		Section(11, at(uint32(offsets[0]), "first"), at(uint32(offsets[1]), "second"), at(uint32(offsets[2]), string(bytes.Repeat([]byte{'3'}, 20)))),
	)
}

func TestGeneratedModulesAreValid(t *testing.T) {
	in := make([]byte, 4000)
	for seed := range byte(50) {
		for i := range in {
			in[i] = byte(i*i*31+i*int(seed)*7) ^ byte(i>>3)
		}
		changed := rewrite(t, generate(in), options)
		compare(t, generate(in), changed)
	}
}
