package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/wazlet/wazlet/moduleactor/engine/meter"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
)

// CPU is the CPU time of one metered guest. Its methods may be called from any goroutine.
type CPU struct{ used atomic.Int64 }

// Used is the CPU time that the guest has used. It is counted at each tick, some 0.2 ms apart while the guest computes, and
// whenever the guest waits.
func (c *CPU) Used() time.Duration { return time.Duration(c.used.Load()) }

// quotaPeriod is how long a guest that has used its share waits, as cgroups do it.
const quotaPeriod = 100 * time.Millisecond

// quota counts the CPU time of a guest and holds it to its share. It is used by the guest's goroutine.
//
// Native code cannot be moved to another thread, so between two looks at the clock of the same thread the guest ran, unless
// it waited in the host, which calls pause and resume. If Go moved the goroutine while it was in the host otherwise, that
// short time is not counted.
type quota struct {
	cpu    *CPU
	thread int
	since  time.Duration
	// share is the part of a CPU, 0 for no limit; budget is what the guest may use yet, filled up to filled.
	share  float64
	budget time.Duration
	filled time.Time
	ctx    context.Context //nolint:containedctx // of the run
}

func newQuota(ctx context.Context, cpu *CPU, millicores int64) *quota {
	if cpu == nil {
		cpu = &CPU{}
	}
	q := &quota{ctx: ctx, cpu: cpu}
	if millicores > 0 && millicores < 1000 { // a guest has one thread
		q.share = float64(millicores) / 1000
		q.budget, q.filled = q.most(), time.Now()
	}
	q.resume()
	return q
}

// most is what the guest may use in one go.
func (q *quota) most() time.Duration { return time.Duration(q.share * float64(quotaPeriod)) }

// resume begins to count.
func (q *quota) resume() { q.thread, q.since = threadCPU() }

// pause counts what was used since.
func (q *quota) pause() {
	thread, now := threadCPU()
	if thread == q.thread && now > q.since {
		used := now - q.since
		q.cpu.used.Add(int64(used))
		q.budget -= used
	}
	q.thread, q.since = thread, now
}

// tick is where a guest that computes comes by. It leaves a guest that is to stop.
func (q *quota) tick() {
	if q.ctx.Err() != nil {
		panic(wasi.Stopped{})
	}
	q.pause()
	if q.share > 0 && q.budget <= 0 {
		q.throttle()
	}
}

// throttle waits until the guest may use its share of a period again, if it has not been idle meanwhile.
func (q *quota) throttle() {
	q.fill()
	if q.budget > 0 {
		return
	}
	missing := float64(q.most() - q.budget)
	timer := time.NewTimer(time.Duration(missing / q.share))
	defer timer.Stop()
	defer q.resume()
	select {
	case <-timer.C:
	case <-q.ctx.Done():
		panic(wasi.Stopped{})
	}
	q.fill()
}

// fill adds the share of the time that passed.
func (q *quota) fill() {
	now := time.Now()
	q.budget = min(q.most(), q.budget+time.Duration(q.share*float64(now.Sub(q.filled))))
	q.filled = now
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
