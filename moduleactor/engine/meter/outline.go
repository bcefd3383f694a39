package meter

import (
	"slices"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// section is a section as it was read, or an empty one where something is added.
type section struct {
	id      byte
	content []byte
	offset  int64
	// added: it is not in the module that was read.
	added bool
}

func (s section) reader() *wasm.Reader { return wasm.NewReader(s.content, s.offset) }

// module is what must be known of a module before it is written anew.
type module struct {
	// sections are in order; empty ones are added for imports and globals.
	sections []section
	// params and results are the numbers of parameters and results of the types.
	params, results []uint32
	// imported are the types of the imported functions, funcs those of the module's own.
	imported, funcs []uint32
	importedFuncs   uint32
	// globals counts imported ones too.
	globals uint32
	// memory is set if the module has a memory of its own, of memorySize bytes, and imports none.
	memory       bool
	memorySize   uint64
	importMemory bool
	hasDataCount bool
	segments     int
	// start is the index of the start function, if there is one.
	start    uint32
	hasStart bool
}

func (m *module) functions() uint32 { return m.importedFuncs + uint32(len(m.funcs)) }

// typeOf is the type of a function that there is.
func (m *module) typeOf(function uint32) uint32 {
	if function < m.importedFuncs {
		return m.imported[function]
	}
	return m.funcs[function-m.importedFuncs]
}

// arity is the number of parameters and results of a type that there is.
func (m *module) arity(t uint32) uint64 { return uint64(m.params[t]) + uint64(m.results[t]) }

func (m *module) has(id byte) bool {
	return slices.ContainsFunc(m.sections, func(s section) bool { return s.id == id && !s.added })
}

// rank is the place of a section in a module: the data count comes before the code.
func rank(id byte) int {
	switch id {
	case wasm.SectionDataCount:
		return int(wasm.SectionElement)*2 + 1
	default:
		return int(id) * 2
	}
}

// outline reads what is needed beforehand.
func outline(code []byte) (*module, error) {
	m := &module{}
	r := wasm.NewReader(code[wasm.HeaderSize:], wasm.HeaderSize)
	last := 0
	for r.Err() == nil && r.Left() > 0 {
		id := r.Byte()
		size := r.U32()
		offset := wasm.HeaderSize + int64(r.Pos())
		if int64(size) > int64(r.Left()) {
			r.Fail("a section of %d bytes in %d", size, r.Left())
		}
		s := section{id: id, content: r.Bytes(int(size)), offset: offset}
		if r.Err() != nil {
			break
		}
		if id != wasm.SectionCustom {
			if id > wasm.SectionDataCount {
				r.Fail("a section has the id %d, which is unknown or of an unsupported proposal", id)
				break
			}
			if rank(id) <= last {
				r.Fail("a section of kind %d is out of order", id)
				break
			}
			m.insert(last, rank(id))
			last = rank(id)
		}
		m.sections = append(m.sections, s)
		part := s.reader()
		m.section(id, part)
		r.Join(part)
	}
	m.insert(last, rank(wasm.SectionData)+1)
	m.memory = m.memory && !m.importMemory
	return m, r.Err()
}

// insert adds empty sections of what has none between the ranks.
func (m *module) insert(after, before int) {
	for _, id := range []byte{wasm.SectionImport, wasm.SectionGlobal} {
		if after < rank(id) && rank(id) < before {
			m.sections = append(m.sections, section{id: id, added: true})
		}
	}
}

func (m *module) section(id byte, r *wasm.Reader) {
	switch id {
	case wasm.SectionType:
		m.types(r)
	case wasm.SectionImport:
		n := r.Count("imports")
		for i := 0; i < n && r.Err() == nil; i++ {
			m.importEntry(r)
		}
	case wasm.SectionFunction:
		n := r.Count("functions")
		m.funcs = make([]uint32, n)
		for i := range m.funcs {
			if m.funcs[i] = r.U32(); int64(m.funcs[i]) >= int64(len(m.params)) {
				r.Fail("type %d does not exist: there are %d", m.funcs[i], len(m.params))
			}
		}
	case wasm.SectionMemory:
		m.memories(r)
	case wasm.SectionGlobal:
		m.globals += uint32(r.Count("globals"))
	case wasm.SectionStart:
		m.start, m.hasStart = r.U32(), true
		if r.Left() > 0 {
			r.Fail("a start section has %d bytes too many", r.Left())
		}
	case wasm.SectionDataCount:
		m.hasDataCount = true
	case wasm.SectionData:
		m.segments = r.Count("data segments")
	}
}

func (m *module) types(r *wasm.Reader) {
	n := r.Count("types")
	m.params, m.results = make([]uint32, 0, n), make([]uint32, 0, n)
	for i := 0; i < n && r.Err() == nil; i++ {
		if form := r.Byte(); form != 0x60 {
			r.Fail("a type has the form 0x%x, which is unknown or of an unsupported proposal", form)
		}
		params := r.Count("parameters")
		m.params = append(m.params, uint32(params))
		checkTypes(r, r.Bytes(params))
		results := r.Count("results")
		checkTypes(r, r.Bytes(results))
		if n := max(params, results); n > maxValues {
			r.Fail("a type has %d parameters or results; at most %d are supported", n, maxValues)
		}
		m.results = append(m.results, uint32(results))
	}
}

// maxValues is what the JavaScript API allows for parameters, and for results: a call or a branch moves all of them, which
// counts as one instruction.
const maxValues = 1000

func checkTypes(r *wasm.Reader, types []byte) {
	for _, c := range types {
		checkType(r, c)
	}
}

func (m *module) importEntry(r *wasm.Reader) {
	module, name := r.Name(), r.Name()
	if module == TickModule && r.Err() == nil {
		r.Fail("it imports %s from the module %s, which is the node's own", wasm.Printable(name), TickModule)
	}
	switch kind := r.Byte(); kind {
	case 0:
		t := r.U32()
		if int64(t) >= int64(len(m.params)) {
			r.Fail("type %d does not exist: there are %d", t, len(m.params))
		}
		m.imported = append(m.imported, t)
		m.importedFuncs++
	case 1:
		if c := r.Byte(); !isReference(c) {
			r.Fail("an imported table has the unsupported type 0x%x", c)
		}
		tableLimits(r)
	case 2:
		m.importMemory = true
		memoryLimits(r)
	case 3:
		checkType(r, r.Byte())
		r.Byte()
		m.globals++
	default:
		r.Fail("an import has the kind %d, which is unknown or of an unsupported proposal", kind)
	}
}

func (m *module) memories(r *wasm.Reader) {
	for range r.Count("memories") {
		m.memorySize = memoryLimits(r)
		m.memory = true
	}
}

// memoryLimits reads limits and returns the minimum in bytes.
func memoryLimits(r *wasm.Reader) uint64 {
	flags := r.Byte()
	if flags > 1 {
		r.Fail("the limits of a memory have the unsupported flags 0x%x", flags)
	}
	least := uint64(r.U32()) * wasm.PageSize
	if flags == 1 {
		r.U32()
	}
	return least
}

// The value types in binary.
const (
	typeI32       = 0x7f
	typeV128      = 0x7b
	typeFuncref   = 0x70
	typeExternref = 0x6f
)

func isReference(c byte) bool { return c == typeFuncref || c == typeExternref }

func isType(c byte) bool { return (c >= typeV128 && c <= typeI32) || isReference(c) }

func checkType(r *wasm.Reader, c byte) {
	if r.Err() == nil && !isType(c) {
		r.Fail("the type 0x%x is unknown or of an unsupported proposal", c)
	}
}
