package wasm

import (
	"slices"
	"strings"
)

// The ids of sections.
const (
	SectionCustom = iota
	SectionType
	SectionImport
	SectionFunction
	SectionTable
	SectionMemory
	SectionGlobal
	SectionExport
	SectionStart
	SectionElement
	SectionCode
	SectionData
	SectionDataCount
	SectionTag
)

// Names of proposals in Module.Proposals.
const (
	proposalGC         = "gc or typed references"
	proposalExceptions = "exception-handling"
)

// Parse reads a core module. For any other kind it returns a Module with nothing but Kind and Size. The error is a
// *SyntaxError; what was read before it is returned too.
func Parse(b []byte) (*Module, error) {
	m := &Module{Kind: Sniff(b), Size: int64(len(b)), WASI: None}
	if m.Kind != Core {
		return m, nil
	}
	p := &parser{m: m}
	r := &Reader{b: b, pos: HeaderSize}
	for r.err == nil && r.Left() > 0 {
		id := r.Byte()
		s := r.Sub(r.U32())
		if r.err != nil {
			break
		}
		p.section(id, s)
		if r.err = s.err; r.err != nil {
			break
		}
	}
	p.finish()
	return m, r.err
}

type parser struct {
	m *Module
	// types are the signatures of the type section.
	types []string
	// funcs are the type indices of the function index space, imports first.
	funcs []uint32
}

func (p *parser) section(id byte, r *Reader) {
	switch id {
	case SectionCustom:
		p.custom(r)
	case SectionType:
		p.typeSection(r)
	case SectionImport:
		for range r.Count("imports") {
			p.importEntry(r)
		}
	case SectionFunction:
		n := r.Count("functions")
		p.m.Functions = n
		for range n {
			p.funcs = append(p.funcs, r.U32())
		}
	case SectionMemory:
		for range r.Count("memories") {
			p.m.Memories = append(p.m.Memories, limits(r))
		}
	case SectionExport:
		for range r.Count("exports") {
			p.exportEntry(r)
		}
	case SectionData:
		p.m.DataSegments = int(r.U32())
	case SectionTag:
		p.proposal(proposalExceptions)
	case SectionStart:
		p.m.Start = true
	case SectionTable, SectionGlobal, SectionElement, SectionCode, SectionDataCount:
	default:
		r.Fail("a section has the unknown id %d", id)
	}
}

// maxListed bounds lists that are only shown: a module may have millions of sections without a use, each with its name.
const maxListed = 256

func (p *parser) custom(r *Reader) {
	name := r.Name()
	if r.err != nil {
		return
	}
	if len(p.m.CustomSections) < maxListed && !slices.Contains(p.m.CustomSections, name) {
		p.m.CustomSections = append(p.m.CustomSections, name)
	}
	// What custom sections hold is a convention: a malformed one is not an error of the module.
	c := *r
	switch name {
	case "name":
		if p.m.Name = moduleName(&c); c.err != nil {
			p.m.Name = ""
		}
	case "target_features":
		for range c.Count("features") {
			if prefix, feature := c.Byte(), c.Name(); c.err == nil && len(p.m.TargetFeatures) < maxListed {
				p.m.TargetFeatures = append(p.m.TargetFeatures, string(rune(prefix))+feature)
			}
		}
	}
}

// moduleName reads subsection 0 of the name section.
func moduleName(r *Reader) string {
	for r.err == nil && r.Left() > 0 {
		id, s := r.Byte(), r.Sub(r.U32())
		if id == 0 {
			name := s.Name()
			r.err = s.err
			return name
		}
	}
	return ""
}

func (p *parser) typeSection(r *Reader) {
	for range r.Count("types") {
		form := r.Byte()
		if r.err != nil {
			return
		}
		if form != 0x60 {
			p.unknownTypes()
			return
		}
		params, ok1 := p.valueTypes(r)
		results, ok2 := p.valueTypes(r)
		if !ok1 || !ok2 {
			return
		}
		p.types = append(p.types, cut("("+strings.Join(params, ", ")+")"+arrow(results)))
	}
}

// maxSignature bounds the text of a type. Each import and export may be of a type as large as the module, and what is
// printed of them has it each time.
const maxSignature = 200

func cut(signature string) string {
	if len(signature) > maxSignature {
		return signature[:maxSignature] + "..."
	}
	return signature
}

func arrow(results []string) string {
	switch len(results) {
	case 0:
		return ""
	case 1:
		return " -> " + results[0]
	default:
		return " -> (" + strings.Join(results, ", ") + ")"
	}
}

// maxValues is how many parameters, or results, the JavaScript API allows a type. As text each takes sixteen times its byte.
const maxValues = 1000

func (p *parser) valueTypes(r *Reader) ([]string, bool) {
	var out []string
	n := r.Count("value types")
	if n > maxValues {
		r.Fail("a type has %d parameters or results; at most %d are supported", n, maxValues)
		return nil, false
	}
	for range n {
		name, ok := valueType(r.Byte())
		if !ok && r.err == nil {
			p.unknownTypes()
			return nil, false
		}
		out = append(out, name)
	}
	return out, r.err == nil
}

func valueType(c byte) (string, bool) {
	switch c {
	case 0x7f:
		return "i32", true
	case 0x7e:
		return "i64", true
	case 0x7d:
		return "f32", true
	case 0x7c:
		return "f64", true
	case 0x7b:
		return "v128", true
	case 0x70:
		return "funcref", true
	case 0x6f:
		return "externref", true
	default:
		return "", false
	}
}

func (p *parser) unknownTypes() {
	p.proposal(proposalGC)
}

func (p *parser) proposal(name string) {
	if !slices.Contains(p.m.Proposals, name) {
		p.m.Proposals = append(p.m.Proposals, name)
	}
}

func (p *parser) importEntry(r *Reader) {
	i := Import{Module: r.Name(), Name: r.Name()}
	switch kind := r.Byte(); kind {
	case 0:
		index := r.U32()
		i.Kind, i.Type = Func, p.signature(index)
		p.funcs = append(p.funcs, index)
	case 1:
		i.Kind = Table
		if _, ok := valueType(r.Byte()); !ok && r.err == nil {
			p.proposal(proposalGC)
			r.Fail("table %s has a type of an unsupported proposal (%s)", Printable(i.String()), proposalGC)
		}
		limits(r)
	case 2:
		i.Kind = Memory
		p.m.Memories = append(p.m.Memories, limits(r))
	case 3:
		i.Kind = Global
		if _, ok := valueType(r.Byte()); !ok && r.err == nil {
			p.proposal(proposalGC)
			r.Fail("global %s has a type of an unsupported proposal (%s)", Printable(i.String()), proposalGC)
		}
		r.Byte()
	case 4:
		i.Kind = Tag
		p.proposal(proposalExceptions)
		r.Byte()
		r.U32()
	default:
		r.Fail("import %s has the unknown kind %d", Printable(i.String()), kind)
	}
	if r.err == nil {
		p.m.Imports = append(p.m.Imports, i)
	}
}

func (p *parser) exportEntry(r *Reader) {
	kinds := []ExternKind{Func, Table, Memory, Global, Tag}
	e := Export{Name: r.Name()}
	kind, index := r.Byte(), r.U32()
	if r.err != nil {
		return
	}
	if int(kind) >= len(kinds) {
		r.Fail("export \"%s\" has the unknown kind %d", Printable(e.Name), kind)
		return
	}
	e.Kind = kinds[kind]
	if e.Kind == Func && int64(index) < int64(len(p.funcs)) {
		e.Type = p.signature(p.funcs[index])
	}
	p.m.Exports = append(p.m.Exports, e)
}

// signature is the text of a type, empty if it is unknown.
func (p *parser) signature(index uint32) string {
	if int64(index) < int64(len(p.types)) {
		return p.types[index]
	}
	return ""
}

func limits(r *Reader) Limits {
	flags := r.Byte()
	if flags > 0x0f {
		r.Fail("limits have the unknown flags 0x%x", flags)
		return Limits{}
	}
	l := Limits{HasMax: flags&1 != 0, Shared: flags&2 != 0, Is64: flags&4 != 0, Paged: flags&8 != 0}
	size := uint(32)
	if l.Is64 {
		size = 64
	}
	l.Min = r.leb(size)
	if l.HasMax {
		l.Max = r.leb(size)
	}
	if l.Paged {
		r.U32()
	}
	return l
}

func (p *parser) finish() {
	for _, i := range p.m.Imports {
		switch i.Module {
		case Preview1Module:
			p.m.WASI = Preview1
			return
		case UnstableModule:
			p.m.WASI = Unstable
		}
	}
}
