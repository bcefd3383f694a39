package meter

import "github.com/wazlet/wazlet/moduleactor/engine/wasm"

// The subsections of the name section whose indices are those of functions.
const (
	namesFunctions = 1
	namesLocals    = 2
)

// names writes what is in the name section, with the functions' new indices, so that traps name the right functions. It
// leaves out a name section that cannot be read.
func (w *rewriter) names(r *wasm.Reader) bool {
	var part []byte
	for r.Err() == nil && r.Left() > 0 {
		id := r.Byte()
		s := r.Sub(r.U32())
		part = part[:0]
		switch id {
		case namesFunctions, namesLocals:
			n := s.Count("names")
			part = appendU32(part, uint32(n))
			for i := 0; i < n && s.Err() == nil; i++ {
				index := s.U32()
				if index >= w.importedFuncs {
					index++
				}
				part = appendU32(part, index)
				at := s.Pos()
				if id == namesFunctions {
					s.Name()
				} else {
					localNames(s)
				}
				part = append(part, s.From(at)...)
			}
			if s.Err() == nil && s.Left() > 0 {
				return false
			}
			r.Join(s)
		default:
			part = append(part, s.Rest()...)
		}
		w.bytes(id)
		w.u32(uint32(len(part)))
		w.raw(part)
	}
	return r.Err() == nil
}

func localNames(r *wasm.Reader) {
	n := r.Count("names")
	for i := 0; i < n && r.Err() == nil; i++ {
		r.U32()
		r.Name()
	}
}
