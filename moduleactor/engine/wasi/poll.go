package wasi

import (
	"encoding/binary"
	"math"
	"slices"
	"time"
)

// subscription is one entry of what poll_oneoff is asked to wait for. In memory: userdata 0..8, type 8, and at 16 a
// descriptor or a clock. A clock is its id, the time at 8 and its flags at 24; in wasi_unstable an identifier precedes it.
type subscription struct {
	userdata uint64
	kind     byte
	fd       uint32
	clock    uint32
	time     uint64
	absolute bool
}

const (
	subscriptionSize         = 48
	unstableSubscriptionSize = 56
	eventSize                = 32

	eventClock   = 0
	eventFDRead  = 1
	eventFDWrite = 2

	clockAbsolute = 1
	eventHangup   = 1
)

// poll is one call of poll_oneoff.
type poll struct {
	call
	subs, out []byte
	size      int // of a subscription
	begin     time.Time
	ready     int // events written
	// list and next are what to wait for when nothing is ready; waits has what is in list, once it is long: to wait for one thing
	// takes a goroutine, however often it is asked for.
	list  []interest
	waits map[interest]struct{}
	next  time.Duration
}

func (c call) pollOneoff(unstable bool) Errno {
	n, size := uint64(uint32(c.a[2])), uint64(subscriptionSize)
	if unstable {
		size = unstableSubscriptionSize
	}
	if n == 0 || n > uint64(c.maxPoll) {
		return einval
	}
	subs, errno := c.mem.array(c.a[0], n, size)
	if errno != esuccess {
		return errno
	}
	out, errno := c.mem.array(c.a[1], n, eventSize)
	if errno != esuccess {
		return errno
	}
	if errno := c.mem.putU32(c.a[3], 0); errno != esuccess {
		return errno
	}
	p := poll{call: c, subs: subs, out: out, size: int(size), begin: time.Now()}
	for p.scan(); p.ready == 0; p.scan() {
		c.wait(p.list, p.next)
	}
	return c.mem.putU32(c.a[3], uint32(p.ready))
}

// scan writes the events that there are.
func (p *poll) scan() {
	p.list, p.next, p.waits = p.list[:0], forever, nil
	for b := p.subs; len(b) > 0; b = b[p.size:] {
		s := p.subscription(b)
		switch s.kind {
		case eventClock:
			p.clock(s)
		case eventFDRead, eventFDWrite:
			p.descriptor(s)
		default:
			p.event(s, einval, 0, 0)
		}
	}
}

func (p *poll) subscription(b []byte) subscription {
	s := subscription{userdata: binary.LittleEndian.Uint64(b), kind: b[8], fd: binary.LittleEndian.Uint32(b[16:])}
	if c := b[16:]; s.kind == eventClock {
		if p.size == unstableSubscriptionSize {
			c = c[8:]
		}
		s.clock, s.time = binary.LittleEndian.Uint32(c), binary.LittleEndian.Uint64(c[8:])
		s.absolute = binary.LittleEndian.Uint16(c[24:])&clockAbsolute != 0
	}
	return s
}

func (p *poll) event(s subscription, errno Errno, n uint64, flags uint16) {
	e := p.out[p.ready*eventSize:][:eventSize]
	p.ready++
	clear(e)
	binary.LittleEndian.PutUint64(e, s.userdata)
	binary.LittleEndian.PutUint16(e[8:], uint16(errno))
	e[10] = s.kind
	binary.LittleEndian.PutUint64(e[16:], n)
	binary.LittleEndian.PutUint16(e[24:], flags)
}

// wallStep is how long is slept at most for an absolute time of day, which may be set meanwhile.
const wallStep = uint64(time.Minute)

func (p *poll) clock(s subscription) {
	now, errno := p.Instance.clock(s.clock)
	if errno != esuccess {
		p.event(s, errno, 0, 0)
		return
	}
	left := s.time
	if !s.absolute {
		now = uint64(max(time.Since(p.begin), 0))
	}
	if left <= now {
		p.event(s, esuccess, 0, 0)
		return
	}
	left = min(left-now, math.MaxInt64)
	if s.absolute && s.clock == clockRealtime {
		left = min(left, wallStep)
	}
	p.next = min(p.next, time.Duration(left))
}

// await adds to the list what is not in it.
func (p *poll) await(i interest) {
	const few = 8
	switch {
	case len(p.list) < few:
		if slices.Contains(p.list, i) {
			return
		}
	case p.waits == nil:
		p.waits = make(map[interest]struct{}, len(p.list))
		for _, known := range p.list {
			p.waits[known] = struct{}{}
		}
		fallthrough
	default:
		if _, ok := p.waits[i]; ok {
			return
		}
		p.waits[i] = struct{}{}
	}
	p.list = append(p.list, i)
}

func (p *poll) descriptor(s subscription) {
	write, need := s.kind == eventFDWrite, rightRead
	if write {
		need = rightWrite
	}
	d, errno := p.table.get(uint64(s.fd), rightPoll)
	if errno != esuccess {
		p.event(s, errno, 0, 0)
		return
	}
	if _, ok := d.object.(listener); !ok && !d.can(need) {
		p.event(s, enotcapable, 0, 0)
		return
	}
	switch o := d.object.(type) {
	case waiter:
		if n, hangup, ok := p.Instance.ready(o, write); !ok {
			p.await(interest{o, write})
		} else if hangup {
			p.event(s, esuccess, n, eventHangup)
		} else {
			p.event(s, esuccess, n, 0)
		}
	case *file:
		if write {
			p.event(s, esuccess, 1, 0)
		} else {
			p.event(s, esuccess, o.available(), 0)
		}
	default:
		p.event(s, esuccess, 1, 0)
	}
}
