package wasi

import (
	"encoding/binary"
	"slices"
	"testing"
)

// do calls a function of the guest, which must not end by it.
func (h *hostile) do(name string, args ...uint64) Errno {
	stack := append(slices.Clone(args), 0)
	hostFunction(h.known[name].do)(h.ctx, h.mod, stack)
	return Errno(stack[0])
}

// TestHostilePointers is about lengths and places that a sum or a product of 32 bits would make good, and about buffers that lie over each
// other: the call fails, or does what it says with the bytes that it finds.
func TestHostilePointers(t *testing.T) {
	const page, top = memorySize, 1 << 32
	for _, tc := range []struct {
		name string
		args []uint64
		want Errno
	}{
		{"random_get", []uint64{0, page}, esuccess},
		{"random_get", []uint64{1, page}, efault},
		{"random_get", []uint64{0, top - 1}, efault},
		{"random_get", []uint64{page - 1, top - page + 1}, efault},
		{"random_get", []uint64{top - 1, 1}, efault},
		{"fd_read", []uint64{0, 0, maxVectors + 1, 0}, einval},
		{"fd_read", []uint64{0, 0, 0x20000000, 0}, einval}, // 8 bytes each: 0
		{"fd_read", []uint64{0, page - 8, 2, 0}, efault},
		{"fd_write", []uint64{1, page - 4, 1, 0}, efault},
		{"fd_pwrite", []uint64{1, 0, 1, 1 << 63, 0}, espipe},
		{"fd_readdir", []uint64{3, page - 1, 2, 0, 0}, efault},
		{"fd_readdir", []uint64{3, 0, top - 1, 0, 0}, efault},
		{"poll_oneoff", []uint64{0, 0, 0, 0}, einval},
		{"poll_oneoff", []uint64{0, 0, DefaultMaxSubscriptions + 1, 0}, einval},
		{"poll_oneoff", []uint64{0, 0, 0x08000000, 0}, einval}, // 32 bytes each: 0
		{"poll_oneoff", []uint64{page - 47, 0, 1, 0}, efault},
		{"poll_oneoff", []uint64{0, page - 31, 1, 0}, efault},
		{"poll_oneoff", []uint64{0, 0, 1, page - 3}, efault},
		{"path_open", []uint64{3, 0, 0, maxPath + 1, 0, 0, 0, 0, 0}, enametoolong},
		{"path_open", []uint64{3, 0, page - 1, 2, 0, 0, 0, 0, 0}, efault},
		{"path_readlink", []uint64{3, 0, 4, page - 1, 2, 0}, efault},
		{"sock_getaddrinfo extension 0", []uint64{0, maxPath + 1, 0, 0, 0, 0, 0, 0}, enametoolong},
		{"sock_getaddrinfo extension 0", []uint64{0, 0, 0, 0, page - 27, 0, 0, 0}, efault},
		{"sock_open extension 0", []uint64{1, 2, page - 3}, efault},
	} {
		h := newHostile(t, false)
		if got := h.do(tc.name, tc.args...); got != tc.want {
			t.Errorf("%s(%x) = %d, want %d", tc.name, tc.args, got, tc.want)
		}
	}
}

// TestManySubscriptions: where the node allows so many, their sizes go beyond 32 bits.
func TestManySubscriptions(t *testing.T) {
	h := newHostile(t, false)
	h.in.maxPoll = 1 << 30
	for _, n := range []uint64{0x08000000, 0x05555556, 0x10000000} { // of 32 and of 48 bytes: 0 and 32, and 0
		if got := h.do("poll_oneoff", 0, 0, n, 0); got != efault {
			t.Errorf("%x: %d", n, got)
		}
	}
}

// TestOverlap reads into the list of the buffers themselves, and has events written over what is waited for.
func TestOverlap(t *testing.T) {
	h := newHostile(t, false)
	mem, _ := h.mod.Memory().Read(0, memorySize)
	copy(mem[512:], "dev/zero")
	if errno := h.do("path_open", 3, 0, 512, 8, 0, uint64(rightRead), 0, 0, 600); errno != esuccess {
		t.Fatal(errno)
	}
	zero := uint64(binary.LittleEndian.Uint32(mem[600:]))
	for i := range 4 { // each buffer is the whole list, which the first makes zero
		binary.LittleEndian.PutUint32(mem[8*i:], 0)
		binary.LittleEndian.PutUint32(mem[8*i+4:], 32)
	}
	if errno := h.do("fd_read", zero, 0, 4, 600); errno != esuccess || binary.LittleEndian.Uint32(mem[600:]) != 32 {
		t.Errorf("errno %d, %d bytes", errno, binary.LittleEndian.Uint32(mem[600:]))
	}
	const n = 1000
	clear(mem)
	for i := range n {
		mem[i*subscriptionSize+8] = eventFDWrite
		binary.LittleEndian.PutUint32(mem[i*subscriptionSize+16:], uint32(zero))
	}
	if errno := h.do("poll_oneoff", 0, 0, n, memorySize-4); errno != esuccess {
		t.Errorf("errno %d", errno)
	}
	if got := binary.LittleEndian.Uint32(mem[memorySize-4:]); got == 0 || got > n {
		t.Errorf("%d events of %d subscriptions", got, n)
	}
}
