package wasi

import (
	"encoding/binary"
	"testing"
)

// dry is a file that has nothing to read yet, as some of /proc and /sys do, and cannot be waited for.
type dry struct{ *device }

func (dry) read([]byte) (int, Errno)  { return 0, eagain }
func (dry) write([]byte) (int, Errno) { return 0, eagain }

// TestNothingToWaitFor: a guest that is told to come again is told so, rather than kept for ever where nothing can stop it.
func TestNothingToWaitFor(t *testing.T) {
	h := newHostile(t, false)
	h.in.table.add(dry{&device{nullDevice}})
	fd := uint64(len(h.in.table.list) - 1)
	mem, _ := h.mod.Memory().Read(0, memorySize)
	binary.LittleEndian.PutUint32(mem[8:], 64) // a vector of 16 bytes
	binary.LittleEndian.PutUint32(mem[12:], 16)
	for _, name := range []string{"fd_read", "fd_write"} {
		stack := []uint64{fd, 8, 1, 32}
		hostFunction(h.known[name].do)(h.ctx, h.mod, stack)
		if Errno(stack[0]) != eagain {
			t.Errorf("%s: %d, want %d", name, stack[0], eagain)
		}
	}
}
