package wasi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// call is one call of a function.
type call struct {
	*Instance
	mem memory
	// a are the arguments; the result replaces the first.
	a []uint64
}

// function is one function of WASI. In types, i is an i32 and l an i64; all but proc_exit return an i32.
type function struct {
	types string
	do    func(c call) Errno
}

// functions are those of a version.
func functions(unstable bool) map[string]function {
	return map[string]function{
		"args_get":                {"ii", func(c call) Errno { return c.stringsGet(c.args) }},
		"args_sizes_get":          {"ii", func(c call) Errno { return c.sizesGet(c.args) }},
		"environ_get":             {"ii", func(c call) Errno { return c.stringsGet(c.env) }},
		"environ_sizes_get":       {"ii", func(c call) Errno { return c.sizesGet(c.env) }},
		"clock_res_get":           {"ii", call.clockResGet},
		"clock_time_get":          {"ili", call.clockTimeGet},
		"fd_advise":               {"illi", call.fdAdvise},
		"fd_allocate":             {"ill", call.fdAllocate},
		"fd_close":                {"i", call.fdClose},
		"fd_datasync":             {"i", func(c call) Errno { return c.fdSync(rightDatasync, true) }},
		"fd_fdstat_get":           {"ii", call.fdFdstatGet},
		"fd_fdstat_set_flags":     {"ii", call.fdFdstatSetFlags},
		"fd_fdstat_set_rights":    {"ill", call.fdFdstatSetRights},
		"fd_filestat_get":         {"ii", func(c call) Errno { return c.fdFilestatGet(unstable) }},
		"fd_filestat_set_size":    {"il", call.fdFilestatSetSize},
		"fd_filestat_set_times":   {"illi", call.fdFilestatSetTimes},
		"fd_pread":                {"iiili", call.fdPread},
		"fd_prestat_dir_name":     {"iii", call.fdPrestatDirName},
		"fd_prestat_get":          {"ii", call.fdPrestatGet},
		"fd_pwrite":               {"iiili", call.fdPwrite},
		"fd_read":                 {"iiii", call.fdRead},
		"fd_readdir":              {"iiili", call.fdReaddir},
		"fd_renumber":             {"ii", call.fdRenumber},
		"fd_seek":                 {"ilii", func(c call) Errno { return c.fdSeek(unstable) }},
		"fd_sync":                 {"i", func(c call) Errno { return c.fdSync(rightSync, false) }},
		"fd_tell":                 {"ii", call.fdTell},
		"fd_write":                {"iiii", call.fdWrite},
		"path_create_directory":   {"iii", call.pathCreateDirectory},
		"path_filestat_get":       {"iiiii", func(c call) Errno { return c.pathFilestatGet(unstable) }},
		"path_filestat_set_times": {"iiiilli", call.pathFilestatSetTimes},
		"path_link":               {"iiiiiii", call.pathLink},
		"path_open":               {"iiiiillii", call.pathOpen},
		"path_readlink":           {"iiiiii", call.pathReadlink},
		"path_remove_directory":   {"iii", call.pathRemoveDirectory},
		"path_rename":             {"iiiiii", call.pathRename},
		"path_symlink":            {"iiiii", call.pathSymlink},
		"path_unlink_file":        {"iii", call.pathUnlinkFile},
		"poll_oneoff":             {"iiii", func(c call) Errno { return c.pollOneoff(unstable) }},
		"proc_exit":               {"i", func(c call) Errno { panic(Exit(uint32(c.a[0]))) }},
		"proc_raise":              {"i", call.procRaise},
		"random_get":              {"ii", call.randomGet},
		"sched_yield":             {"", call.schedYield},
		"sock_accept":             {"iii", call.sockAccept},
		"sock_recv":               {"iiiiii", call.sockRecv},
		"sock_send":               {"iiiii", call.sockSend},
		"sock_shutdown":           {"ii", call.sockShutdown},
	}
}

// Provide instantiates the WASI modules that a module imports, with the functions that it imports: each costs memory. It
// is done once for a runtime, whose instances must run in contexts of Instance.Context.
func Provide(ctx context.Context, r wazero.Runtime, imports []wasm.Import) error {
	for _, name := range []string{wasm.Preview1Module, wasm.UnstableModule} {
		known, b, done := functions(name == wasm.UnstableModule), r.NewHostModuleBuilder(name), map[string]bool{}
		for _, i := range imports {
			if i.Module != name || done[i.Name] {
				continue
			}
			done[i.Name] = true
			f, ok := choose(known, i)
			if !ok {
				return fmt.Errorf("provide %s: no function %s", name, i.Name)
			}
			export(b, i.Name, f)
		}
		if len(done) == 0 {
			continue
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("provide %s: %w", name, err)
		}
	}
	return nil
}

// choose finds the function that a module means: of those of the name the one with its type, otherwise any, which wazero
// says does not fit.
func choose(known map[string]function, i wasm.Import) (function, bool) {
	var all []function
	if f, ok := known[i.Name]; ok {
		all = append(all, f)
	}
	all = append(all, extension()[i.Name]...)
	if n := slices.IndexFunc(all, func(f function) bool { return f.signature() == i.Type }); n >= 0 {
		return all[n], true
	}
	if len(all) == 0 {
		return function{}, false
	}
	return all[0], true
}

// signature is the type in the words of package wasm.
func (f function) signature() string {
	params := strings.Split(strings.NewReplacer("i", "i32,", "l", "i64,").Replace(f.types), ",")
	return "(" + strings.Join(params[:len(params)-1], ", ") + ") -> i32"
}

func export(b wazero.HostModuleBuilder, name string, f function) {
	params := make([]api.ValueType, len(f.types))
	for i, t := range f.types {
		params[i] = api.ValueTypeI32
		if t == 'l' {
			params[i] = api.ValueTypeI64
		}
	}
	results := []api.ValueType{api.ValueTypeI32}
	if name == "proc_exit" {
		results = nil
	}
	b.NewFunctionBuilder().WithGoModuleFunction(hostFunction(f.do), params, results).Export(name)
}

func hostFunction(do func(call) Errno) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		in := instanceOf(ctx)
		in.check()
		c := call{Instance: in, a: stack}
		if in.noMemory {
			c.mem.Memory = noMemory{}
		} else {
			c.mem.Memory = mod.Memory()
		}
		stack[0] = uint64(do(c))
	}
}

// noMemory is the memory of a module that has none.
type noMemory struct{ api.Memory }

func (noMemory) Read(_, _ uint32) ([]byte, bool)       { return nil, false }
func (noMemory) WriteUint32Le(_, _ uint32) bool        { return false }
func (noMemory) WriteUint64Le(_ uint32, _ uint64) bool { return false }
