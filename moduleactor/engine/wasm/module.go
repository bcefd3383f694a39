package wasm

import (
	"bytes"
	"fmt"
)

// Kind is what the first eight bytes of a file say it is.
type Kind int

// The kinds of files.
const (
	// NotWasm does not start with "\0asm".
	NotWasm Kind = iota + 1
	// Core is a core module, version 1: what this node runs.
	Core
	// Component is a component of the component model, as WASI 0.2 uses them.
	Component
	// OtherVersion starts with "\0asm" and a version that is neither.
	OtherVersion
)

// String names the kind for messages and JSON.
func (k Kind) String() string {
	switch k {
	case Core:
		return "core module"
	case Component:
		return "component"
	case OtherVersion:
		return "unknown wasm version"
	default:
		return "not wasm"
	}
}

const (
	magic            = "\x00asm"
	coreVersion      = "\x01\x00\x00\x00"
	componentVersion = "\x0d\x00\x01\x00"
	// HeaderSize is how many bytes Sniff wants.
	HeaderSize = 8
)

// Sniff tells the kind from the first HeaderSize bytes; fewer are NotWasm.
func Sniff(head []byte) Kind {
	if len(head) < HeaderSize || !bytes.HasPrefix(head, []byte(magic)) {
		return NotWasm
	}
	switch string(head[4:HeaderSize]) {
	case coreVersion:
		return Core
	case componentVersion:
		return Component
	default:
		return OtherVersion
	}
}

// WASI is the version of WASI that a module imports.
type WASI string

// The versions of WASI. A module that imports both preview 1 and its predecessor is Preview1.
const (
	// None imports no WASI function.
	None WASI = "none"
	// Preview1 imports wasi_snapshot_preview1.
	Preview1 WASI = "preview1"
	// Unstable imports wasi_unstable, which preceded preview 1.
	Unstable WASI = "unstable"
)

// The import module names that this node provides.
const (
	Preview1Module = "wasi_snapshot_preview1"
	UnstableModule = "wasi_unstable"
)

// ExternKind is what is imported or exported.
type ExternKind string

// The kinds of imports and exports.
const (
	Func   ExternKind = "func"
	Table  ExternKind = "table"
	Memory ExternKind = "memory"
	Global ExternKind = "global"
	Tag    ExternKind = "tag"
)

// Import is one import of a module. Type is the signature of a function, empty for anything else or if unreadable.
type Import struct {
	Module string     `json:"module"`
	Name   string     `json:"name"`
	Kind   ExternKind `json:"kind"`
	Type   string     `json:"type,omitempty"`
}

// String is module.name.
func (i Import) String() string { return i.Module + "." + i.Name }

// Export is one export of a module. Type is the signature of a function.
type Export struct {
	Name string     `json:"name"`
	Kind ExternKind `json:"kind"`
	Type string     `json:"type,omitempty"`
}

// Limits are the limits of a memory, in pages of 64 KiB. Max is valid if HasMax.
type Limits struct {
	Min    uint64 `json:"min"`
	Max    uint64 `json:"max,omitempty"`
	HasMax bool   `json:"hasMax,omitempty"`
	Shared bool   `json:"shared,omitempty"`
	// Is64 is a memory of the memory64 proposal; Paged has its own page size.
	Is64  bool `json:"is64,omitempty"`
	Paged bool `json:"customPageSize,omitempty"`
}

// PageSize is the size of a page of linear memory.
const PageSize = 65536

// Module is what can be said about a file without compiling it.
type Module struct {
	Kind     Kind     `json:"-"`
	Size     int64    `json:"size"`
	WASI     WASI     `json:"wasi"`
	Name     string   `json:"name,omitempty"`
	Imports  []Import `json:"imports,omitempty"`
	Exports  []Export `json:"exports,omitempty"`
	Memories []Limits `json:"memories,omitempty"`
	// CustomSections are the names of the custom sections, in order, repeated ones once.
	CustomSections []string `json:"customSections,omitempty"`
	// TargetFeatures are what the toolchain says the module may use, such as "+simd128".
	TargetFeatures []string `json:"targetFeatures,omitempty"`
	Functions      int      `json:"functions"`
	DataSegments   int      `json:"dataSegments"`
	// Start says that there is code which runs when the module is instantiated, before any export is called.
	Start bool `json:"startSection,omitempty"`
	// Proposals are those that were seen and that this node does not run.
	Proposals []string `json:"unsupportedProposals,omitempty"`
}

// Export returns the export of that name.
func (m *Module) Export(name string) (Export, bool) {
	for _, e := range m.Exports {
		if e.Name == name {
			return e, true
		}
	}
	return Export{}, false
}

// SyntaxError is a core module that cannot be read.
type SyntaxError struct {
	Offset int64
	Text   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("malformed wasm at offset 0x%x: %s", e.Offset, e.Text)
}
