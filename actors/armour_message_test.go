package actors_test

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/actors"
)

// counting is a dispatcher that counts how often a mailbox looks for messages.
type counting struct {
	actor.Dispatcher
	looks atomic.Int64
}

func (c *counting) Throughput() int {
	c.looks.Add(1)
	return c.Dispatcher.Throughput()
}

// notes §3, pitfall 6: a nil message makes the mailbox spin until the process ends.
func TestNilMessageSpins(t *testing.T) {
	t.Run("raw", func(t *testing.T) {
		e := newRaw(io.Discard)
		d := &counting{Dispatcher: actor.NewDefaultDispatcher(300)}
		pid := e.Root.Spawn(actor.PropsFromFunc(func(actor.Context) {}, actor.WithDispatcher(d)))
		e.Root.Send(pid, nil)
		p, _ := e.ProcessRegistry.Get(pid)
		for deadline := time.After(time.Minute); d.looks.Load() < 100_000; {
			select {
			case <-deadline:
				t.Fatal("protoactor has changed: a nil message does not spin any more")
			default:
			}
		}
		p.SendSystemMessage(pid, &actor.SuspendMailbox{}) // the only way to end it
	})
	t.Run("armoured", func(t *testing.T) {
		play(t, true, func(w *world) any {
			var l lines
			pid := w.spawn("a", of(logged(&l, nil)))
			w.engine.Root.Send(pid, nil)
			w.engine.Root.Send(pid, "hello")
			synctest.Wait() // returns only when nothing spins
			if got, want := l.String(), "Started hello"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			want := []actors.Event{actors.DeadLetter{Time: time.Now(), Target: "a", Message: "nil"}}
			if d := cmp.Diff(want, w.rec.Events()); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
			return nil
		})
	})
}

// A message that comes after the name is registered and before the mailbox has a dispatcher: the sender panics, and the
// actor never handles anything. A timer or a status update for a respawned actor can be that message.
func TestMessageBeforeTheMailboxStarts(t *testing.T) {
	both(t, "the sender panics", "Started early", func(w *world) (out string) {
		var l lines
		defer func() {
			if recover() != nil {
				out = "the sender panics"
			}
		}()
		p := w.props("a", of(logged(&l, nil)))
		p.Configure(actor.WithOnInit(func(ctx actor.Context) { w.engine.Root.Send(ctx.Self(), "early") }))
		if _, err := w.engine.Root.SpawnNamed(p, "a"); err != nil {
			w.t.Fatal(err)
		}
		synctest.Wait()
		return l.String()
	})
}

// notes §3, pitfall 8: the name is free as soon as the child has left the registry, but when the parent then processes
// Terminated of the old child, the new one falls out of its list: nobody will ever stop it.
func TestNameReuseBeforeTerminated(t *testing.T) {
	type result struct {
		spawned  bool
		orphaned bool
	}
	both(t, result{true, true}, result{false, false}, func(w *world) result {
		var r result
		var inTerminated error
		block := make(chan struct{})
		idle := of(func(actor.Context) {})
		pid := w.spawn("parent", of(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				w.child(ctx, "child", idle)
			case string:
				<-block // meanwhile the child stops
				_, err := ctx.SpawnNamed(w.props("child", idle), "child")
				r.spawned = err == nil
				if err != nil && !errors.Is(err, actor.ErrNameExists) {
					w.t.Errorf("spawn: %v, want %v", err, actor.ErrNameExists)
				}
			case *actor.Terminated:
				if !r.spawned {
					_, inTerminated = ctx.SpawnNamed(w.props("child", idle), "child")
				}
			}
		}))
		synctest.Wait()
		w.engine.Root.Send(pid, "respawn")
		synctest.Wait()
		w.engine.Root.Stop(w.pid("parent/child"))
		synctest.Wait()
		close(block)
		synctest.Wait()
		if inTerminated != nil {
			w.t.Errorf("in Terminated the name must be free: %v", inTerminated)
		}
		if !w.alive(w.pid("parent/child")) {
			w.t.Error("the second child does not live")
		}
		w.engine.Root.Stop(pid)
		synctest.Wait()
		r.orphaned = w.alive(w.pid("parent/child"))
		return r
	})
}

// notes §1.3: a PID names whoever has the name at the moment. Timers and workers of ours know whom they belong to.
func TestLateMessagesReachTheNextOwnerOfTheName(t *testing.T) {
	both(t, "Started Stopping Stopped Started tick", "Started Stopping Stopped Started", func(w *world) string {
		var l lines
		spawn := func() *actor.PID {
			return w.spawn("a", of(logged(&l, func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); !ok || l.String() != "Started" {
					return
				}
				self := ctx.Self()
				if w.sys != nil {
					w.sys.After(self, time.Second, "tick")
					return
				}
				time.AfterFunc(time.Second, func() { w.engine.Root.Send(self, "tick") })
			})))
		}
		pid := spawn()
		synctest.Wait()
		w.engine.Root.Stop(pid)
		synctest.Wait()
		spawn()
		<-time.After(2 * time.Second)
		synctest.Wait()
		if w.sys != nil && len(w.rec.Events()) > 0 {
			w.t.Errorf("a late timer made events: %v", w.rec.Events())
		}
		return l.String()
	})
}

// notes §1.5: after a restart the PID is the same, so timers of the failed instance reach the next one.
func TestTimerOfAFailedInstance(t *testing.T) {
	both(t, "first", "", func(w *world) string {
		var got lines
		starts := 0
		w.spawn("parent", func() actor.Actor {
			return &actorFunc{fail: restart, receive: func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); ok {
					w.child(ctx, "child", of(func(ctx actor.Context) {
						switch m := ctx.Message().(type) {
						case *actor.Started:
							if starts++; starts > 1 {
								return
							}
							self := ctx.Self()
							if w.sys != nil {
								w.sys.After(self, time.Second, "first")
							} else {
								time.AfterFunc(time.Second, func() { w.engine.Root.Send(self, "first") })
							}
							actors.Fail(ctx, actors.Exit{})
						case string:
							got.add("%s", m)
						}
					}))
				}
			}}
		})
		<-time.After(2 * time.Second)
		synctest.Wait()
		if starts != 2 {
			w.t.Errorf("%d starts, want 2", starts)
		}
		return got.String()
	})
}

// notes §1.4: a poison pill is a message, and a suspended actor reads none. Stop works. Hence Poison is banned.
func TestPoisonNeverReachesASuspendedActor(t *testing.T) {
	type result struct{ afterPoison, afterStop bool }
	want := result{true, false}
	both(t, want, want, func(w *world) result {
		w.spawn("parent", func() actor.Actor {
			return &actorFunc{receive: func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); ok {
					w.child(ctx, "child", of(func(ctx actor.Context) {
						if ctx.Message() == "fail" {
							actors.Fail(ctx, actors.Exit{}) // the parent does nothing about it: it is in back-off
						}
					}))
				}
			}}
		})
		synctest.Wait()
		child := w.pid("parent/child")
		w.engine.Root.Send(child, "fail")
		w.engine.Root.Poison(child) //nolint:forbidigo // to show why it is forbidden
		synctest.Wait()
		var r result
		r.afterPoison = w.alive(child)
		w.engine.Root.Stop(child)
		synctest.Wait()
		r.afterStop = w.alive(child)
		return r
	})
}

// notes §3, pitfall 16: system messages overtake what their sender sent before. That is why an Exit carries everything
// that the supervisor must know: there is no armour for it.
func TestFailureAndTerminatedOvertakeMessages(t *testing.T) {
	both(t, "busy failure *actor.Terminated last words", "busy failure *actor.Terminated last words", func(w *world) string {
		var l lines
		block := make(chan struct{})
		pid := w.spawn("parent", func() actor.Actor {
			return &actorFunc{
				fail: func(sup actor.Supervisor, child *actor.PID, _ any) {
					l.add("failure")
					sup.StopChildren(child)
				},
				receive: func(ctx actor.Context) {
					switch m := ctx.Message().(type) {
					case *actor.Started:
						w.child(ctx, "child", of(func(ctx actor.Context) {
							if ctx.Message() == "end" {
								ctx.Send(ctx.Parent(), "last words")
								actors.Fail(ctx, actors.Exit{})
								ctx.Stop(ctx.Self())
							}
						}))
					case string:
						l.add("%s", m)
						if m == "busy" {
							<-block
						}
					case *actor.Terminated:
						l.add("%T", m)
					}
				},
			}
		})
		synctest.Wait()
		w.engine.Root.Send(pid, "busy")
		synctest.Wait()
		w.engine.Root.Send(w.pid("parent/child"), "end")
		synctest.Wait()
		close(block)
		synctest.Wait()
		return l.String()
	})
}

// notes §3, pitfall 7: nothing bounds a mailbox, but everybody can see it.
func TestMailboxIsVisible(t *testing.T) {
	play(t, true, func(w *world) any {
		block := make(chan struct{})
		pid := w.spawn("a", of(func(ctx actor.Context) {
			if ctx.Message() == "block" {
				<-block
			}
		}))
		synctest.Wait()
		began := time.Now()
		w.engine.Root.Send(pid, "block")
		synctest.Wait()
		for i := range 1000 {
			w.engine.Root.Send(pid, i)
		}
		<-time.After(40 * time.Second)
		i := w.sys.Registry().Lookup("a").Info()
		if d := cmp.Diff(actors.MailboxInfo{Length: 1000, HighWater: 1000}, i.Mailbox); d != "" {
			t.Errorf("mailbox (-want +got):\n%s", d)
		}
		if d := cmp.Diff(&actors.Handling{Message: "string", Since: began}, i.Handling); d != "" {
			t.Errorf("handling (-want +got):\n%s", d)
		}
		want := []actors.Stall{{ID: "a", Kind: actors.KindModule, Message: "string", Since: began}}
		if d := cmp.Diff(want, w.sys.Registry().Stalled(time.Now(), 30*time.Second)); d != "" {
			t.Errorf("stalled (-want +got):\n%s", d)
		}
		close(block)
		synctest.Wait()
		i = w.sys.Registry().Lookup("a").Info()
		if i.Mailbox.Length != 0 || i.Mailbox.HighWater != 1000 || i.Handling != nil || i.Handled != 1002 {
			t.Errorf("afterwards: %+v, want an empty mailbox and 1002 messages handled", i)
		}
		if s := w.sys.Registry().Stalled(time.Now(), 0); len(s) != 0 {
			t.Errorf("stalled: %+v, want none", s)
		}
		return nil
	})
}

// An actor in back-off is suspended: its mailbox fills, and that is no fault.
func TestSuspendedActorIsNotStalled(t *testing.T) {
	play(t, true, func(w *world) any {
		parent := w.spawn("parent", func() actor.Actor {
			return &actorFunc{receive: func(ctx actor.Context) {
				switch ctx.Message().(type) {
				case *actor.Started:
					w.child(ctx, "child", of(func(ctx actor.Context) {
						if ctx.Message() == "fail" {
							actors.Fail(ctx, actors.Exit{})
						}
					}))
				case string:
					ctx.(actor.Supervisor).RestartChildren(w.pid("parent/child"))
				}
			}}
		})
		synctest.Wait()
		w.engine.Root.Send(w.pid("parent/child"), "fail")
		w.engine.Root.Send(w.pid("parent/child"), "wait")
		<-time.After(time.Minute)
		if s := w.sys.Registry().Stalled(time.Now(), time.Second); len(s) != 0 {
			t.Errorf("stalled: %+v, want none", s)
		}
		w.engine.Root.Send(parent, "restart")
		synctest.Wait()
		if i := w.sys.Registry().Lookup("parent/child").Info(); i.Restarts != 1 || i.Mailbox.Length != 0 {
			t.Errorf("after the restart: %+v", i)
		}
		return nil
	})
}

// notes §1.8: a subscriber of events that panics fails the actor that made the event.
func TestPanickingSubscriberFailsTheActor(t *testing.T) {
	t.Run("raw", func(t *testing.T) {
		play(t, false, func(w *world) any {
			w.engine.EventStream.Subscribe(func(e any) {
				if e == "event" {
					panic("subscriber")
				}
			})
			defer func() {
				if recover() == nil {
					t.Error("protoactor has changed: a panicking subscriber does not fail the publisher any more")
				}
			}()
			w.engine.EventStream.Publish("event")
			return nil
		})
	})
	t.Run("armoured", func(t *testing.T) {
		s := actors.New(actors.Options{Observer: func(actors.Event) { panic("observer") }})
		s.Observe(actors.Transition{})
		if n := s.Counters().Swallowed; n != 1 {
			t.Errorf("%d panics counted, want 1", n)
		}
	})
}

// notes §2.1: a guardian that escalates, or asks for its children, ends the process: the panic is on the goroutine of
// the failed actor, in a deferred function. Here it is on ours because of the synchronized dispatcher.
func TestGuardianThatEscalates(t *testing.T) {
	for name, bad := range map[string]func(actor.Supervisor){
		"escalates": func(s actor.Supervisor) { s.EscalateFailure("no", nil) },
		"children":  func(s actor.Supervisor) { s.StopChildren(s.Children()...) },
		"panics":    func(actor.Supervisor) { panic("strategy") },
	} {
		t.Run(name, func(t *testing.T) {
			strategy := &actorFunc{fail: func(s actor.Supervisor, _ *actor.PID, _ any) { bad(s) }}
			boom := func(ctx actor.Context) {
				if ctx.Message() == "boom" {
					panic("boom")
				}
			}
			func() {
				e := newRaw(io.Discard)
				defer func() {
					if recover() == nil {
						t.Error("protoactor has changed: the guardian's panic is caught")
					}
				}()
				pid := e.Root.Spawn(actor.PropsFromFunc(boom, actor.WithGuardian(strategy),
					actor.WithDispatcher(actor.NewSynchronizedDispatcher(300))))
				e.Root.Send(pid, "boom")
			}()
			s := actors.New(actors.Options{Dispatcher: actor.NewSynchronizedDispatcher(300)})
			props, _ := s.Props(actors.KindNode, "node", actors.PodRef{}, func(*actors.Handle) actor.Actor {
				return &actorFunc{receive: boom}
			})
			pid, err := s.SpawnRoot(props, "node", strategy)
			if err != nil {
				t.Fatal(err)
			}
			s.Root().Send(pid, "boom")
			_, alive := s.Engine().ProcessRegistry.Get(pid)
			if wantAlive := name == "panics"; alive != wantAlive {
				t.Errorf("alive is %t, want %t", alive, wantAlive)
			}
		})
	}
}

// unhashable is a strategy that cannot be a map key.
type unhashable struct{ _ []int }

func (unhashable) HandleFailure(
	_ *actor.ActorSystem, s actor.Supervisor, c *actor.PID, _ *actor.RestartStatistics, _, _ any,
) {
	s.ResumeChildren(c)
}

// notes §2.1: protoactor hashes the guardian's strategy.
func TestUnhashableGuardian(t *testing.T) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("protoactor has changed: it does not hash strategies any more")
			}
		}()
		newRaw(io.Discard).Root.Spawn(actor.PropsFromFunc(func(actor.Context) {}, actor.WithGuardian(unhashable{})))
	}()
	s := actors.New(actors.Options{})
	props, _ := s.Props(actors.KindNode, "node", actors.PodRef{}, func(*actors.Handle) actor.Actor {
		return &actorFunc{}
	})
	pid, err := s.SpawnRoot(props, "node", unhashable{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.StopTree(t.Context(), pid); err != nil {
		t.Error(err)
	}
	again, _ := s.Props(actors.KindNode, "node", actors.PodRef{}, func(*actors.Handle) actor.Actor { return &actorFunc{} })
	if _, err := s.SpawnRoot(again, "deadletter", unhashable{}); !errors.Is(err, actor.ErrNameExists) ||
		!strings.Contains(err.Error(), "deadletter") {
		t.Errorf("a taken name: %v", err)
	}
}
