package wasi

import "time"

// interest is something to wait for.
type interest struct {
	waiter
	write bool
}

// canWait tells whether there is a way to wait for an object. Some files of /proc and /sys say eagain and cannot be waited for.
func canWait(o object) bool {
	_, ok := o.(waiter)
	return ok
}

// waitFor parks the guest until the object, a waiter, may be ready.
func (in *Instance) waitFor(o object, write bool) {
	if w, ok := o.(waiter); ok {
		in.wait([]interest{{w, write}}, forever)
	}
}

// forever is no limit for a wait. It is not the largest Duration, which a timer adds to the present.
const forever = time.Duration(1) << 62

// wait parks the guest until one of the list may be ready, or the time has passed; the caller looks which. It leaves the
// guest if that is to stop.
func (in *Instance) wait(list []interest, most time.Duration) {
	in.check()
	select { // what an earlier wait left
	case <-in.wake:
	default:
	}
	ends := make([]func(), 0, len(list))
	defer func() {
		for _, end := range ends {
			end()
		}
	}()
	for _, i := range list {
		ends = append(ends, i.watch(i.write, in.wakeUp))
	}
	for _, i := range list {
		if _, _, ok := in.ready(i.waiter, i.write); ok {
			return
		}
	}
	if in.pause != nil {
		in.pause()
		defer in.resume()
	}
	if in.timer == nil {
		in.timer = time.NewTimer(most)
	} else {
		in.timer.Reset(most)
	}
	defer in.timer.Stop()
	select {
	case <-in.wake:
	case <-in.timer.C:
	case <-in.done:
		panic(Stopped{})
	}
}

// ready is that of the object. What the guest reads comes to its end when it is to finish.
func (in *Instance) ready(w waiter, write bool) (n uint64, hangup, ok bool) {
	n, hangup, ok = w.ready(write)
	if o, is := w.(object); !ok && is && in.inputOver(o, write) {
		return 0, true, true
	}
	return n, hangup, ok
}

// inputOver tells whether there is nothing more to come for a guest that reads its standard input.
func (in *Instance) inputOver(o object, write bool) bool {
	return !write && in.drain.begun.Load() && o == in.table.stdio[0]
}

// wakeUp ends a wait. It may be called from any goroutine, and too often.
func (in *Instance) wakeUp() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}
