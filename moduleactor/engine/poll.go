package engine

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// clocks are the guest's clocks. We give them to wazero to know what absolute times mean.
type clocks struct{ start time.Time }

// newClocks starts the monotonic clock at one second, since some guests take 0 for "not set".
func newClocks() *clocks { return &clocks{start: time.Now().Add(-time.Second)} }

func (c *clocks) monotonic() int64 { return int64(time.Since(c.start)) }

func (c *clocks) wall() (sec int64, nsec int32) {
	now := time.Now()
	return now.Unix(), int32(now.Nanosecond())
}

// A subscription of poll_oneoff: userdata 0..8, type 8, and a union at 16. A clock has its id at 16, the time at 24 and its
// flags at 40; a descriptor is at 16. An event: userdata 0..8, error 8..10, type 10, and the bytes available at 16..24.
const (
	subscriptionSize = 48
	eventSize        = 32

	eventClock  = 0
	eventFDRead = 1

	clockMonotonic = 1
	clockAbsolute  = 1
)

// errors of WASI that our own functions return.
const (
	errnoFault = 21
	errnoInval = 28
)

// poll repairs two things in wazero 1.12's poll_oneoff and leaves the rest to it. It knows no absolute clocks, as CPython
// uses them to sleep. And it knows no descriptors but stdin: asked for another it may wait for ever. All that a guest can
// have open are files, which are always ready, and streams of ours, which never make a writer wait.
func (c *clocks) poll(next api.GoModuleFunc) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		n := uint32(stack[2])
		if n == 0 || n > math.MaxUint32/subscriptionSize {
			stack[0] = errnoInval
			return
		}
		subs, ok1 := mod.Memory().Read(uint32(stack[0]), n*subscriptionSize)
		out, ok2 := mod.Memory().Read(uint32(stack[1]), n*eventSize)
		if !ok1 || !ok2 {
			stack[0] = errnoFault
			return
		}
		if ready := readyEvents(subs); len(ready) > 0 {
			copy(out, ready)
			stack[0] = 0
			if !mod.Memory().WriteUint32Le(uint32(stack[3]), uint32(len(ready)/eventSize)) {
				stack[0] = errnoFault
			}
			return
		}
		saved := append([]byte(nil), subs...)
		c.makeRelative(subs)
		next(ctx, mod, stack)
		copy(subs, saved)
	}
}

// readyEvents are the events of the descriptors that are ready at once.
func readyEvents(subs []byte) []byte {
	var events []byte
	for ; len(subs) > 0; subs = subs[subscriptionSize:] {
		kind, fd := subs[8], binary.LittleEndian.Uint32(subs[16:])
		if kind == eventClock || (kind == eventFDRead && fd == 0) {
			continue
		}
		var e [eventSize]byte
		copy(e[:], subs[:8])
		e[10] = kind
		binary.LittleEndian.PutUint64(e[16:], 1)
		events = append(events, e[:]...)
	}
	return events
}

// makeRelative turns absolute clock subscriptions into relative ones.
func (c *clocks) makeRelative(subs []byte) {
	for ; len(subs) > 0; subs = subs[subscriptionSize:] {
		if subs[8] != eventClock || binary.LittleEndian.Uint16(subs[40:]) != clockAbsolute {
			continue
		}
		now := uint64(time.Now().UnixNano())
		if binary.LittleEndian.Uint32(subs[16:]) == clockMonotonic {
			now = uint64(c.monotonic())
		}
		at := binary.LittleEndian.Uint64(subs[24:])
		binary.LittleEndian.PutUint64(subs[24:], min(at-min(at, now), math.MaxInt64))
		binary.LittleEndian.PutUint16(subs[40:], 0)
	}
}
