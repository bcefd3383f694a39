package actorstest

import (
	"context"
	"slices"
	"time"

	"k8s.io/utils/clock"
)

// simClock is the simulated time. A timer that is due is a task like any other: whatever else is due at the same moment
// may run before it, and Stop comes too late for it, as in the real world.
type simClock struct{ s *Simulation }

// timer is one call of AfterFunc or NewTimer.
type timer struct {
	s     *Simulation
	due   time.Time
	order uint64
	f     func()
	ch    chan time.Time
}

// Now is the simulated time.
func (c simClock) Now() time.Time { return c.s.now }

// Since is the simulated time since t.
func (c simClock) Since(t time.Time) time.Duration { return c.s.now.Sub(t) }

// AfterFunc runs f as a task after d.
func (c simClock) AfterFunc(d time.Duration, f func()) clock.Timer { return c.s.addTimer(d, f) }

// NewTimer makes a timer with a channel; only a test can wait for it, a worker uses Sleep.
func (c simClock) NewTimer(d time.Duration) clock.Timer { return c.s.addTimer(d, nil) }

// After is NewTimer without a way to stop it.
func (c simClock) After(d time.Duration) <-chan time.Time { return c.NewTimer(d).C() }

// Tick is not simulated.
func (c simClock) Tick(time.Duration) <-chan time.Time {
	panic("actorstest: the simulated clock does not tick: use AfterFunc")
}

// Sleep blocks the worker that calls it for d.
func (c simClock) Sleep(d time.Duration) {
	due := c.s.now.Add(d)
	t := c.s.addTimer(d, func() {})
	defer t.Stop()
	_ = c.s.Block(context.Background(), func() bool { return !c.s.now.Before(due) }) // fails only when all is over
}

func (s *Simulation) addTimer(d time.Duration, f func()) *timer {
	t := &timer{s: s, f: f, ch: make(chan time.Time, 1)}
	t.set(d)
	return t
}

func (t *timer) set(d time.Duration) {
	t.s.order++
	t.due, t.order = t.s.now.Add(max(0, d)), t.s.order
	t.s.timers = append(t.s.timers, t)
}

// C is the channel of a timer that was made by NewTimer.
func (t *timer) C() <-chan time.Time { return t.ch }

// Stop takes the timer back unless it was due already.
func (t *timer) Stop() bool {
	n := len(t.s.timers)
	t.s.timers = slices.DeleteFunc(t.s.timers, func(x *timer) bool { return x == t })
	return len(t.s.timers) < n
}

// Reset stops the timer and starts it anew.
func (t *timer) Reset(d time.Duration) bool {
	was := t.Stop()
	t.set(d)
	return was
}

// fire moves the time on to the next timers, if they are due before or at end, and makes tasks of them.
func (s *Simulation) fire(end time.Time) bool {
	if len(s.timers) == 0 || s.over {
		return false
	}
	first := slices.MinFunc(s.timers, func(a, b *timer) int { return a.due.Compare(b.due) })
	if first.due.After(end) {
		return false
	}
	s.now = first.due
	var due []*timer
	s.timers = slices.DeleteFunc(s.timers, func(t *timer) bool {
		if t.due.After(s.now) {
			return false
		}
		due = append(due, t)
		return true
	})
	slices.SortFunc(due, func(a, b *timer) int { return int(a.order) - int(b.order) })
	for _, t := range due {
		if t.f == nil {
			select {
			case t.ch <- s.now:
			default: // nobody read the last one
			}
			continue
		}
		s.add(false, t.f)
	}
	return true
}
