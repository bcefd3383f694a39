package meter

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
	// frameEach is how many bytes of stack are charged as much as going through a function once, so that between two ticks no
	// more than 4 MB are put on it. A function takes leastFrame and up to valueSize for each value that wazero may have to
	// keep across a call, of which no two share a place: at most one for each instruction (two if it is a vector, but then
	// another instruction takes it), parameter and local, one for each parameter and result of what is called and of a
	// block, and two for each local that is set in a block, at whose end the values that it may have meet.
	frameEach  = 64
	leastFrame = 64
	valueSize  = 8
	// maxFrame is where more values make no difference.
	maxFrame = maxWeight * frameEach / valueSize
	// maxWeight is what three bytes of LEB128 hold.
	maxWeight = 1<<20 - 1
)

// site is a function or loop: it is charged where it begins, for its instructions that are in no loop inside.
type site struct {
	at           int // of the weight in body.out, which is known at the end; 0: nothing is charged
	instructions int
}

// weigh adds instructions to the innermost loop.
func (b *body) weigh(n int) { b.sites[b.top().site].instructions += n }

// frame collects what may need a place in the stack frame of a function.
type frame struct {
	values uint64
	// now counts, over all functions, the blocks that were opened and the instructions that set locals; set says when each
	// local was set last.
	now uint64
	set []uint64
}

// setLocal counts two values for each open block in which the local was not set before.
func (b *body) setLocal(x uint32) {
	if x >= maxLocals {
		b.r.Fail("local %d does not exist: at most %d are supported", x, maxLocals)
		return
	}
	if n := int(x) + 1 - len(b.set); n > 0 {
		b.set = append(b.set, make([]uint64, n)...)
	}
	for i := len(b.blocks) - 1; i >= 0 && b.set[x] < b.blocks[i].opened && b.values < maxFrame; i-- {
		b.values += 2
	}
	b.now++
	b.set[x] = b.now
}

// frameWeight is what entering the function is charged for its stack frame.
func (b *body) frameWeight() int {
	return int(min((leastFrame+b.values*valueSize)/frameEach, maxWeight))
}

// putWeights completes the charges of a function.
func (b *body) putWeights() {
	for i, s := range b.sites {
		weight := s.instructions / instructionsEach
		if i == 0 {
			weight = max(weight, b.frameWeight())
		}
		if s.at > 0 {
			putWeight(b.out[s.at:], min(1+weight, maxWeight))
		}
	}
}

// putWeight writes a number as signed LEB128 of three bytes.
func putWeight(b []byte, n int) {
	b[0], b[1], b[2] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)&0x7f
}

func (b *body) op(op byte, index uint32) { b.out = appendU32(append(b.out, op), index) }

// charge writes a charge, at any place: it leaves the stack alone. It returns where its weight is.
//
//	countdown = countdown - weight; if countdown >= 0 {} else { slow() }
//
// After the two branches wazero has values where they are at the end of the first. It keeps hardly any in registers across a
// call: were that one there, the guest would go on with all that it has in memory, though the call is seldom made.
func (b *body) charge(weight int) (at int) {
	b.op(opGlobalGet, b.countdown())
	at = b.weight(weight)
	b.op(opGlobalSet, b.countdown())
	b.op(opGlobalGet, b.countdown())
	b.out = append(b.out, opI32Const, 0, opI32GeS, opIf, blockEmpty, opElse)
	b.op(opCall, b.slowFunction())
	b.out = append(b.out, opEnd)
	return at
}

// weight writes what subtracts a weight, and returns where that is.
func (b *body) weight(n int) (at int) {
	b.out = append(b.out, opI32Const, 0, 0, 0, opI32Sub)
	at = len(b.out) - 4
	putWeight(b.out[at:], n)
	return at
}

// openLoop writes the begin of a loop whose block type is given, and returns where its weight is. One without parameters is
// wrapped:
//
//	block type {
//	    loop type {                            branches to the loop go here
//	        block {
//	            if countdown < 0 { br 0 }
//	            countdown = countdown - weight
//	            block type { the loop }
//	            br 2
//	        }
//	        slow()
//	        br 0
//	    }
//	}
//
// The call is outside of the loop that way: wazero puts it behind all the rest, and keeps the loop's values in registers as if
// there were none. The innermost block wants of the stack at its end what the loop wanted at its own.
//
// A local instead of the global would be read faster, but has to be kept in a register itself: that was slower.
func (b *body) openLoop(blockType []byte, wrap bool) (at int) {
	if !wrap {
		b.out = append(append(b.out, opLoop), blockType...)
		return b.charge(1)
	}
	b.out = append(append(b.out, opBlock), blockType...)
	b.out = append(append(b.out, opLoop), blockType...)
	b.out = append(b.out, opBlock, blockEmpty)
	b.op(opGlobalGet, b.countdown())
	b.out = append(b.out, opI32Const, 0, opI32LtS, opBrIf, 0)
	b.op(opGlobalGet, b.countdown())
	at = b.weight(1)
	b.op(opGlobalSet, b.countdown())
	b.out = append(append(b.out, opBlock), blockType...)
	return at
}

// closeLoop writes what comes after the end of a wrapped loop.
func (b *body) closeLoop() {
	b.out = append(b.out, opBr, 2, opEnd)
	b.op(opCall, b.slowFunction())
	b.out = append(b.out, opBr, 0, opEnd, opEnd)
}

// What is between the end of a wrapped loop and its label, and between its end and what is around it.
const (
	toLabel = 2
	wrapped = 3
)

// label reads the label of a branch and returns what it becomes.
func (b *body) label() uint32 {
	n := b.r.U32()
	if int64(n) >= int64(len(b.blocks)) {
		b.r.Fail("a branch out of %d blocks: it is in %d", int64(n)+1, len(b.blocks))
		return 0
	}
	target := b.blocks[len(b.blocks)-1-int(n)]
	n += wrapped * uint32(b.top().wrapped-target.wrapped)
	if target.loop {
		n += toLabel
	}
	return n
}
