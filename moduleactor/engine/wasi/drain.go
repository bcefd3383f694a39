package wasi

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// linger is how long a guest may take to end by itself after the last of its clients is gone. Go's http.Server.Shutdown
// looks every half second at most.
const linger = time.Second

// Drain lets whoever runs a guest ask it to finish what its clients have begun. The zero value is ready; it is for one
// guest. Clients are the connections that the guest has accepted or found open, not those that it made itself.
type Drain struct {
	begun atomic.Bool

	mu        sync.Mutex
	listeners []*stream
	clients   int
	changed   chan struct{}
	wake      func()
}

// Finish takes no more clients, ends the guest's input, and returns when the guest may be ended: at once if it has no
// clients, otherwise a moment after the last is gone, or when ctx ends. It is called once at most.
func (d *Drain) Finish(ctx context.Context) {
	clients := d.begin()
	if clients == 0 {
		return
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for {
		over := timer.C
		if clients > 0 {
			over = nil
		} else {
			timer.Reset(linger)
		}
		select {
		case <-d.changed:
		case <-over:
			return
		case <-ctx.Done():
			return
		}
		d.mu.Lock()
		clients = d.clients
		d.mu.Unlock()
	}
}

// begin makes accept fail with EINVAL, which ends the loops of most servers, and wakes who waits for a client.
func (d *Drain) begin() (clients int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed = make(chan struct{}, 1)
	d.begun.Store(true)
	for _, s := range d.listeners {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
	}
	if d.wake != nil {
		d.wake()
	}
	return d.clients
}

// onBegin sets what wakes the guest.
func (d *Drain) onBegin(wake func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wake = wake
}

// listening is told of a socket that takes clients from now on.
func (d *Drain) listening(s *stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.drain = d
	d.listeners = append(d.listeners, s)
	if d.begun.Load() {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
	}
}

// serving is told of a client's connection.
func (d *Drain) serving(s *stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.drain = d
	d.clients++
	d.tell()
}

// closing is told of either before its descriptor is closed, which may then be another's.
func (d *Drain) closing(s *stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.drain = nil
	if i := slices.Index(d.listeners, s); i >= 0 {
		d.listeners = slices.Delete(d.listeners, i, i+1)
		return
	}
	d.clients--
	d.tell()
}

func (d *Drain) tell() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}
