package stats

import "time"

// RatePeriod is the least time between two samples of which a rate is made: within less, the granularity of the kernel's
// counters shows. It is the shortest period in which cadvisor measures.
const RatePeriod = 5 * time.Second

// A meter follows one cumulative value.
type meter struct {
	last time.Duration
	base point
	// rate is in nanoseconds a second; none until there were two samples.
	rate  uint64
	rated bool
}

// A point is a cumulative value at a time.
type point struct {
	at    time.Time
	value time.Duration
}

// startMeter returns a meter whose first sample is from; the zero point for none.
func startMeter(from point) *meter { return &meter{base: from, last: from.value} }

// add takes a sample. A value less than the one before it does not count: what was said stays true, whatever happened to the
// source.
func (m *meter) add(at time.Time, value time.Duration) {
	m.last = max(m.last, value)
	if m.base.at.IsZero() {
		m.base = point{at, m.last}
		return
	}
	if passed := at.Sub(m.base.at); passed >= RatePeriod {
		m.rate = uint64(float64(m.last-m.base.value) / passed.Seconds())
		m.rated = true
		m.base = point{at, m.last}
	}
}

// A podMeter follows the containers of a Pod.
type podMeter struct {
	containers map[string]*attemptMeter
	// past is what attempts that are over had used, so that the Pod's sum does not fall when one ends.
	past time.Duration
}

type attemptMeter struct {
	*meter
	attempt int
}

// of returns the meter of an attempt, which begins with nothing at its start.
func (p *podMeter) of(container string, attempt int, started time.Time) *attemptMeter {
	m := p.containers[container]
	if m != nil && m.attempt == attempt {
		return m
	}
	if m != nil {
		p.past += m.last
	}
	m = &attemptMeter{startMeter(point{at: started}), attempt}
	p.containers[container] = m
	return m
}

// used is what the Pod has used so far, ended attempts included.
func (p *podMeter) used() time.Duration {
	sum := p.past
	for _, m := range p.containers {
		sum += m.last
	}
	return sum
}
