package enginetest

import (
	"bytes"
	"encoding/binary"
)

// Module is a wasm binary of the given sections.
func Module(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Join(sections, nil)...)
}

// Section is a section that is a vector of entries.
func Section(id byte, entries ...[]byte) []byte {
	return RawSection(id, append(U32(uint32(len(entries))), bytes.Join(entries, nil)...))
}

// RawSection is a section with any content.
func RawSection(id byte, content []byte) []byte {
	return append(append([]byte{id}, U32(uint32(len(content)))...), content...)
}

// Custom is a custom section.
func Custom(name string, content ...byte) []byte { return RawSection(0, append(Str(name), content...)) }

// U32 is n as unsigned LEB128.
func U32(n uint32) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// Str is a name.
func Str(s string) []byte { return append(U32(uint32(len(s))), s...) }

// Type is a function type, of value types as in the binary format: 0x7f is i32, 0x7e is i64.
func Type(params, results []byte) []byte {
	return append(append([]byte{0x60}, append(U32(uint32(len(params))), params...)...), append(U32(uint32(len(results))), results...)...)
}

// Import is an import; desc is its kind and what follows.
func Import(module, name string, desc ...byte) []byte {
	return append(append(Str(module), Str(name)...), desc...)
}

// Export is an export; kinds are 0 func, 1 table, 2 memory, 3 global.
func Export(name string, kind byte, index uint32) []byte {
	return append(append(Str(name), kind), U32(index)...)
}

// Body is the code of a function without locals; the closing "end" is added.
func Body(code ...byte) []byte {
	content := append([]byte{0}, append(code, 0x0b)...)
	return append(U32(uint32(len(content))), content...)
}

// Command is a module with _start of the given code, one memory of pages, and the imports, which have the type (i32).
// Functions of imports come first in the index space; _start follows them.
func Command(pages uint32, imports [][]byte, code ...byte) []byte {
	return Module(
		Section(1, Type(nil, nil), Type([]byte{0x7f}, nil)),
		Section(2, imports...),
		Section(3, U32(0)),
		Section(5, append([]byte{0}, U32(pages)...)),
		Section(7, Export("_start", 0, uint32(len(imports))), Export("memory", 2, 0)),
		Section(10, Body(code...)),
	)
}
