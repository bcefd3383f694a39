package wasi

import "time"

// pace bounds how many bytes a guest prints, on stdout and stderr together: rate bytes in a second, of which as many may
// come at once. It makes the guest wait, and drops nothing.
type pace struct {
	rate, left int64
	at         time.Time
}

// paceStep is how much is waited for, so that a guest which is held up does not go on byte by byte.
const paceStep = 4096

// maxPace is more than any guest can print, and less than what time and rate can be multiplied with.
const maxPace = 1 << 32

func newPace(rate int64) *pace {
	rate = min(rate, maxPace)
	return &pace{rate: rate, left: rate, at: time.Now()}
}

// room is how many of n bytes may be printed now.
func (p *pace) room(n int) int {
	if p.left < int64(n) {
		p.refill()
	}
	if p.left < min(int64(n), p.step()) {
		return 0
	}
	return int(min(int64(n), p.left))
}

func (p *pace) step() int64 { return min(paceStep, p.rate) }

func (p *pace) refill() {
	now := time.Now()
	passed := min(now.Sub(p.at), time.Second)
	if got := int64(passed) * p.rate / int64(time.Second); got > 0 { // otherwise the time counts for the next
		p.left, p.at = min(p.left+got, p.rate), now
	}
}

// delay is how long it takes until there is room for a step.
func (p *pace) delay() time.Duration {
	lacks := max(p.step()-p.left, 1)
	return time.Duration((lacks*int64(time.Second)+p.rate-1)/p.rate) - time.Since(p.at)
}

// paced is an object that a guest prints to.
type paced struct {
	object
	to mover
	*pace
}

// withPace makes an object keep the pace. Files and sockets, which no node makes a guest's output, are left as they are.
func withPace(o object, p *pace) object {
	switch o := o.(type) {
	case *sink:
		return &paced{o, o, p}
	case *stream:
		if o.kind != socketStream && o.kind != socketDgram {
			return &paced{o, o, p}
		}
	}
	return o
}

func (p *paced) read(b []byte) (int, Errno) { return p.to.read(b) }

func (p *paced) write(b []byte) (int, Errno) {
	room := p.room(len(b))
	if room == 0 && len(b) > 0 {
		return 0, eagain
	}
	n, errno := p.to.write(b[:room])
	p.left -= int64(n)
	return n, errno
}

// ready implements waiter.
func (p *paced) ready(write bool) (n uint64, hangup, ok bool) {
	if write && p.room(paceStep) == 0 {
		return 0, false, false
	}
	if w, ok := p.object.(waiter); ok {
		return w.ready(write)
	}
	return 1, false, true
}

// watch implements waiter.
func (p *paced) watch(write bool, wake func()) func() {
	if write && p.room(paceStep) == 0 {
		timer := time.AfterFunc(p.delay(), wake)
		return func() { timer.Stop() }
	}
	if w, ok := p.object.(waiter); ok {
		return w.watch(write, wake)
	}
	return func() {}
}
