package meter

import "github.com/wazlet/wazlet/moduleactor/engine/wasm"

// maxGap is how many bytes between two segments are filled with zeros to merge them. A gap smaller than a page of the
// system touches no page that the segments do not touch.
const maxGap = 4095

// freeGaps is how many bytes of gaps are filled whatever the size of the module; more only as far as the data is large, so
// that a few segments do not make a large module.
const freeGaps = 64 << 10

// The kinds of data segments.
const (
	dataActive   = 0
	dataPassive  = 1
	dataExplicit = 2 // active, with the index of the memory
)

// planData merges the data segments if there are many.
//
// At instantiation the active segments are written in order; one that is out of bounds ends it, with those before it
// written. Merged are only those of which nobody can tell: in the module's own memory, inside of its initial size, at a
// constant offset, and not referred to by memory.init or data.drop. The others stay what they are, in their place.
func (w *rewriter) planData() error {
	if w.o.MergeAbove <= 0 || w.segments <= w.o.MergeAbove || !w.memory {
		return nil
	}
	referred, err := w.referredSegments()
	if err != nil {
		return err
	}
	for _, s := range w.sections {
		if s.id != wasm.SectionData {
			continue
		}
		r := s.reader()
		m := &merger{rewriter: w, referred: referred, index: map[uint32]uint32{}, spare: len(s.content) + freeGaps}
		m.run(r)
		if r.Err() != nil {
			return r.Err()
		}
		if m.merged == 0 {
			return nil
		}
		w.data = append(appendU32(make([]byte, 0, len(m.out)+5), m.count), m.out...)
		w.dataCount, w.dataIndex = m.count, m.index
	}
	return nil
}

// referredSegments are the segments that instructions refer to. Only a module with a data count may have such.
func (w *rewriter) referredSegments() (map[uint32]bool, error) {
	if !w.hasDataCount {
		return nil, nil
	}
	scan := &rewriter{module: w.module, referred: map[uint32]bool{}}
	for _, s := range w.sections {
		if s.id == wasm.SectionCode {
			r := s.reader()
			scan.code(r)
			if r.Err() != nil {
				return nil, r.Err()
			}
		}
	}
	return scan.referred, nil
}

// merger writes data segments.
type merger struct {
	*rewriter
	// referred are the segments that instructions refer to.
	referred map[uint32]bool
	// index are the new indices of those.
	index map[uint32]uint32
	out   []byte
	count uint32
	// merged is how many segments there are less.
	merged int
	// spare is how many bytes may still be spent on gaps.
	spare int

	// pending is what is to be one segment, at the address start.
	pending []byte
	start   uint64
	open    bool
	// written is what the segments in out may have written; there are zeros everywhere else.
	written []span
	expr    []byte
}

func (m *merger) run(r *wasm.Reader) {
	n := r.Count("data segments")
	for i := 0; i < n && r.Err() == nil; i++ {
		m.segment(r, uint32(i))
	}
	m.flush()
}

func (m *merger) segment(r *wasm.Reader, i uint32) {
	at := r.Pos()
	var offset uint32
	var constant bool
	kind := m.segmentHead(r, func() { m.expr, offset, constant = m.appendExpr(m.expr[:0], r) })
	data := r.Bytes(r.Count("bytes of data"))
	if r.Err() != nil {
		return
	}
	if kind == dataPassive {
		m.keep(i, r.From(at))
		return
	}
	end := uint64(offset) + uint64(len(data))
	if constant && !m.referred[i] && end <= m.memorySize {
		m.merge(uint64(offset), data)
		return
	}
	m.flush()
	m.keep(i, r.From(at))
	if constant {
		m.wrote(span{uint64(offset), end})
	} else {
		m.wrote(span{0, 1 << 32})
	}
}

// segmentHead reads the kind of a segment and, with expr, the offset of an active one.
func (w *rewriter) segmentHead(r *wasm.Reader, expr func()) (kind uint32) {
	kind = r.U32()
	if kind > dataExplicit {
		r.Fail("a data segment has the unknown kind %d", kind)
	}
	if kind == dataExplicit {
		if i := r.U32(); i != 0 {
			r.Fail("a data segment is for memory %d", i)
		}
	}
	if kind != dataPassive {
		expr()
	}
	return kind
}

// checkData writes a data section that stays as it is.
func (w *rewriter) checkData(r *wasm.Reader) {
	n := r.Count("data segments")
	w.u32(uint32(n))
	for i := 0; i < n && r.Err() == nil; i++ {
		at := r.Pos()
		w.segmentHead(r, func() {
			w.raw(r.From(at))
			w.expr(r)
			at = r.Pos()
		})
		r.Bytes(r.Count("bytes of data"))
		w.raw(r.From(at))
	}
}

// keep writes a segment as it is.
func (m *merger) keep(i uint32, raw []byte) {
	if m.referred[i] {
		m.index[i] = m.count
	}
	m.out = append(m.out, raw...)
	m.count++
}

// merge adds a segment to the pending one, or makes it the pending one.
func (m *merger) merge(offset uint64, data []byte) {
	end := m.start + uint64(len(m.pending))
	switch gap := int64(offset) - int64(end); {
	case m.open && gap > 0 && gap <= maxGap && gap <= int64(m.spare) && m.zeros(span{end, offset}):
		m.spare -= int(gap)
		m.pending = append(m.pending, make([]byte, gap)...)
		m.pending = append(m.pending, data...)
		m.merged++
	case m.open && gap <= 0 && offset >= m.start:
		n := copy(m.pending[offset-m.start:], data)
		m.pending = append(m.pending, data[n:]...)
		m.merged++
	default:
		m.flush()
		m.open, m.start = true, offset
		m.pending = append(m.pending[:0], data...)
	}
}

// flush writes the pending segment.
func (m *merger) flush() {
	if !m.open {
		return
	}
	m.out = append(m.out, dataActive, opI32Const)
	m.out = appendSigned(m.out, int64(int32(uint32(m.start))))
	m.out = append(m.out, opEnd)
	m.out = appendU32(m.out, uint32(len(m.pending)))
	m.out = append(m.out, m.pending...)
	m.wrote(span{m.start, m.start + uint64(len(m.pending))})
	m.count++
	m.open = false
}

// span is a part of memory, without its end.
type span struct{ start, end uint64 }

// maxSpans bounds what is remembered, and so the time that each segment takes.
const maxSpans = 32

// wrote remembers that something may have been written there. With too many places it remembers all that is between them.
func (m *merger) wrote(s span) {
	if len(m.written) == maxSpans {
		for _, w := range m.written {
			s = span{min(s.start, w.start), max(s.end, w.end)}
		}
		m.written = m.written[:0]
	}
	m.written = append(m.written, s)
}

// zeros tells whether nothing was written there.
func (m *merger) zeros(s span) bool {
	for _, w := range m.written {
		if w.start < s.end && s.start < w.end {
			return false
		}
	}
	return true
}
