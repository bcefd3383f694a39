package meter

import "github.com/wazlet/wazlet/moduleactor/engine/wasm"

// Instructions that are looked at, or written.
const (
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opCall         = 0x10
	opCallIndirect = 0x11
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opFirstMemory  = 0x28
	opLastMemory   = 0x3e
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opFirstNumeric = 0x45
	opI32LtS       = 0x48
	opI32GeS       = 0x4e
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI32Mul       = 0x6c
	opI32ShrU      = 0x76
	opI64Add       = 0x7c
	opI64Mul       = 0x7e
	opLastNumeric  = 0xc4
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd

	blockEmpty = 0x40
)

// expr writes a constant expression.
func (w *rewriter) expr(r *wasm.Reader) {
	w.content, _, _ = w.appendExpr(w.content, r)
}

// appendExpr appends a constant expression to b. If it is a single i32.const, value is that, and constant is set.
func (w *rewriter) appendExpr(b []byte, r *wasm.Reader) (out []byte, value uint32, constant bool) {
	for n := 0; ; n++ {
		at := r.Pos()
		op := r.Byte()
		switch {
		case r.Err() != nil:
			return b, 0, false
		case op == opEnd:
			return append(b, opEnd), value, constant && n == 1
		case op == opI32Const:
			value, constant = uint32(r.Signed(32)), n == 0
		case op == opI64Const:
			r.Signed(64)
		case op == opF32Const:
			r.Bytes(4)
		case op == opF64Const:
			r.Bytes(8)
		case op == opGlobalGet:
			w.checkGlobal(r, r.U32())
		case op == opRefNull:
			if c := r.Byte(); !isReference(c) {
				r.Fail("ref.null has the unsupported type 0x%x", c)
			}
		case op == opRefFunc:
			b = appendU32(append(b, opRefFunc), w.function(r, r.U32()))
			continue
		case op == opVector:
			if c := r.Byte(); c != vecConst {
				r.Fail("the vector instruction 0x%x in a constant expression", c)
			}
			r.Bytes(16)
		case op >= opI32Add && op <= opI32Mul, op >= opI64Add && op <= opI64Mul: // extended-const
		default:
			r.Fail("the instruction 0x%x in a constant expression", op)
		}
		b = append(b, r.From(at)...)
	}
}

// appendSigned appends v as signed LEB128.
func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
