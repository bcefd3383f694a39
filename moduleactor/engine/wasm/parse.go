package wasm

import (
	"slices"
	"strings"
)

// The ids of sections.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	secTag
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
	r := &reader{b: b, pos: HeaderSize}
	for r.err == nil && r.left() > 0 {
		id := r.byte()
		s := r.sub(r.u32())
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

func (p *parser) section(id byte, r *reader) {
	switch id {
	case secCustom:
		p.custom(r)
	case secType:
		p.typeSection(r)
	case secImport:
		for range r.count("imports") {
			p.importEntry(r)
		}
	case secFunction:
		n := r.count("functions")
		p.m.Functions = n
		for range n {
			p.funcs = append(p.funcs, r.u32())
		}
	case secMemory:
		for range r.count("memories") {
			p.m.Memories = append(p.m.Memories, limits(r))
		}
	case secExport:
		for range r.count("exports") {
			p.exportEntry(r)
		}
	case secData:
		p.m.DataSegments = int(r.u32())
	case secTag:
		p.proposal(proposalExceptions)
	case secTable, secGlobal, secStart, secElement, secCode, secDataCount:
	default:
		r.fail("a section has the unknown id %d", id)
	}
}

func (p *parser) custom(r *reader) {
	name := r.name()
	if r.err != nil {
		return
	}
	if !slices.Contains(p.m.CustomSections, name) {
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
		for range c.count("features") {
			if prefix, feature := c.byte(), c.name(); c.err == nil {
				p.m.TargetFeatures = append(p.m.TargetFeatures, string(rune(prefix))+feature)
			}
		}
	}
}

// moduleName reads subsection 0 of the name section.
func moduleName(r *reader) string {
	for r.err == nil && r.left() > 0 {
		id, s := r.byte(), r.sub(r.u32())
		if id == 0 {
			name := s.name()
			r.err = s.err
			return name
		}
	}
	return ""
}

func (p *parser) typeSection(r *reader) {
	for range r.count("types") {
		form := r.byte()
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

func (p *parser) valueTypes(r *reader) ([]string, bool) {
	var out []string
	for range r.count("value types") {
		name, ok := valueType(r.byte())
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

func (p *parser) importEntry(r *reader) {
	i := Import{Module: r.name(), Name: r.name()}
	switch kind := r.byte(); kind {
	case 0:
		index := r.u32()
		i.Kind, i.Type = Func, p.signature(index)
		p.funcs = append(p.funcs, index)
	case 1:
		i.Kind = Table
		if _, ok := valueType(r.byte()); !ok && r.err == nil {
			p.proposal(proposalGC)
			r.fail("table %s has a type of an unsupported proposal (%s)", Printable(i.String()), proposalGC)
		}
		limits(r)
	case 2:
		i.Kind = Memory
		p.m.Memories = append(p.m.Memories, limits(r))
	case 3:
		i.Kind = Global
		if _, ok := valueType(r.byte()); !ok && r.err == nil {
			p.proposal(proposalGC)
			r.fail("global %s has a type of an unsupported proposal (%s)", Printable(i.String()), proposalGC)
		}
		r.byte()
	case 4:
		i.Kind = Tag
		p.proposal(proposalExceptions)
		r.byte()
		r.u32()
	default:
		r.fail("import %s has the unknown kind %d", Printable(i.String()), kind)
	}
	if r.err == nil {
		p.m.Imports = append(p.m.Imports, i)
	}
}

func (p *parser) exportEntry(r *reader) {
	kinds := []ExternKind{Func, Table, Memory, Global, Tag}
	e := Export{Name: r.name()}
	kind, index := r.byte(), r.u32()
	if r.err != nil {
		return
	}
	if int(kind) >= len(kinds) {
		r.fail("export \"%s\" has the unknown kind %d", Printable(e.Name), kind)
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

func limits(r *reader) Limits {
	flags := r.byte()
	if flags > 0x0f {
		r.fail("limits have the unknown flags 0x%x", flags)
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
		r.u32()
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
