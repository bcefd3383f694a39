package wasm

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// StartFunction is the export that a command starts at.
const StartFunction = "_start"

// MaxPages is the largest memory of a module: 4 GiB.
const MaxPages = 65536

// Functions returns the names of the WASI functions that this node provides, under both Preview1Module and
// UnstableModule, sorted: those of preview 1, and those of WasmEdge's socket extension.
func Functions() []string {
	return []string{
		"args_get", "args_sizes_get", "clock_res_get", "clock_time_get", "environ_get", "environ_sizes_get",
		"fd_advise", "fd_allocate", "fd_close", "fd_datasync", "fd_fdstat_get", "fd_fdstat_set_flags",
		"fd_fdstat_set_rights", "fd_filestat_get", "fd_filestat_set_size", "fd_filestat_set_times", "fd_pread",
		"fd_prestat_dir_name", "fd_prestat_get", "fd_pwrite", "fd_read", "fd_readdir", "fd_renumber", "fd_seek",
		"fd_sync", "fd_tell", "fd_write", "path_create_directory", "path_filestat_get", "path_filestat_set_times",
		"path_link", "path_open", "path_readlink", "path_remove_directory", "path_rename", "path_symlink",
		"path_unlink_file", "poll_oneoff", "proc_exit", "proc_raise", "random_get", "sched_yield", "sock_accept",
		"sock_bind", "sock_connect", "sock_getaddrinfo", "sock_getlocaladdr", "sock_getpeeraddr", "sock_getsockopt", "sock_listen",
		"sock_open", "sock_recv", "sock_recv_from", "sock_send", "sock_send_to", "sock_setsockopt", "sock_shutdown",
	}
}

// Check returns every reason why this node will not run the module, most telling first; none is no promise that its
// code compiles, only `wazlet-shim compile` knows that. memoryBytes is the memory limit, 0 for none.
func (m *Module) Check(memoryBytes int64) []string {
	switch m.Kind {
	case Core:
	case Component:
		return []string{"this is a component (WASI 0.2, wasm version 0d 00 01 00); wazlet runs core modules with WASI " +
			"preview 1: build for the target wasm32-wasip1 (Rust, TinyGo, wasi-sdk) or GOOS=wasip1 (Go)"}
	case OtherVersion:
		return []string{"the wasm version is neither 1 (core module) nor 0d 00 01 00 (component)"}
	default:
		return []string{`this is not wasm: it does not start with "\0asm"`}
	}
	var out []string
	for _, p := range m.Proposals {
		out = append(out, "it uses the proposal "+p+", which wazlet does not run")
	}
	out = append(out, m.checkImports()...)
	out = append(out, m.checkMemories(memoryBytes)...)
	return append(out, m.checkStart()...)
}

// checkImports joins all missing imports into one problem.
func (m *Module) checkImports() []string {
	provided := Functions()
	var missing []Import
	for _, i := range m.Imports {
		known := i.Module == Preview1Module || i.Module == UnstableModule
		if _, found := slices.BinarySearch(provided, i.Name); i.Kind != Func || !known || !found {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.SortFunc(missing, func(a, b Import) int {
		return cmp.Or(strings.Compare(a.Module, b.Module), strings.Compare(a.Name, b.Name),
			strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Type, b.Type))
	})
	missing = slices.Compact(missing)
	const shown = 10
	more := ""
	if n := len(missing) - shown; n > 0 {
		missing, more = missing[:shown], fmt.Sprintf(" and %d more", n)
	}
	texts := make([]string, len(missing)) // there may be a million imports: only what is shown is written out
	for n, i := range missing {
		texts[n] = Printable(i.String()) + i.Type
		if i.Kind != Func {
			texts[n] = fmt.Sprintf("%s (%s)", Printable(i.String()), i.Kind)
		}
	}
	return []string{fmt.Sprintf("it imports what wazlet does not provide: %s%s (provided: the %d functions of WASI preview 1 and of WasmEdge's sockets, as %s and %s)",
		strings.Join(texts, ", "), more, len(provided), Preview1Module, UnstableModule)}
}

func (m *Module) checkMemories(limit int64) []string {
	var out []string
	if len(m.Memories) > 1 {
		out = append(out, fmt.Sprintf("it has %d memories; wazlet runs modules with one", len(m.Memories)))
	}
	for _, l := range m.Memories {
		switch {
		case l.Is64:
			out = append(out, "its memory is 64-bit (proposal memory64), which wazlet does not run")
		case l.Shared:
			out = append(out, "its memory is shared (proposal threads), which wazlet does not run")
		case l.Paged:
			out = append(out, "its memory has its own page size (proposal custom-page-sizes), which wazlet does not run")
		case l.Min > MaxPages:
			out = append(out, fmt.Sprintf("its memory starts with %d pages; at most %d are possible", l.Min, MaxPages))
		case limit > 0 && l.Min*PageSize > uint64(limit):
			out = append(out, MemoryTooSmall(l.Min*PageSize, limit))
		}
	}
	return out
}

// MemoryTooSmall says that a module's initial memory is above the limit, both in bytes.
func MemoryTooSmall(initial uint64, limit int64) string {
	return fmt.Sprintf("its memory starts with %d bytes, above the memory limit of %d bytes: raise the container's "+
		"resources.limits.memory", initial, limit)
}

func (m *Module) checkStart() []string {
	e, ok := m.Export(StartFunction)
	switch {
	case ok && e.Kind == Func && (e.Type == "()" || e.Type == ""):
		return nil
	case ok:
		return []string{fmt.Sprintf("its export %s is a %s%s; it must be a function without parameters and results", StartFunction, e.Kind, e.Type)}
	}
	var names []string
	for _, e := range m.Exports {
		if e.Kind == Func {
			names = append(names, Printable(e.Name))
		}
	}
	if len(names) == 0 {
		return []string{"it exports no function _start, nor any other"}
	}
	const shown = 10
	if len(names) > shown {
		names = append(names[:shown], "...")
	}
	return []string{"it exports no function _start (it is a library or a reactor, not a command); its functions are " + strings.Join(names, ", ")}
}

// maxPrinted bounds a name in a message, in bytes of the name.
const maxPrinted = 200

// Printable is a module's own text as a message, a log or a terminal may have it: what is not printable ASCII is escaped
// as in Go, and what is long is cut.
func Printable(s string) string {
	more := ""
	if len(s) > maxPrinted {
		s, more = strings.ToValidUTF8(s[:maxPrinted], ""), "..."
	}
	q := strconv.QuoteToASCII(s)
	return q[1:len(q)-1] + more
}
