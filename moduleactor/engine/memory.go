package engine

import (
	"fmt"
	"os"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// Memory is the linear memory of one guest, with a limit. It lives outside the Go heap: address space is reserved once,
// pages are made usable as the guest grows, so that growing never copies and never moves, and the garbage collector
// neither scans nor counts it. Its exported methods may be called from any goroutine.
type Memory struct {
	asked int64  // the limit as it was asked for
	limit uint64 // in whole pages
	peak  atomic.Uint64
	// refused is set by a refused growth and cleared by the next one that is granted.
	refused atomic.Bool
	initial uint64 // what was refused at instantiation
	areas   []*area
}

// NewMemory returns a memory of at most limit bytes, rounded down to pages; 0 or less means what wasm allows, 4 GiB.
func NewMemory(limit int64) *Memory {
	const most = wasm.MaxPages * wasm.PageSize
	if limit <= 0 || limit > most {
		limit = most
	}
	return &Memory{asked: limit, limit: uint64(limit) / wasm.PageSize * wasm.PageSize}
}

// Peak is the largest size that the guest's memory has had, in bytes.
func (m *Memory) Peak() uint64 { return m.peak.Load() }

// Exhausted tells whether the guest's last attempt to grow was refused because of the limit.
func (m *Memory) Exhausted() bool { return m.refused.Load() }

// Allocate implements experimental.MemoryAllocator. A module has one memory, so it is called once for each instance.
func (m *Memory) Allocate(_, most uint64) experimental.LinearMemory {
	a := &area{m: m}
	if reserve := min(most, m.limit); reserve > 0 {
		a.b, a.err = unix.Mmap(-1, 0, roundToPage(reserve), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	}
	m.areas = append(m.areas, a)
	return a
}

// close gives the memory back. The guest must have ended: code that still runs would fault, which ends the process.
func (m *Memory) close() error {
	var first error
	for _, a := range m.areas {
		if a.b == nil {
			continue
		}
		if err := unix.Munmap(a.b); err != nil && first == nil {
			first = fmt.Errorf("unmap the guest's memory: %w", err)
		}
		a.b = nil
	}
	m.areas = nil
	return first
}

// area is one reservation; it implements experimental.LinearMemory.
type area struct {
	m      *Memory
	b      []byte
	usable int
	err    error
}

// Reallocate implements experimental.LinearMemory: nil refuses.
func (a *area) Reallocate(size uint64) []byte {
	if a.err != nil || size > uint64(len(a.b)) {
		return a.refuse(size)
	}
	if want := roundToPage(size); want > a.usable {
		if err := unix.Mprotect(a.b[a.usable:want], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			a.err = err
			return a.refuse(size)
		}
		a.usable = want
	}
	a.m.refused.Store(false)
	a.m.peak.Store(max(a.m.peak.Load(), size))
	if size == 0 {
		return []byte{}
	}
	return a.b[:size:size]
}

func (a *area) refuse(size uint64) []byte {
	if a.m.peak.Load() == 0 {
		a.m.initial = size
	}
	a.m.refused.Store(true)
	return nil
}

// Free implements experimental.LinearMemory. wazero calls it when the instance is closed; Memory.close does the work,
// once nothing of the guest is on a stack any more.
func (*area) Free() {}

func roundToPage(n uint64) int {
	page := uint64(os.Getpagesize())
	return int((n + page - 1) / page * page)
}
