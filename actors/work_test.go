package actors_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/wazlet/wazlet/actors"
)

type question struct{ reply chan<- int }

func mkQuestion(c chan<- int) any { return question{c} }

func TestAsk(t *testing.T) {
	play(t, true, func(w *world) any {
		pid := w.spawn("a", of(func(ctx actor.Context) {
			if q, ok := ctx.Message().(question); ok {
				q.reply <- 42
			}
		}))
		if got, err := actors.Ask(w.t.Context(), w.sys, pid, mkQuestion); got != 42 || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
		_, err := actors.Ask(w.t.Context(), w.sys, w.pid("nobody"), mkQuestion)
		if !errors.Is(err, actors.ErrNoActor) || err.Error() != "ask nobody: no such actor" {
			t.Errorf("of nobody: %v", err)
		}
		return nil
	})
}

// An actor that stops with the question in its mailbox answers nobody, and says nothing of it (pitfall 9).
func TestAskOfAnActorThatStops(t *testing.T) {
	play(t, true, func(w *world) any {
		block := make(chan struct{})
		pid := w.spawn("a", of(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case string:
				<-block
			case question:
				m.reply <- 1
			}
		}))
		w.engine.Root.Send(pid, "block")
		synctest.Wait()
		w.engine.Root.Stop(pid)
		done := make(chan error)
		go func() {
			_, err := actors.Ask(w.t.Context(), w.sys, pid, mkQuestion)
			done <- err
		}()
		synctest.Wait()
		close(block)
		if err := <-done; !errors.Is(err, actors.ErrNoActor) {
			t.Errorf("got %v, want %v", err, actors.ErrNoActor)
		}
		return nil
	})
}

// The answer of an actor that stops right after it is not lost.
func TestAskAnsweredAsTheLastThing(t *testing.T) {
	for range 10 {
		play(t, true, func(w *world) any {
			pid := w.spawn("a", of(func(ctx actor.Context) {
				if q, ok := ctx.Message().(question); ok {
					q.reply <- 1
					ctx.Stop(ctx.Self())
				}
			}))
			if got, err := actors.Ask(w.t.Context(), w.sys, pid, mkQuestion); got != 1 || err != nil {
				t.Errorf("got %d, %v", got, err)
			}
			return nil
		})
	}
}

// notes §3, pitfall 3: a future may give both a result and a timeout. Ask gives one or the other, whatever happens at
// the same moment.
func TestAskRacesItsTimeout(t *testing.T) {
	s := actors.New(actors.Options{})
	props, _ := s.Props(actors.KindNode, "a", actors.PodRef{}, func(*actors.Handle) actor.Actor {
		return &actorFunc{receive: func(ctx actor.Context) {
			if q, ok := ctx.Message().(question); ok {
				q.reply <- 42
			}
		}}
	})
	pid, err := s.SpawnRoot(props, "a", &actorFunc{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(cancel)
		wg.Go(func() {
			got, err := actors.Ask(ctx, s, pid, mkQuestion)
			if (err == nil) != (got == 42) || (err != nil && !errors.Is(err, context.Canceled)) {
				t.Errorf("got %d and %v", got, err)
			}
		})
	}
	wg.Wait()
	if err := s.StopTree(t.Context(), pid); err != nil {
		t.Error(err)
	}
}

// worker plays an actor that starts work when it is started and logs what comes of it.
func worker(w *world, l *lines, work func(context.Context) any, onStop func(*actors.Worker)) *actor.PID {
	var running *actors.Worker
	return w.spawn("a", of(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started:
			if running == nil {
				running = w.sys.Go(ctx.Self(), work)
			}
		case string:
			l.add("%s", m)
		case actors.Crash:
			l.add("crash(%v)", m.Value)
			if !strings.Contains(m.Stack, "TestWorker") {
				w.t.Errorf("the stack does not show the culprit:\n%s", m.Stack)
			}
		case func(*actors.Worker):
			m(running)
		case *actor.Stopping:
			if onStop != nil {
				onStop(running)
			}
		}
	}))
}

func TestWorkerResult(t *testing.T) {
	for _, c := range []struct {
		name string
		work func(context.Context) any
		want string
	}{
		{"value", func(context.Context) any { return "done" }, "done"},
		{"nothing", func(context.Context) any { return nil }, ""},
		{"panic", func(context.Context) any { panic("boom") }, "crash(boom)"},
		{
			"exit", func(context.Context) any { runtime.Goexit(); return nil },
			"crash(runtime.Goexit was called)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, true, func(w *world) any {
				var l lines
				worker(w, &l, c.work, nil)
				synctest.Wait()
				if got := l.String(); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				crashes := strings.Count(c.want, "crash")
				if f := failures(w); len(f) != crashes || (crashes == 1 && (f[0].Actor != "a" || f[0].Message != "worker")) {
					t.Errorf("failures: %+v, want %d of a", f, crashes)
				}
				return nil
			})
		})
	}
}

func TestWorkerCancelStillReports(t *testing.T) {
	play(t, true, func(w *world) any {
		var l lines
		pid := worker(w, &l, func(ctx context.Context) any {
			<-ctx.Done()
			return "canceled"
		}, nil)
		w.engine.Root.Send(pid, (*actors.Worker).Cancel)
		synctest.Wait()
		if got := l.String(); got != "canceled" {
			t.Errorf("got %q", got)
		}
		return nil
	})
}

func TestWorkerStop(t *testing.T) {
	for _, c := range []struct {
		name   string
		work   func(context.Context) any
		ended  bool
		leaked uint64
	}{
		{"obeys", func(ctx context.Context) any { <-ctx.Done(); return "late" }, true, 0},
		{"is slow", func(context.Context) any { <-time.After(time.Second); return "late" }, true, 0},
		{"leaks", func(context.Context) any { <-time.After(time.Minute); return "late" }, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, true, func(w *world) any {
				var l lines
				var stopped bool
				pid := worker(w, &l, c.work, nil)
				synctest.Wait()
				w.engine.Root.Send(pid, func(wk *actors.Worker) { stopped = wk.Stop(2 * time.Second) })
				<-time.After(2 * time.Minute)
				synctest.Wait()
				if stopped != c.ended || w.sys.Counters().LeakedWorkers != c.leaked || l.String() != "" {
					t.Errorf("stopped %t, counters %+v, messages %q", stopped, w.sys.Counters(), l.String())
				}
				return nil
			})
		})
	}
}

// A worker that has not begun when it is stopped never begins.
func TestWorkerStopBeforeItBegins(t *testing.T) {
	var queue []func()
	s := actors.New(actors.Options{Go: func(f func()) { queue = append(queue, f) }})
	w := s.Go(s.Engine().NewLocalPID("nobody"), func(context.Context) any {
		t.Error("it began")
		return nil
	})
	if !w.Stop(time.Hour) {
		t.Error("Stop says that it still runs")
	}
	queue[0]()
}

// The result of a failed instance's worker is not for the next instance.
func TestWorkerOfAFailedInstance(t *testing.T) {
	play(t, true, func(w *world) any {
		var l lines
		starts := 0
		pid := w.spawn("a", of(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				if starts++; starts == 1 {
					w.sys.Go(ctx.Self(), func(context.Context) any {
						<-time.After(time.Second)
						return "of the first"
					})
					actors.Fail(ctx, actors.Exit{})
					return
				}
				w.sys.Go(ctx.Self(), func(context.Context) any { return "of the second" })
			case string:
				l.add("%s", m)
			}
		}))
		<-time.After(2 * time.Second)
		synctest.Wait()
		if got := l.String(); got != "of the second" || !w.alive(pid) {
			t.Errorf("got %q", got)
		}
		return nil
	})
}

func TestAfter(t *testing.T) {
	play(t, true, func(w *world) any {
		var l lines
		began := time.Now()
		pid := w.spawn("a", of(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				w.sys.After(ctx.Self(), time.Minute, "minute")
				w.sys.After(ctx.Self(), 0, "now")
				w.sys.After(ctx.Self(), time.Second, "canceled")()
				w.sys.After(ctx.Self(), time.Hour, "never")
			case string:
				l.add("%s@%s", m, time.Since(began))
			}
		}))
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if got, want := l.String(), "now@0s minute@1m0s"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := w.sys.StopTree(w.t.Context(), pid); err != nil {
			t.Error(err)
		}
		<-time.After(2 * time.Hour)
		synctest.Wait()
		if e := w.rec.Events(); len(e) != 0 {
			t.Errorf("a timer of a stopped actor made events: %v", e)
		}
		return nil
	})
}

// A cancel holds even for a message that is already in the mailbox.
func TestCancelOfADueTimer(t *testing.T) {
	play(t, true, func(w *world) any {
		var l lines
		block := make(chan struct{})
		pid := w.spawn("a", of(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case func():
				cancel := w.sys.After(ctx.Self(), time.Second, "tick")
				<-block
				cancel()
			case string:
				l.add("%s", m)
			}
		}))
		w.engine.Root.Send(pid, func() {})
		<-time.After(time.Minute)
		close(block)
		synctest.Wait()
		if got := l.String(); got != "" {
			t.Errorf("got %q after the cancel", got)
		}
		return nil
	})
}

// The fake clock of k8s.io/utils holds its lock while it calls back, and whoever takes a message asks for the time.
func TestAfterWithAFakeClock(t *testing.T) {
	fake := clocktesting.NewFakeClock(epoch)
	s := actors.New(actors.Options{Clock: fake})
	got := make(chan any, 2)
	props, _ := s.Props(actors.KindPod, "a", actors.PodRef{}, func(*actors.Handle) actor.Actor {
		return &actorFunc{receive: func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				s.After(ctx.Self(), 0, "now")
				s.After(ctx.Self(), time.Minute, "later")
			case string:
				got <- m
			}
		}}
	})
	pid, err := s.SpawnRoot(props, "a", &actorFunc{})
	if err != nil {
		t.Fatal(err)
	}
	if m := <-got; m != "now" {
		t.Errorf("got %v", m)
	}
	for !fake.HasWaiters() { // the actor is between its two timers
		runtime.Gosched()
	}
	fake.Step(time.Minute)
	if m := <-got; m != "later" {
		t.Errorf("got %v", m)
	}
	if err := s.StopTree(t.Context(), pid); err != nil {
		t.Error(err)
	}
}

// A synchronized dispatcher runs the actor while it is being spawned.
func TestSynchronizedDispatcher(t *testing.T) {
	s := actors.New(actors.Options{Dispatcher: actor.NewSynchronizedDispatcher(300)})
	var l lines
	props, _ := s.Props(actors.KindPod, "a", actors.PodRef{}, func(*actors.Handle) actor.Actor {
		return &actorFunc{receive: logged(&l, func(ctx actor.Context) {
			switch ctx.Message() {
			case "one":
				ctx.Send(ctx.Self(), "two")
			case "two":
				ctx.Send(ctx.Self(), "three")
			default:
				if _, ok := ctx.Message().(*actor.Started); ok {
					ctx.Send(ctx.Self(), "one")
				}
			}
		})}
	})
	pid, err := s.SpawnRoot(props, "a", &actorFunc{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.StopTree(t.Context(), pid); err != nil {
		t.Error(err)
	}
	if got, want := l.String(), "Started one two three Stopping Stopped"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An actor that was not spawned with Props gets its messages too.
func TestWorkForAnUnarmouredActor(t *testing.T) {
	play(t, true, func(w *world) any {
		var l lines
		pid := w.engine.Root.Spawn(actor.PropsFromFunc(logged(&l, nil)))
		w.sys.After(pid, time.Second, "tick")
		w.sys.After(pid, time.Second, "canceled")()
		w.sys.Go(pid, func(context.Context) any { return "worked" })
		<-time.After(time.Minute)
		if got, want := l.String(), "Started worked tick"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}
