package meter

import (
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// What is charged.
const (
	// instructionsEach is how many instructions of a loop or function are charged as much as going through it once. All of
	// them count, though few may be executed: fewer here would let the large loops of interpreters tick all the time; more
	// would let a guest do more between two ticks.
	instructionsEach = 128
	// hostCall is about what 160 ns are worth.
	hostCall = 64
	// bulkShift is 32 bytes of memory, or elements of a table.
	bulkShift = 5
	// maxWeight is what three bytes of LEB128 hold.
	maxWeight = 1<<20 - 1
)

// maxLocals is the number that the JavaScript API allows; wazero takes memory for each.
const maxLocals = 50_000

// code writes the code section.
func (w *rewriter) code(r *wasm.Reader) {
	n := r.Count("functions")
	if n != len(w.funcs) {
		r.Fail("%d functions have %d bodies", len(w.funcs), n)
		return
	}
	b := &body{rewriter: w}
	b.chargeParts()
	added := 0
	if w.metered {
		added = 2
	}
	w.u32(uint32(n + added))
	for i := 0; i < n && r.Err() == nil; i++ {
		part := r.Sub(r.U32())
		b.write(part, w.params[w.funcs[i]])
		r.Join(part)
		w.u32(uint32(len(b.out)))
		w.raw(b.out)
	}
	if w.metered {
		w.addSlow()
		w.addBulk()
	}
}

// addSlow writes the function that is called when the countdown is over.
func (w *rewriter) addSlow() {
	f := appendU32([]byte{0, opCall}, w.tickFunction())
	f = appendU32(append(f, opGlobalSet), w.countdown())
	w.function1(append(f, opEnd))
}

// addBulk writes the function that bulk instructions pass their length through.
func (w *rewriter) addBulk() {
	f := appendU32([]byte{1, 1, typeI32, opGlobalGet}, w.countdown())
	f = append(f, opLocalGet, 0, opI32Const, bulkShift, opI32ShrU, opI32Sub, opLocalTee, 1, opGlobalSet)
	f = appendU32(f, w.countdown())
	f = append(f, opLocalGet, 1, opI32Const, 0, opI32LtS, opIf, blockEmpty, opCall)
	f = appendU32(f, w.slowFunction())
	w.function1(append(f, opEnd, opLocalGet, 0, opEnd))
}

func (w *rewriter) function1(body []byte) {
	w.u32(uint32(len(body)))
	w.raw(body)
}

// site is where a charge was written whose weight is known at the end of its loop or function.
type site struct {
	at           int // of the weight in body.out
	instructions int
}

// body writes one function after the other.
type body struct {
	*rewriter
	r   *wasm.Reader
	out []byte
	// done is how far of r is in out.
	done  int
	sites []site
	// blocks are the open blocks, each with the index of the site of the innermost loop around.
	blocks []int32
	// before and after are what a charge has around its weight.
	before, after []byte
}

func (b *body) write(r *wasm.Reader, params uint32) {
	b.r, b.out, b.sites, b.blocks = r, b.out[:0], b.sites[:0], b.blocks[:0]
	b.localGroups(params)
	b.out = append(b.out, r.From(0)...)
	b.done = r.Pos()
	b.blocks = append(b.blocks, 0)
	b.charge(1)
	b.sites = append(b.sites, site{at: b.weightAt()})
	for len(b.blocks) > 0 && r.Err() == nil {
		b.sites[b.blocks[len(b.blocks)-1]].instructions++
		b.instruction(r.Byte())
	}
	if r.Err() == nil && r.Left() > 0 {
		r.Fail("a function has %d bytes after its end", r.Left())
	}
	b.flush(r.Pos())
	if b.metered {
		for _, s := range b.sites {
			putWeight(b.out[s.at:], min(1+s.instructions/instructionsEach, maxWeight))
		}
	}
}

// localGroups reads the locals.
func (b *body) localGroups(params uint32) {
	n := b.r.Count("groups of locals")
	total := uint64(params)
	for i := 0; i < n && b.r.Err() == nil; i++ {
		total += uint64(b.r.U32())
		checkType(b.r, b.r.Byte())
	}
	if total > maxLocals {
		b.r.Fail("a function has %d locals and parameters; at most %d are supported", total, maxLocals)
	}
}

// chargeParts makes the parts of a charge:
//
//	countdown = countdown - weight; if countdown < 0 { slow() }
//
// A local to save reading the global again, or one that counts so that the global is written less often, is no faster: what
// takes time is the call, though it is seldom made, because wazero keeps no values in registers across it.
func (b *body) chargeParts() {
	b.before = append(appendU32([]byte{opGlobalGet}, b.countdown()), opI32Const)
	b.after = appendU32([]byte{opI32Sub, opGlobalSet}, b.countdown())
	b.after = appendU32(append(b.after, opGlobalGet), b.countdown())
	b.after = appendU32(append(b.after, opI32Const, 0, opI32LtS, opIf, blockEmpty, opCall), b.slowFunction())
	b.after = append(b.after, opEnd)
}

// charge writes a charge, at any place: it leaves the stack alone.
func (b *body) charge(weight int) {
	if !b.metered {
		return
	}
	b.out = append(append(b.out, b.before...), 0, 0, 0)
	putWeight(b.out[len(b.out)-3:], weight)
	b.out = append(b.out, b.after...)
}

// weightAt is where the weight of the charge is that was written last.
func (b *body) weightAt() int { return len(b.out) - len(b.after) - 3 }

// putWeight writes a number as signed LEB128 of three bytes.
func putWeight(b []byte, n int) {
	b[0], b[1], b[2] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)&0x7f
}

// flush copies what was read since the last flush, up to a position.
func (b *body) flush(to int) {
	if part := b.r.From(b.done); b.r.Err() == nil && to > b.done {
		b.out = append(b.out, part[:to-b.done]...)
	}
	b.done = b.r.Pos()
}

// index replaces the number that was read since the position at.
func (b *body) index(at int, v uint32) {
	b.flush(at)
	b.out = appendU32(b.out, v)
}
