package engine

import (
	"errors"
	"fmt"
	"os"
	"sync"
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
	budget  *Budget
	// starved is set when it was the budget that refused.
	starved atomic.Bool
}

// Budget is the memory that the instances of one container have together: a bound of the sum, and small mappings that were
// given back, for the next ones. Its methods may be called from any goroutine.
type Budget struct {
	limit int64
	used  atomic.Int64
	peak  atomic.Int64

	mu    sync.Mutex
	spare []mapping // cleared
}

const (
	// maxSpare is how many mappings are kept, maxSpareBytes the size up to which one is: to clear it costs less than to map
	// it anew.
	maxSpare      = 32
	maxSpareBytes = 256 << 10
)

// NewBudget returns a budget of limit bytes; 0 or less: no limit.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Used is what the memories have now, in bytes.
func (b *Budget) Used() int64 { return b.used.Load() }

// Peak is about the most that they have had together.
func (b *Budget) Peak() int64 { return b.peak.Load() }

func (b *Budget) take(n int64) bool {
	if used := b.used.Add(n); b.limit > 0 && used > b.limit {
		b.used.Add(-n)
		return false
	} else if used > b.peak.Load() {
		b.peak.Store(used) // two at a time may store the smaller one last, which a report can bear
	}
	return true
}

// mapping returns a mapping of the size that nobody uses, if there is one.
func (b *Budget) mapping(size int) (mapping, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.spare) - 1
	if last < 0 || len(b.spare[last].b) != size {
		return mapping{}, false
	}
	m := b.spare[last]
	b.spare = b.spare[:last]
	return m, true
}

// keep takes a mapping over if it is worth it.
func (b *Budget) keep(m mapping) bool {
	if m.usable > maxSpareBytes {
		return false
	}
	clear(m.b[:m.usable])
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.spare) >= maxSpare {
		return false
	}
	b.spare = append(b.spare, m)
	return true
}

// Close gives back what is kept. No memory may be in use.
func (b *Budget) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, m := range b.spare {
		errs = append(errs, unix.Munmap(m.b))
	}
	b.spare = nil
	return errors.Join(errs...)
}

// mapping is reserved address space, the first usable bytes of which can be used.
type mapping struct {
	b      []byte
	usable int
}

// Within makes the memory take what it has from a budget, which refuses what it does not have. It is called before the
// memory is used.
func (m *Memory) Within(b *Budget) *Memory {
	m.budget = b
	return m
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
	if reserve := roundToPage(min(most, m.limit)); reserve > 0 {
		a.mapping, a.err = m.reserve(reserve)
	}
	m.areas = append(m.areas, a)
	return a
}

func (m *Memory) reserve(size int) (mapping, error) {
	if m.budget != nil {
		if old, ok := m.budget.mapping(size); ok {
			return old, nil
		}
	}
	b, err := unix.Mmap(-1, 0, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	return mapping{b: b}, err
}

// close gives the memory back. The guest must have ended: code that still runs would fault, which ends the process.
func (m *Memory) close() error {
	var first error
	for _, a := range m.areas {
		if m.budget != nil {
			m.budget.used.Add(-a.taken)
			a.taken = 0
		}
		if a.b == nil || m.budget != nil && m.budget.keep(a.mapping) {
			a.mapping = mapping{}
			continue
		}
		if err := unix.Munmap(a.b); err != nil && first == nil {
			first = fmt.Errorf("unmap the guest's memory: %w", err)
		}
		a.mapping = mapping{}
	}
	m.areas = nil
	return first
}

// area is one reservation; it implements experimental.LinearMemory.
type area struct {
	mapping
	m     *Memory
	taken int64 // of the budget
	err   error
}

// Reallocate implements experimental.LinearMemory: nil refuses.
func (a *area) Reallocate(size uint64) []byte {
	if a.err != nil || size > uint64(len(a.b)) {
		return a.refuse(size)
	}
	want := roundToPage(size)
	if !a.take(int64(want) - a.taken) {
		return a.refuse(size)
	}
	if want > a.usable {
		if err := unix.Mprotect(a.b[a.usable:want], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			a.err = err
			return a.refuse(size)
		}
		a.usable = want
	}
	a.m.refused.Store(false)
	a.m.starved.Store(false)
	a.m.peak.Store(max(a.m.peak.Load(), size))
	if size == 0 {
		return []byte{}
	}
	return a.b[:size:size]
}

// take takes n bytes more from the budget, if there is one.
func (a *area) take(n int64) bool {
	if a.m.budget == nil || n <= 0 {
		return true
	}
	if !a.m.budget.take(n) {
		a.m.starved.Store(true)
		return false
	}
	a.taken += n
	return true
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
