package meter

import "github.com/wazlet/wazlet/moduleactor/engine/wasm"

// maxLocals is the number that the JavaScript API allows; wazero takes memory for each.
const maxLocals = 50_000

// code writes the code section.
func (w *rewriter) code(r *wasm.Reader) {
	n := r.Count("functions")
	if n != len(w.funcs) {
		r.Fail("%d functions have %d bodies", len(w.funcs), n)
		return
	}
	b := &body{rewriter: w, light: make([]uint8, n)}
	if !w.metered {
		w.u32(uint32(n))
		b.each(r, b.written)
		return
	}
	first := *r
	b.learn(&first)
	r.Join(&first)
	b.metering = true
	w.u32(uint32(n + 2))
	b.each(r, b.written)
	w.addSlow()
	w.addBulk()
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

// body goes through one function after the other.
type body struct {
	*rewriter
	r   *wasm.Reader
	out []byte
	// metering: charges are written.
	metering bool
	// light has the number of instructions, of those that are in no loop, of the light functions, otherwise 0.
	light []uint8
	// done is how far of r is in out.
	done int
	// sites are the function and its loops, blocks what is open.
	sites  []site
	blocks []block
	// calls: it calls a function of the module.
	calls bool
	frame
}

// block is an open block.
type block struct {
	// site is the index of that of the innermost loop around, or of the function.
	site int32
	// wrapped is how many wrapped loops it is in, itself included.
	wrapped int32
	// loop: it is a wrapped loop.
	loop bool
	// opened is when, as frame counts.
	opened uint64
}

func (b *body) top() *block { return &b.blocks[len(b.blocks)-1] }

// each goes through the functions, and calls then after each.
func (b *body) each(r *wasm.Reader, then func(i int)) {
	for i := 0; i < len(b.funcs) && r.Err() == nil; i++ {
		part := r.Sub(r.U32())
		b.one(part, i)
		r.Join(part)
		then(i)
	}
}

// written takes over what was written of a function.
func (b *body) written(int) {
	b.u32(uint32(len(b.out)))
	b.raw(b.out)
}

func (b *body) one(r *wasm.Reader, i int) {
	b.now++
	b.r, b.out, b.sites, b.blocks = r, b.out[:0], append(b.sites[:0], site{}), append(b.blocks[:0], block{opened: b.now})
	b.calls, b.values = false, 0
	b.localGroups(b.params[b.funcs[i]])
	b.out = append(b.out, r.From(0)...)
	b.done = r.Pos()
	if b.metering && b.light[i] == 0 {
		b.sites[0].at = b.charge(1)
	}
	for len(b.blocks) > 0 && r.Err() == nil {
		b.weigh(1)
		b.values++
		b.instruction(r.Byte())
	}
	if r.Err() == nil && r.Left() > 0 {
		r.Fail("a function has %d bytes after its end", r.Left())
	}
	b.flush(r.Pos())
	b.putWeights()
}

// localGroups reads the locals.
func (b *body) localGroups(params uint32) {
	n := b.r.Count("groups of locals")
	total := uint64(params)
	for i := 0; i < n && b.r.Err() == nil; i++ {
		count, kind := uint64(b.r.U32()), b.r.Byte()
		checkType(b.r, kind)
		if total += count; kind == typeV128 {
			b.values += count
		}
	}
	b.values += total
	if total > maxLocals {
		b.r.Fail("a function has %d locals and parameters; at most %d are supported", total, maxLocals)
	}
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

// learn goes through all functions without writing them, to find the light ones.
func (b *body) learn(r *wasm.Reader) {
	b.each(r, func(i int) {
		if n := b.sites[0].instructions; n <= instructionsEach && !b.calls {
			b.light[i] = uint8(n)
		}
	})
}
