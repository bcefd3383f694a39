package actors

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
)

// Worker is blocking work that an actor started.
type Worker struct {
	system *System
	actor  *actor.PID
	cancel context.CancelFunc
	done   chan struct{}
	begun  atomic.Bool // whoever sets it first, the work or Stop
	void   atomic.Bool // the result is not wanted
}

// Go runs work off the actor's goroutine. Its result, unless nil, is sent to self as a message; a panic is observed and
// sent as a Crash. An actor that was restarted or stopped meanwhile does not see it. Call Go from a handler of the
// actor itself, and give work nothing of ctx that changes: copy first.
func (s *System) Go(self *actor.PID, work func(ctx context.Context) any) *Worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Worker{system: s, actor: self, cancel: cancel, done: make(chan struct{})}
	send := s.mailto(self, &w.void)
	s.run(func() {
		defer close(w.done)
		defer cancel()
		if w.begun.Swap(true) {
			return // stopped before it began
		}
		w.work(ctx, work, send)
	})
	return w
}

// work sends the result. The send is in a deferred function because a goroutine that ends by runtime.Goexit has no
// other place for it.
func (w *Worker) work(ctx context.Context, work func(context.Context) any, send func(any)) {
	var result any
	done := false
	defer func() {
		if !done {
			v := recover()
			if v == nil {
				v = errGoexit
			}
			c := Crash{Value: v, Message: "worker", Stack: string(debug.Stack())}
			w.system.crashed(w.actor, w.system.registry.Lookup(w.actor.GetId()), c)
			result = c
		}
		if result != nil {
			send(result)
		}
	}()
	result = work(ctx)
	done = true
}

// Cancel cancels the work's context and returns at once. The result is still sent.
func (w *Worker) Cancel() { w.cancel() }

// Stop cancels the work, makes sure that its result is never handled, and waits until it has ended, but no longer than
// wait. False means that it still runs; it is counted as leaked.
func (w *Worker) Stop(wait time.Duration) bool {
	w.void.Store(true)
	w.cancel()
	if !w.begun.Swap(true) {
		return true
	}
	if w.ended(wait) {
		return true
	}
	w.system.counts.leakedWorkers.Add(1)
	w.system.log.Warn("worker did not end", zap.String("actor", w.actor.GetId()), zap.Int64("duration_ms", wait.Milliseconds()))
	return false
}

func (w *Worker) ended(wait time.Duration) bool {
	if w.system.stepper != nil {
		return w.system.stepUntil(w.done, true)
	}
	select {
	case <-w.done:
		return true
	default:
	}
	t := w.system.clock.NewTimer(wait)
	defer t.Stop()
	select {
	case <-w.done:
		return true
	case <-t.C():
		return false
	}
}

// stepUntil runs pieces of work until done is closed; false when there is nothing left to run.
func (s *System) stepUntil(done <-chan struct{}, workers bool) bool {
	for {
		select {
		case <-done:
			return true
		default:
		}
		if !s.stepper.Step(workers) {
			return false
		}
	}
}
