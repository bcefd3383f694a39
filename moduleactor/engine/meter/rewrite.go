package meter

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// Version is part of the key of whatever is kept of rewritten modules. It changes with what Rewrite writes.
const Version = "3"

// The function that a metered module imports. It takes nothing and returns the next countdown, an i32.
const (
	TickModule = "wazlet"
	TickName   = "tick"
)

// StartExport is how a metered module exports its start function with Options.ExportStart.
const StartExport = "wazlet.start"

// DefaultEvery is a countdown that ends after some 0.2 ms.
const DefaultEvery = 100_000

// Options say what is rewritten. The zero value changes nothing.
type Options struct {
	// Every is the first countdown, at most 1<<30; 0: the module is not metered.
	Every uint32
	// ExportStart makes the start function of a metered module, which would be called at its instantiation, the export
	// StartExport instead: who calls it knows the call. One that is imported, or invalid, stays, and so does that of a
	// module without exports.
	ExportStart bool
	// MaxTable caps what the tables of the module can grow to, in elements, all together; each of n tables can have a share
	// of 1/n, or its minimum. Modules whose minimums are above it together are refused. 0: no cap. Imported tables are
	// left alone: who provides them limits them.
	MaxTable uint32
	// MergeAbove merges the data segments of modules that have more than this many; 0: never.
	MergeAbove int
}

// Rewrite returns the rewritten module, or code itself if there is nothing to do. The error is a *wasm.SyntaxError for
// what is malformed or of an unsupported proposal.
func Rewrite(code []byte, o Options) ([]byte, error) {
	if kind := wasm.Sniff(code); kind != wasm.Core {
		return nil, fmt.Errorf("this is no core module: %s", kind)
	}
	if o.Every > 1<<30 {
		return nil, fmt.Errorf("a countdown of %d: at most %d are possible", o.Every, 1<<30)
	}
	m, err := outline(code)
	if err != nil {
		return nil, err
	}
	w := &rewriter{module: m, o: o, metered: o.Every > 0 && len(m.funcs) > 0}
	if err := w.planData(); err != nil {
		return nil, err
	}
	cap := o.MaxTable > 0 && m.has(wasm.SectionTable)
	if !w.metered && w.data == nil && !cap {
		return code, nil
	}
	w.out = make([]byte, 0, len(code)+len(code)/2)
	w.out = append(w.out, code[:wasm.HeaderSize]...)
	for _, s := range m.sections {
		w.section(s)
		if w.err != nil {
			return nil, w.err
		}
	}
	return w.out, nil
}

// rewriter writes one module.
type rewriter struct {
	*module
	o       Options
	metered bool
	// data is the new content of the data section, nil to keep it; dataIndex are the new indices of the segments that
	// instructions refer to.
	data      []byte
	dataCount uint32
	dataIndex map[uint32]uint32
	// referred, if set, collects the data segments that instructions refer to.
	referred map[uint32]bool

	out []byte
	// content is the section that is being written.
	content []byte
	err     error
}

// function is the new index of a function; one that the module does not have is an error.
func (w *rewriter) function(r *wasm.Reader, index uint32) uint32 {
	switch {
	case index >= w.functions():
		r.Fail("function %d does not exist: there are %d", index, w.functions())
		return 0
	case w.metered && index >= w.importedFuncs:
		return index + 1
	default:
		return index
	}
}

// The indices of what is added to a metered module.
func (w *rewriter) tickType() uint32      { return uint32(len(w.params)) }
func (w *rewriter) slowType() uint32      { return w.tickType() + 1 }
func (w *rewriter) bulkType() uint32      { return w.tickType() + 2 }
func (w *rewriter) countdown() uint32     { return w.globals }
func (w *rewriter) tickFunction() uint32  { return w.importedFuncs }
func (w *rewriter) slowFunction() uint32  { return w.functions() + 1 }
func (w *rewriter) bulkFunction() uint32  { return w.functions() + 2 }
func (w *rewriter) u32(v uint32)          { w.content = appendU32(w.content, v) }
func (w *rewriter) bytes(b ...byte)       { w.content = append(w.content, b...) }
func (w *rewriter) raw(b []byte)          { w.content = append(w.content, b...) }
func appendU32(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

// section writes a section, changed if need be.
func (w *rewriter) section(s section) {
	if s.added && !w.metered || s.id == wasm.SectionStart && w.exportsStart() {
		return
	}
	w.content = w.content[:0]
	r := s.reader()
	switch {
	case s.id == wasm.SectionCustom:
		if !w.custom(s) {
			return
		}
		r.Rest()
	case s.id == wasm.SectionTable && w.o.MaxTable > 0:
		w.tables(r)
	case s.id == wasm.SectionData && w.data != nil:
		w.content = append(w.content, w.data...)
		r.Rest()
	case s.id == wasm.SectionDataCount && w.data != nil:
		w.u32(w.dataCount)
		r.Rest()
	case s.id == wasm.SectionCode && (w.metered || len(w.dataIndex) > 0):
		w.code(r)
	case w.metered:
		w.meteredSection(s, r)
	default:
		w.raw(r.Rest())
	}
	if r.Err() == nil && r.Left() > 0 {
		r.Fail("a section of kind %d has %d bytes too many", s.id, r.Left())
	}
	if w.err = r.Err(); w.err != nil {
		return
	}
	w.out = append(w.out, s.id)
	w.out = appendU32(w.out, uint32(len(w.content)))
	w.out = append(w.out, w.content...)
}

// meteredSection writes the sections that change only when the module is metered.
func (w *rewriter) meteredSection(s section, r *wasm.Reader) {
	switch s.id {
	case wasm.SectionType:
		w.u32(uint32(r.Count("types")) + 3)
		w.raw(r.Rest())
		w.bytes(0x60, 0, 1, typeI32)
		w.bytes(0x60, 0, 0)
		w.bytes(0x60, 1, typeI32, 1, typeI32)
	case wasm.SectionImport:
		w.u32(uint32(vector(r, s, "imports")) + 1)
		w.raw(r.Rest())
		w.u32(uint32(len(TickModule)))
		w.raw([]byte(TickModule))
		w.u32(uint32(len(TickName)))
		w.raw([]byte(TickName))
		w.bytes(0)
		w.u32(w.tickType())
	case wasm.SectionFunction:
		w.u32(uint32(r.Count("functions")) + 2)
		w.raw(r.Rest())
		w.u32(w.slowType())
		w.u32(w.bulkType())
	case wasm.SectionGlobal:
		w.globalSection(s, r)
	case wasm.SectionExport:
		w.exports(r)
	case wasm.SectionStart:
		w.u32(w.function(r, r.U32()))
	case wasm.SectionElement:
		w.elements(r)
	case wasm.SectionData:
		w.checkData(r)
	default:
		w.raw(r.Rest())
	}
}

// vector reads the length of a section's vector.
func vector(r *wasm.Reader, s section, what string) int {
	if s.added {
		return 0
	}
	return r.Count(what)
}

func (w *rewriter) globalSection(s section, r *wasm.Reader) {
	n := vector(r, s, "globals")
	w.u32(uint32(n) + 1)
	for range n {
		at := r.Pos()
		r.Byte()
		r.Byte()
		w.raw(r.From(at))
		w.expr(r)
	}
	w.bytes(typeI32, 1, opI32Const)
	w.content = appendSigned(w.content, int64(w.o.Every))
	w.bytes(opEnd)
}

// exportsStart tells whether the start function becomes an export.
func (w *rewriter) exportsStart() bool {
	return w.metered && w.o.ExportStart && w.hasStart && w.has(wasm.SectionExport) &&
		w.start >= w.importedFuncs && w.start < w.functions() && w.arity(w.typeOf(w.start)) == 0
}

func (w *rewriter) exports(r *wasm.Reader) {
	n := r.Count("exports")
	if w.exportsStart() {
		w.u32(uint32(n) + 1)
		w.u32(uint32(len(StartExport)))
		w.raw([]byte(StartExport))
		w.bytes(0)
		w.u32(w.function(r, w.start))
	} else {
		w.u32(uint32(n))
	}
	for range n {
		at := r.Pos()
		if name := r.Name(); name == StartExport && w.metered && w.o.ExportStart {
			r.Fail("it exports %s, which is the node's own", StartExport)
		}
		kind := r.Byte()
		w.raw(r.From(at))
		index := r.U32()
		switch kind {
		case 0:
			index = w.function(r, index)
		case 3:
			w.checkGlobal(r, index)
		}
		w.u32(index)
	}
}

func (w *rewriter) checkGlobal(r *wasm.Reader, index uint32) {
	if index >= w.globals {
		r.Fail("global %d does not exist: there are %d", index, w.globals)
	}
}

// elements writes the element section: an element refers to functions, by index or by expressions.
func (w *rewriter) elements(r *wasm.Reader) {
	n := r.Count("element segments")
	w.u32(uint32(n))
	for i := 0; i < n && r.Err() == nil; i++ {
		w.element(r)
	}
}

// The bits of an element segment's kind.
const (
	elementPassive     = 1 // or declarative
	elementExplicit    = 2 // has a table index; with elementPassive: declarative
	elementExpressions = 4
)

func (w *rewriter) element(r *wasm.Reader) {
	kind := r.U32()
	if kind > 7 {
		r.Fail("an element segment has the unknown kind %d", kind)
	}
	w.u32(kind)
	passive, explicit, exprs := kind&elementPassive != 0, kind&elementExplicit != 0, kind&elementExpressions != 0
	if !passive {
		if explicit {
			w.u32(r.U32())
		}
		w.expr(r)
	}
	if passive || explicit {
		c := r.Byte()
		if exprs && !isReference(c) || !exprs && c != 0 {
			r.Fail("an element segment has elements of the unknown type 0x%x", c)
		}
		w.bytes(c)
	}
	n := r.Count("elements")
	w.u32(uint32(n))
	for i := 0; i < n && r.Err() == nil; i++ {
		if exprs {
			w.expr(r)
		} else {
			w.u32(w.function(r, r.U32()))
		}
	}
}

// tables caps the tables.
func (w *rewriter) tables(r *wasm.Reader) {
	n := r.Count("tables")
	w.u32(uint32(n))
	var total uint64
	for i := 0; i < n && r.Err() == nil; i++ {
		kind := r.Byte()
		if !isReference(kind) {
			r.Fail("a table has the unsupported type 0x%x", kind)
		}
		least, most, bounded := tableLimits(r)
		if total += uint64(least); total > uint64(w.o.MaxTable) {
			r.Fail("its tables start with %d elements or more; at most %d are allowed", total, w.o.MaxTable)
		}
		limit := max(least, w.o.MaxTable/uint32(n))
		if bounded {
			if most < least {
				r.Fail("a table has the minimum %d and the maximum %d", least, most)
			}
			limit = min(limit, most)
		}
		w.bytes(kind, 1)
		w.u32(least)
		w.u32(limit)
	}
}

func tableLimits(r *wasm.Reader) (least, most uint32, bounded bool) {
	flags := r.Byte()
	if flags > 1 {
		r.Fail("the limits of a table have the unsupported flags 0x%x", flags)
	}
	least = r.U32()
	if flags == 1 {
		return least, r.U32(), true
	}
	return least, 0, false
}

// custom writes a custom section; false leaves it out.
func (w *rewriter) custom(s section) bool {
	r := s.reader()
	name := r.Name()
	if r.Err() != nil {
		w.raw(s.content)
		return true // wazero refuses it
	}
	switch {
	case strings.HasPrefix(name, ".debug_"), strings.HasPrefix(name, "reloc."):
		return false // of the code as it was
	case name == "name" && w.metered:
		w.raw(r.From(0))
		return w.names(r)
	default:
		w.raw(s.content)
		return true
	}
}
