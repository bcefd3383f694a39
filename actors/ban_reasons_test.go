package actors_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
)

// The reasons behind some of the bans in ban_test.go, so that a change of protoactor is noticed.
func TestWhatIsBannedIsStillBad(t *testing.T) {
	t.Run("messages queued at a stop vanish", func(t *testing.T) {
		play(t, false, func(w *world) any {
			dead := 0
			w.engine.EventStream.Subscribe(func(e any) {
				if _, ok := e.(*actor.DeadLetterEvent); ok {
					dead++
				}
			})
			block := make(chan struct{})
			var l lines
			pid := w.spawn("a", of(logged(&l, func(ctx actor.Context) {
				if ctx.Message() == "block" {
					<-block
				}
			})))
			w.engine.Root.Send(pid, "block")
			synctest.Wait()
			w.engine.Root.Send(pid, "lost")
			w.engine.Root.Stop(pid)
			close(block)
			synctest.Wait()
			if got := l.String(); got != "Started block Stopping Stopped" || dead != 0 {
				t.Errorf("got %q and %d dead letters", got, dead)
			}
			return nil
		})
	})
	t.Run("a parent that watches its child is told twice", func(t *testing.T) {
		play(t, false, func(w *world) any {
			var l lines
			w.spawn("parent", of(logged(&l, func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); ok {
					child := w.child(ctx, "child", of(func(actor.Context) {}))
					ctx.Watch(child)
					ctx.Stop(child)
				}
			})))
			synctest.Wait()
			if got, want := l.String(), "Started Terminated Terminated"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			return nil
		})
	})
	t.Run("a batch is delivered twice", func(t *testing.T) {
		play(t, false, func(w *world) any {
			var l lines
			pid := w.spawn("a", of(logged(&l, nil)))
			w.engine.Root.Send(pid, batch{"one", "two"})
			synctest.Wait()
			if got, want := l.String(), "Started one two actors_test.batch"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			return nil
		})
	})
	t.Run("the default strategy restarts ten times at once", func(t *testing.T) {
		play(t, false, func(w *world) any {
			starts := 0
			w.engine.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); ok {
					starts++
					panic("at once")
				}
			}))
			began := time.Now()
			synctest.Wait()
			if starts != 11 || time.Since(began) != 0 {
				t.Errorf("%d starts in %s, want 11 in no time", starts, time.Since(began))
			}
			return nil
		})
	})
	t.Run("ReenterAfter runs in a suspended actor", func(t *testing.T) {
		play(t, false, func(w *world) any {
			reentered := false
			w.spawn("parent", func() actor.Actor {
				return &actorFunc{receive: func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok {
						w.child(ctx, "child", of(func(ctx actor.Context) {
							if _, ok := ctx.Message().(*actor.Started); ok {
								f := actor.NewFuture(w.engine, time.Second)
								//nolint:forbidigo // to show why it is forbidden
								ctx.ReenterAfter(f, func(any, error) { reentered = true })
								actors.Fail(ctx, actors.Exit{})
							}
						}))
					}
				}}
			})
			<-time.After(2 * time.Second)
			synctest.Wait()
			if !reentered {
				t.Error("protoactor has changed: a suspended actor is not re-entered any more")
			}
			return nil
		})
	})
}

type batch []any

func (b batch) GetMessages() []any { return b }
