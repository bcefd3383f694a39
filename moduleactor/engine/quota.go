package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/wazlet/wazlet/moduleactor/engine/meter"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
)

// CPU is the CPU time of one metered guest, or of several that have a share of a CPU together. Its methods may be called from
// any goroutine.
type CPU struct {
	used atomic.Int64

	// budget is what may be used yet, of a share, filled up to filled.
	mu     sync.Mutex
	budget time.Duration
	filled time.Time
}

// Used is the CPU time that the guest has used. It is counted at each tick, some 0.2 ms apart while the guest computes, and
// whenever the guest waits.
func (c *CPU) Used() time.Duration { return time.Duration(c.used.Load()) }

// begin fills the budget for the first guest.
func (c *CPU) begin(share float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.filled.IsZero() {
		c.budget, c.filled = most(share), time.Now()
	}
}

// charge counts what was used.
func (c *CPU) charge(used time.Duration) {
	c.used.Add(int64(used))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.budget -= used
}

// owes is how long to wait until the share of a period may be used again, 0 if there is something left.
func (c *CPU) owes(share float64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.budget <= 0 {
		now := time.Now()
		c.budget = min(most(share), c.budget+time.Duration(share*float64(now.Sub(c.filled))))
		c.filled = now
	}
	if c.budget > 0 {
		return 0
	}
	return time.Duration(float64(most(share)-c.budget) / share)
}

// most is what may be used in one go.
func most(share float64) time.Duration { return time.Duration(share * float64(quotaPeriod)) }

// quotaPeriod is how long a guest that has used its share waits, as cgroups do it.
const quotaPeriod = 100 * time.Millisecond

// quota counts the CPU time of a guest and holds it to its share. It is used by the guest's goroutine.
//
// Native code cannot be moved to another thread, so between two looks at the clock of the same thread the guest ran, unless
// it waited in the host, which calls pause and resume, or Go moved the goroutine away and back. What other guests have used
// of the thread meanwhile is theirs: each leaves a mark there.
type quota struct {
	cpu    *CPU
	thread int
	since  time.Duration
	mark   *atomic.Int64 // of the thread
	// share is the part of a CPU, 0 for no limit.
	share float64
	// stack is that of the call that is being made, which may have maxStack bytes.
	stack    gauge
	maxStack int64
	looked   time.Time       // at the clock, by a tick
	ctx      context.Context //nolint:containedctx // of the run
}

// marks has for each thread up to when a guest was charged with its time, an *atomic.Int64.
var marks sync.Map //nolint:gochecknoglobals // threads are the process's

func newQuota(ctx context.Context, cpu *CPU, millicores int64) *quota {
	if cpu == nil {
		cpu = &CPU{}
	}
	q := &quota{ctx: ctx, cpu: cpu}
	if millicores > 0 {
		q.share = float64(millicores) / 1000
		cpu.begin(q.share)
	}
	q.resume()
	return q
}

// look returns the time of the thread, and up to when it was charged to somebody. same: it is that of the last look.
func (q *quota) look() (now, charged time.Duration, same bool) {
	thread, now := threadCPU()
	if same = thread == q.thread && q.mark != nil; !same {
		m, _ := marks.LoadOrStore(thread, new(atomic.Int64))
		q.mark, _ = m.(*atomic.Int64)
	}
	q.thread = thread
	return now, time.Duration(q.mark.Swap(int64(now))), same
}

// resume begins to count.
func (q *quota) resume() { q.since, _, _ = q.look() }

// pause counts what was used since.
func (q *quota) pause() {
	now, charged, same := q.look()
	if used := now - max(q.since, charged); same && used > 0 {
		q.cpu.charge(used)
	}
	q.since = now
}

// lookEvery is how often the time of the thread is asked for at most, which takes microseconds: a guest that calls functions
// with large stack frames ticks more often than that is worth.
const lookEvery = 100 * time.Microsecond

// tick is where a guest that computes comes by. It leaves a guest that is to stop, or has too much stack.
func (q *quota) tick() {
	if q.ctx.Err() != nil {
		panic(wasi.Stopped{})
	}
	if used := q.stack.used(); used > q.maxStack {
		panic(&stackOverflow{used: used, limit: q.maxStack})
	}
	now := time.Now()
	if now.Sub(q.looked) < lookEvery {
		return
	}
	q.looked = now
	q.pause()
	if q.share == 0 {
		return
	}
	if d := q.cpu.owes(q.share); d > 0 {
		q.throttle(d)
	}
}

// throttle waits until the guest may use its share of a period again.
func (q *quota) throttle(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	defer q.resume()
	select {
	case <-timer.C:
	case <-q.ctx.Done():
		panic(wasi.Stopped{})
	}
}

type quotaKey struct{}

// tick is the function that metered modules import.
func tick(ctx context.Context, stack []uint64) {
	if q, ok := ctx.Value(quotaKey{}).(*quota); ok {
		q.tick()
	} else if ctx.Err() != nil { // a start section that runs ahead
		panic(wasi.Stopped{})
	}
	stack[0] = meter.DefaultEvery
}

// provideTick makes the host module that metered modules import.
func (p *Program) provideTick(ctx context.Context) error {
	_, err := p.runtime.NewHostModuleBuilder(meter.TickModule).NewFunctionBuilder().
		WithGoFunction(api.GoFunc(tick), nil, []api.ValueType{api.ValueTypeI32}).Export(meter.TickName).Instantiate(ctx)
	return err
}
