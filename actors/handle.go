package actors

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Handle is what the registry shows of one actor, across its restarts. All methods are safe from any goroutine; readers
// take no lock and send no message, so that a stuck actor, the one that matters, is visible.
type Handle struct {
	kind Kind
	name string
	pod  PodRef

	pid      atomic.Pointer[actor.PID]
	mailbox  atomic.Pointer[mailbox]
	view     atomic.Pointer[view]
	handling atomic.Pointer[Handling]
	failure  atomic.Pointer[FailureInfo]
	next     atomic.Pointer[time.Time]
	handled  atomic.Uint64
	starts   atomic.Uint64
}

// view is what an actor publishes of itself.
type view struct {
	state string
	since time.Time
}

// Info is one entry of /debug/actors.
type Info struct {
	ID     string    `json:"id"`
	Parent string    `json:"parent"`
	Kind   Kind      `json:"kind"`
	Name   string    `json:"name"`
	Pod    PodRef    `json:"-"`
	State  string    `json:"state"`
	Since  time.Time `json:"since"`
	// Mailbox counts user messages that wait.
	Mailbox MailboxInfo `json:"mailbox"`
	// Handling is nil in an actor that handles nothing at the moment.
	Handling *Handling `json:"handling"`
	Handled  uint64    `json:"handled"`
	// Restarts counts how often the actor was started again under the same PID.
	Restarts    uint64       `json:"restarts"`
	NextRestart *time.Time   `json:"nextRestart"`
	LastFailure *FailureInfo `json:"lastFailure"`
}

// MailboxInfo is the fill of a mailbox.
type MailboxInfo struct {
	Length    int `json:"length"`
	HighWater int `json:"highWater"`
}

// Handling is the type of the message that an actor is busy with, and since when.
type Handling struct {
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// FailureInfo is the last failure of an actor. Stack is empty unless it was a crash.
type FailureInfo struct {
	Time    time.Time `json:"time"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Stack   string    `json:"stack"`
}

// Publish sets the state that the registry shows.
func (h *Handle) Publish(state string, since time.Time) { h.view.Store(&view{state, since}) }

// NextRestart sets when the actor is due to be restarted; zero: it is not.
func (h *Handle) NextRestart(t time.Time) {
	if t.IsZero() {
		h.next.Store(nil)
		return
	}
	h.next.Store(&t)
}

// Failed sets the last failure.
func (h *Handle) Failed(at time.Time, reason, message, stack string) {
	h.failure.Store(&FailureInfo{Time: at, Reason: reason, Message: message, Stack: stack})
}

// PID is the actor's PID, nil until it is spawned.
func (h *Handle) PID() *actor.PID { return h.pid.Load() }

// Info reads everything at once; the parts may be of slightly different moments.
func (h *Handle) Info() Info {
	i := Info{
		ID: h.PID().GetId(), Kind: h.kind, Name: h.name, Pod: h.pod,
		Handling: h.handling.Load(), Handled: h.handled.Load(),
		NextRestart: h.next.Load(), LastFailure: h.failure.Load(),
	}
	if cut := strings.LastIndexByte(i.ID, '/'); cut > 0 {
		i.Parent = i.ID[:cut]
	}
	if v := h.view.Load(); v != nil {
		i.State, i.Since = v.state, v.since
	}
	if m := h.mailbox.Load(); m != nil {
		i.Mailbox = m.info()
	}
	if n := h.starts.Load(); n > 1 {
		i.Restarts = n - 1
	}
	return i
}
