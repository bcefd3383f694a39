package wasi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"go.uber.org/goleak"

	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hostile is a guest that calls what it wants with what it wants.
type hostile struct {
	in    *Instance
	ctx   context.Context //nolint:containedctx // the guest's
	mod   api.Module
	names []string
	known map[string]function
}

// memorySize is that of the guest: one page.
const memorySize = 65536

func newHostile(t testing.TB, unstable bool) *hostile {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	mod, err := r.Instantiate(ctx, enginetest.Module(enginetest.Section(5, []byte{0, 1})))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"file": "content", "dir/a": "", "dir/b": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := rootfs.Open(rootfs.Mount{Host: dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := New(Config{Args: []string{"a", "b"}, Env: []string{"K=V"}, Root: root, MaxFiles: 20, Signals: make(chan byte), Network: lonely()})
	if err != nil {
		t.Fatal(err)
	}
	known := functions(unstable)
	for name, versions := range extension() {
		for i, f := range versions {
			known[fmt.Sprintf("%s extension %d", name, i)] = f
		}
	}
	h := &hostile{in: in, ctx: in.Context(ctx), mod: mod, known: known, names: slices.Sorted(maps.Keys(known))}
	done := make(chan struct{})
	close(done)
	in.done = done // whoever waits is ended, and only then
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), root.Close(), r.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return h
}

// lonely is a network in which nobody is reached but the guest's own Pod.
func lonely() *Network {
	nobody := errors.New("nobody")
	return &Network{
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{127, 88, 9, 9})},
		Check:     func(netip.AddrPort, []string) error { return nobody },
		Lookup:    func(context.Context, string) ([]netip.Addr, string, error) { return nil, "", nobody },
	}
}

// call calls a function. Whatever the arguments are, it returns an errno or ends the guest.
func (h *hostile) call(t testing.TB, name string, args []uint64) {
	t.Helper()
	f := h.known[name]
	stack := make([]uint64, max(len(f.types), 1))
	copy(stack, args)
	if name == "fd_allocate" {
		stack[1], stack[2] = stack[1]&0xfffff, stack[2]&0xfffff // the disk is ours
	}
	given := slices.Clone(stack)
	defer func() {
		switch r := recover().(type) {
		case nil, Exit, Stopped:
		default:
			t.Fatalf("%s(%x): %v", name, given, r)
		}
	}()
	hostFunction(f.do)(h.ctx, h.mod, stack)
	if stack[0] > uint64(enotcapable) {
		t.Fatalf("%s(%x) = %d", name, given, stack[0])
	}
}

// edges are arguments that have a meaning for somebody.
var edges = []uint64{
	0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 24, 100, 1024, 4096, memorySize - 64, memorySize - 8, memorySize - 1, memorySize, memorySize + 1,
	0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff,
}

// TestHostileArguments calls every function with all kinds of arguments on all kinds of memory.
func TestHostileArguments(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		h := newHostile(t, round%2 == 1)
		mem, _ := h.mod.Memory().Read(0, memorySize)
		for range 3000 {
			name := h.names[random.IntN(len(h.names))]
			if name == "fd_close" && random.IntN(20) > 0 {
				continue // or nothing stays open
			}
			args := make([]uint64, len(h.known[name].types))
			for i := range args {
				args[i] = edges[random.IntN(len(edges))]
			}
			if random.IntN(3) == 0 {
				at := random.IntN(memorySize - 8)
				binary.LittleEndian.PutUint64(mem[at:], edges[random.IntN(len(edges))])
			}
			if random.IntN(10) == 0 {
				copy(mem[random.IntN(64):], []string{"file", "dir/a", "dir", "../x", "dev/null", ".", "new", "dir/../file"}[random.IntN(8)])
			}
			h.call(t, name, args)
		}
	}
}

// FuzzFunctions takes calls from its input: the memory, then for each call the function's number and arguments of two bytes,
// of which those above 0xff00 stand for edges.
func FuzzFunctions(f *testing.F) {
	f.Add([]byte("file dir/a ../x"), []byte{0, 1, 2, 3, 4, 5, 6, 7})
	for i := range byte(46) {
		f.Add([]byte{0, 0, 0, 0, 4, 0, 0, 0}, append([]byte{i}, slices.Repeat([]byte{3, 0, 8, 0}, 8)...))
	}
	f.Fuzz(func(t *testing.T, memory, calls []byte) {
		h := newHostile(t, len(memory)%2 == 1)
		mem, _ := h.mod.Memory().Read(0, memorySize)
		copy(mem, memory)
		for range 100 {
			if len(calls) == 0 {
				return
			}
			name := h.names[int(calls[0])%len(h.names)]
			calls = calls[1:]
			args := make([]uint64, len(h.known[name].types))
			for i := range args {
				if len(calls) < 2 {
					break
				}
				v := binary.LittleEndian.Uint16(calls)
				if args[i] = uint64(v); v >= 0xff00 {
					args[i] = edges[int(v&0xff)%len(edges)]
				}
				calls = calls[2:]
			}
			h.call(t, name, args)
		}
	})
}

// TestWithoutMemory calls every function of a module that has none.
func TestWithoutMemory(t *testing.T) {
	h := newHostile(t, false)
	h.in.noMemory = true
	for _, name := range h.names {
		for _, e := range edges {
			h.call(t, name, slices.Repeat([]uint64{e}, 9))
		}
	}
}
