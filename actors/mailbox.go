package actors

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox is protoactor's unbounded mailbox with three hazards taken out (each has a test in armour_test.go):
//   - a message that arrives between the registration of the name and Start finds no dispatcher: the sender panics and
//     the actor is deaf for ever. Here it waits.
//   - a nil message makes the consumer spin for ever. Here it is dropped as a dead letter.
//   - runtime.Goexit in a handler leaves the mailbox marked as running for ever; see armed.
//
// It also measures itself. Posting happens on the sender's goroutine.
type mailbox struct {
	actor.Mailbox

	system *System
	guard  *guard

	started atomic.Bool
	early   sync.Mutex // guards waiting, and the change of started
	waiting []func()

	highWater atomic.Int64
	progress  atomic.Int64 // unix nanoseconds: last message taken, or first one posted into an empty mailbox
	suspended atomic.Bool
}

func newMailbox(s *System, g *guard) *mailbox {
	return &mailbox{Mailbox: actor.Unbounded()(), system: s, guard: g}
}

// PostUserMessage queues a message; called by any goroutine.
func (m *mailbox) PostUserMessage(message any) {
	if message == nil {
		m.system.Observe(DeadLetter{
			Time: m.system.clock.Now(), Target: m.guard.handle.PID().GetId(), Message: typeName(nil),
		})
		return
	}
	if !m.started.Load() && m.hold(func() { m.postUser(message) }) {
		return
	}
	m.postUser(message)
}

func (m *mailbox) postUser(message any) {
	if m.UserMessageCount() <= 0 {
		m.progress.Store(m.system.clock.Now().UnixNano())
	}
	m.Mailbox.PostUserMessage(message)
	n := int64(m.UserMessageCount())
	for high := m.highWater.Load(); n > high && !m.highWater.CompareAndSwap(high, n); high = m.highWater.Load() {
	}
}

// PostSystemMessage queues one of protoactor's own messages; called by any goroutine.
func (m *mailbox) PostSystemMessage(message any) {
	if !m.started.Load() {
		if _, first := message.(*actor.Started); !first && m.hold(func() { m.postSystem(message) }) {
			return
		}
	}
	m.postSystem(message)
}

func (m *mailbox) postSystem(message any) {
	switch message.(type) {
	case *actor.SuspendMailbox:
		m.suspended.Store(true)
	case *actor.ResumeMailbox:
		m.suspended.Store(false)
	}
	m.Mailbox.PostSystemMessage(message)
}

// hold keeps post for Start, unless the mailbox has been started meanwhile.
func (m *mailbox) hold(post func()) bool {
	m.early.Lock()
	defer m.early.Unlock()
	if m.started.Load() {
		return false
	}
	m.waiting = append(m.waiting, post)
	return true
}

// Start is the end of spawning. What was held is posted before anything that comes later. It is posted without the lock,
// because a synchronized dispatcher runs the actor meanwhile.
func (m *mailbox) Start() {
	m.Mailbox.Start()
	for {
		m.early.Lock()
		held := m.waiting
		m.waiting = nil
		m.started.Store(len(held) == 0)
		m.early.Unlock()
		if len(held) == 0 {
			return
		}
		for _, post := range held {
			post()
		}
	}
}

// RegisterHandlers puts the guard between the mailbox and the actor.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, d actor.Dispatcher) {
	m.Mailbox.RegisterHandlers(&armed{MessageInvoker: invoker, guard: m.guard, box: m}, revive{d})
}

func (m *mailbox) info() MailboxInfo {
	return MailboxInfo{Length: max(0, m.UserMessageCount()), HighWater: int(m.highWater.Load())}
}

// unread tells since when messages have been waiting without one being taken.
func (m *mailbox) unread() (time.Time, bool) {
	if m.UserMessageCount() <= 0 || m.suspended.Load() {
		return time.Time{}, false
	}
	return time.Unix(0, m.progress.Load()), true
}

// revive is a dispatcher whose mailboxes survive runtime.Goexit (t.FailNow in a test's actor, for example): the rest of
// the queue is handled by another goroutine.
type revive struct{ actor.Dispatcher }

// Schedule runs fn, and runs it again if it ended its goroutine: the mailbox still counts as running, and is ours.
func (r revive) Schedule(fn func()) {
	r.Dispatcher.Schedule(func() {
		done := false
		defer func() {
			if !done {
				r.Schedule(fn)
			}
		}()
		fn() // does not panic: armed recovers
		done = true
	})
}
