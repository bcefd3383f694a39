package meter

// instruction reads the rest of an instruction, and writes it if it changes or is charged; else flush copies it.
func (b *body) instruction(op byte) {
	r := b.r
	switch {
	case op >= opFirstNumeric && op <= opLastNumeric, op <= 1, op == 0x0f, op == 0x1a, op == 0x1b, op == opRefIsNull, op == opElse:
	case op >= opLocalGet && op <= opLocalTee:
		if x := r.U32(); op != opLocalGet {
			b.setLocal(x)
		}
	case op >= opFirstMemory && op <= opLastMemory:
		b.memoryArgument()
	case op == opI32Const:
		r.Signed(32)
	case op == opI64Const:
		r.Signed(64)
	case op == opF32Const:
		r.Bytes(4)
	case op == opF64Const:
		r.Bytes(8)
	case op == opGlobalGet, op == opGlobalSet:
		b.checkGlobal(r, r.U32())
	case op == opVector:
		b.vector(r.Byte())
	case op == opMisc:
		b.misc()
	case op == opTableGet, op == opTableSet:
		r.U32()
	case op == opMemorySize, op == opMemoryGrow:
		b.zero()
		if op == opMemoryGrow {
			b.chargeHostCall(2)
		}
	case op == opRefNull:
		if c := r.Byte(); !isReference(c) {
			r.Fail("ref.null has the unsupported type 0x%x", c)
		}
	case op == opSelectTyped:
		if n := r.Byte(); n != 1 {
			r.Fail("select has %d types", n)
		}
		checkType(r, r.Byte())
	default:
		b.control(op)
	}
}

// control is instruction for those that branch or refer to functions.
func (b *body) control(op byte) {
	r := b.r
	switch op {
	case opBlock, opLoop, opIf:
		b.block(op)
	case opEnd:
		b.end()
	case opBr, opBrIf:
		at := r.Pos()
		b.index(at, b.label())
	case opBrTable:
		at := r.Pos()
		n := r.Count("labels")
		b.index(at, uint32(n))
		for i := 0; i <= n && r.Err() == nil; i++ {
			at = r.Pos()
			b.index(at, b.label())
		}
	case opCall:
		b.call()
	case opRefFunc:
		at := r.Pos()
		b.index(at, b.function(r, r.U32()))
	case opCallIndirect:
		b.typeIndex(int64(r.U32()))
		r.U32()
		b.called(instructionsEach) // it may be a light one
	default:
		r.Fail("the instruction 0x%x is unknown or of an unsupported proposal", op)
	}
}

// call reads the function that is called.
func (b *body) call() {
	at := b.r.Pos()
	f := b.r.U32()
	index := b.function(b.r, f)
	switch {
	case b.r.Err() != nil:
	case f < b.importedFuncs:
		b.chargeHostCall(b.r.Pos() - at + 1)
	default:
		b.called(int(b.light[f-b.importedFuncs]))
	}
	if b.r.Err() == nil {
		b.values += b.arity(b.typeOf(f))
	}
	b.index(at, index)
}

// called is for calls of the module's functions, of which so many instructions are charged here.
func (b *body) called(instructions int) {
	b.weigh(instructions)
	b.calls = true
}

// block opens a block. Its type is one byte, or the index of a type.
func (b *body) block(op byte) {
	r, at := b.r, b.r.Pos()
	params := uint32(0)
	t := r.Signed(33)
	if t >= 0 {
		params = b.typeIndex(t)
	} else if c := byte(t & 0x7f); r.Pos()-at != 1 || (c != blockEmpty && !isType(c)) {
		r.Fail("a block has an unknown or unsupported type")
	}
	b.now++
	next := *b.top()
	next.loop, next.opened = false, b.now
	if op == opLoop {
		next.site = int32(len(b.sites))
		b.sites = append(b.sites, site{})
	}
	switch {
	case op == opLoop && b.metering:
		if next.loop = params == 0; next.loop {
			next.wrapped++
		}
		b.flush(at - 1)
		b.sites[next.site].at = b.openLoop(appendSigned(nil, t), next.loop)
	case t >= 0:
		b.flush(at)
		b.out = appendSigned(b.out, t)
	}
	b.blocks = append(b.blocks, next)
}

// end closes a block.
func (b *body) end() {
	closed := *b.top()
	b.blocks = b.blocks[:len(b.blocks)-1]
	if closed.loop {
		b.flush(b.r.Pos())
		b.closeLoop()
	}
}

// typeIndex returns the number of parameters of a type, of what takes them and makes its results.
func (b *body) typeIndex(t int64) (params uint32) {
	if t >= int64(len(b.params)) {
		b.r.Fail("type %d does not exist: there are %d", t, len(b.params))
		return 0
	}
	b.values += b.arity(uint32(t))
	return b.params[t]
}

// chargeHostCall charges the instruction of which so many bytes were read.
func (b *body) chargeHostCall(read int) {
	if !b.metering {
		return
	}
	at := b.r.Pos() - read
	b.flush(at)
	b.charge(hostCall)
	b.done = at
}

// zero reads the index of a memory, which has to be one byte.
func (b *body) zero() {
	if c := b.r.Byte(); c != 0 {
		b.r.Fail("an instruction names another memory than 0")
	}
}

func (b *body) memoryArgument() {
	b.r.U32()
	b.r.U32()
}

// The instructions after opMisc.
const (
	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17
)

// misc reads an instruction after opMisc. It is written anew: the specification lets its number have more bytes than it
// needs.
func (b *body) misc() {
	r, start := b.r, b.r.Pos()-1
	op := r.U32()
	if op > miscTableFill {
		r.Fail("the instruction 0xfc %d is unknown or of an unsupported proposal", op)
		return
	}
	at := r.Pos()
	var segment uint32
	switch op {
	case miscMemoryInit, miscDataDrop:
		segment, at = b.dataSegment()
		if op == miscMemoryInit {
			b.zero()
		}
	case miscMemoryCopy:
		b.zero()
		b.zero()
	case miscMemoryFill:
		b.zero()
	case miscTableInit, miscTableCopy:
		r.U32()
		r.U32()
	case miscElemDrop, miscTableGrow, miscTableSize, miscTableFill:
		r.U32()
	}
	if r.Err() != nil {
		return
	}
	b.flush(start)
	if b.metering {
		switch op {
		case miscMemoryInit, miscMemoryCopy, miscMemoryFill, miscTableInit, miscTableCopy, miscTableFill:
			b.out = appendU32(append(b.out, opCall), b.bulkFunction())
		case miscTableGrow:
			b.charge(hostCall)
			b.out = appendU32(append(b.out, opCall), b.bulkFunction())
		}
	}
	b.out = append(b.out, opMisc, byte(op))
	if op == miscMemoryInit || op == miscDataDrop {
		b.out = appendU32(b.out, segment)
	}
	b.done = at
}

// dataSegment reads the index of a data segment and returns what it becomes, and the position after it.
func (b *body) dataSegment() (index uint32, end int) {
	index = b.r.U32()
	switch {
	case index >= uint32(b.segments):
		b.r.Fail("data segment %d does not exist: there are %d", index, b.segments)
	case b.referred != nil:
		b.referred[index] = true
	case b.data != nil:
		index = b.dataIndex[index]
	}
	return index, b.r.Pos()
}

// Instructions after opVector that have something after them. Only those of one byte are numbered here.
const (
	vecLastMemory      = 0x0b
	vecConst           = 0x0c
	vecShuffle         = 0x0d
	vecFirstLane       = 0x15
	vecLastLane        = 0x22
	vecFirstMemoryLane = 0x54
	vecLastMemoryLane  = 0x5b
	vecLoad32Zero      = 0x5c
	vecLoad64Zero      = 0x5d
)

// vector reads an instruction after opVector. The specification has numbers in LEB128, of which those of wasm 2.0 that do
// not fit into seven bits end in a byte 1; wazero reads one byte, and takes the 1 for a nop. Both mean the same.
func (b *body) vector(op byte) {
	r := b.r
	switch {
	case op >= 0x80:
		if r.Byte() != 1 {
			r.Fail("a vector instruction is unknown or of an unsupported proposal")
		}
	case op <= vecLastMemory, op == vecLoad32Zero, op == vecLoad64Zero:
		b.memoryArgument()
	case op == vecConst, op == vecShuffle:
		r.Bytes(16)
	case op >= vecFirstLane && op <= vecLastLane:
		r.Byte()
	case op >= vecFirstMemoryLane && op <= vecLastMemoryLane:
		b.memoryArgument()
		r.Byte()
	}
}
