package actors

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Registry knows every actor that was spawned with System.Props and has not stopped. All methods are safe from any
// goroutine.
type Registry struct{ handles sync.Map } // id -> *Handle

func (r *Registry) add(pid *actor.PID, h *Handle) {
	h.pid.Store(pid)
	r.handles.Store(pid.GetId(), h)
}

// remove forgets h unless another actor has its name by now.
func (r *Registry) remove(h *Handle) { r.handles.CompareAndDelete(h.PID().GetId(), h) }

// Lookup finds the actor with the given id (its path), nil if there is none.
func (r *Registry) Lookup(id string) *Handle {
	h, ok := r.handles.Load(id)
	if !ok {
		return nil
	}
	return h.(*Handle)
}

// Snapshot returns all actors, sorted by id.
func (r *Registry) Snapshot() []Info {
	out := []Info{} // not null in JSON
	r.each(func(h *Handle) { out = append(out, h.Info()) })
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Len is the number of actors.
func (r *Registry) Len() int {
	n := 0
	r.each(func(*Handle) { n++ })
	return n
}

func (r *Registry) each(f func(*Handle)) {
	r.handles.Range(func(_, h any) bool {
		f(h.(*Handle))
		return true
	})
}

// Stall is an actor that makes no progress.
type Stall struct {
	ID   string
	Kind Kind
	// Message is the type of the message that it is busy with; empty when it has messages and takes none.
	Message string
	// Since is when it took that message, or its last one.
	Since time.Time
}

// Stalled returns the actors that have been busy with one message, or have left their mailbox unread, for longer than
// limit; the longest first. An actor that is suspended until its supervisor restarts it does not count.
func (r *Registry) Stalled(now time.Time, limit time.Duration) []Stall {
	var out []Stall
	r.each(func(h *Handle) {
		if st, ok := h.stall(); ok && now.Sub(st.Since) > limit {
			out = append(out, st)
		}
	})
	slices.SortFunc(out, func(a, b Stall) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func (h *Handle) stall() (Stall, bool) {
	st := Stall{ID: h.PID().GetId(), Kind: h.kind}
	if busy := h.handling.Load(); busy != nil {
		st.Message, st.Since = busy.Message, busy.Since
		return st, true
	}
	m := h.mailbox.Load()
	if m == nil {
		return st, false
	}
	var ok bool
	st.Since, ok = m.unread()
	return st, ok
}
