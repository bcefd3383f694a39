package actors_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
)

// notes §2.2: a panic in Stopping or Stopped leaves the parent waiting for ever, whatever its strategy says.
func TestPanicWhileStoppingWedgesTheParent(t *testing.T) {
	type result struct{ parent, child bool }
	for name, strategy := range map[string]func(actor.Supervisor, *actor.PID, any){"restart": restart, "stop": stop} {
		for _, phase := range []string{"*actor.Stopping", "*actor.Stopped"} {
			t.Run(name+" after "+phase, func(t *testing.T) {
				scenario := func(w *world) result {
					parent := w.spawn("parent", func() actor.Actor {
						return &actorFunc{fail: strategy, receive: func(ctx actor.Context) {
							if _, ok := ctx.Message().(*actor.Started); ok {
								w.child(ctx, "child", of(panicIn(phase)))
							}
						}}
					})
					synctest.Wait()
					w.engine.Root.Stop(parent)
					synctest.Wait()
					if w.sys != nil && w.sys.Counters().Swallowed != 1 {
						t.Errorf("counters: %+v, want one swallowed panic", w.sys.Counters())
					}
					return result{w.alive(parent), w.alive(w.pid("parent/child"))}
				}
				both(t, result{parent: true, child: phase == "*actor.Stopping"}, result{}, scenario)
			})
		}
	}
}

// A panic at the end of the last child is as bad: the end is not acted on.
func TestPanicInTerminatedWhileStopping(t *testing.T) {
	both(t, true, false, func(w *world) bool {
		top := w.spawn("top", func() actor.Actor {
			return &actorFunc{fail: restart, receive: func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); ok {
					w.child(ctx, "middle", of(func(ctx actor.Context) {
						switch ctx.Message().(type) {
						case *actor.Started:
							if !w.alive(w.pid("top/middle/leaf")) {
								w.child(ctx, "leaf", of(func(actor.Context) {}))
							}
						case *actor.Terminated:
							panic("in Terminated")
						}
					}))
				}
			}}
		})
		synctest.Wait()
		w.engine.Root.Stop(top)
		synctest.Wait()
		return w.alive(top)
	})
}

func panicIn(phase string) func(actor.Context) {
	return func(ctx actor.Context) {
		if fmt.Sprintf("%T", ctx.Message()) == phase {
			panic("in " + phase)
		}
	}
}

// notes §2.2: a panic in Restarting asks for another restart, and so on.
func TestPanicInRestartingLoops(t *testing.T) {
	const limit = 20 // the loop has no end
	both(t, limit, 1, func(w *world) int {
		failures := 0
		w.spawn("parent", func() actor.Actor {
			return &actorFunc{
				fail: func(sup actor.Supervisor, child *actor.PID, _ any) {
					if failures++; failures < limit {
						sup.RestartChildren(child)
					}
				},
				receive: func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok {
						w.child(ctx, "child", of(func(ctx actor.Context) {
							panicIn("*actor.Restarting")(ctx)
							panicIn("string")(ctx)
						}))
					}
				},
			}
		})
		synctest.Wait()
		w.engine.Root.Send(w.pid("parent/child"), "boom")
		synctest.Wait()
		return failures
	})
}

// notes §2.2, pitfall 1: a restart that is queued behind a stop runs an actor that nobody can address.
func TestRestartAfterStopMakesAZombie(t *testing.T) {
	both(t, "Started busy Stopping Stopped Restarting Started", "Started busy Stopping Stopped", func(w *world) string {
		var l lines
		release := make(chan struct{})
		pid := w.spawn("a", of(logged(&l, func(ctx actor.Context) {
			if ctx.Message() == "busy" {
				<-release
			}
		})))
		w.engine.Root.Send(pid, "busy")
		synctest.Wait()
		w.post(pid, &actor.Stop{}, &actor.Restart{})
		close(release)
		synctest.Wait()
		if w.sys != nil && w.sys.Counters().Zombies != 1 {
			w.t.Errorf("counters: %+v, want one zombie refused", w.sys.Counters())
		}
		return l.String()
	})
}

// notes §2.2, pitfall 1: a restart that reaches an actor while its children stop brings it back to life, and whoever
// waits for its end waits for ever. This is what a late back-off timer does.
func TestRestartWhileStoppingResurrects(t *testing.T) {
	type result struct {
		alive bool
		log   string
	}
	raw := result{true, "Started Stopping Restarting Terminated Started"}
	armoured := result{false, "Started Stopping Terminated Stopped"}
	both(t, raw, armoured, func(w *world) result {
		var l lines
		release := make(chan struct{})
		pid := w.spawn("a", of(logged(&l, func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok && len(ctx.Children()) == 0 && l.String() == "Started" {
				w.child(ctx, "slow", of(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Stopping); ok {
						<-release
					}
				}))
			}
		})))
		synctest.Wait()
		w.engine.Root.Stop(pid)
		synctest.Wait()
		w.post(pid, &actor.Restart{})
		synctest.Wait()
		close(release)
		synctest.Wait()
		if w.sys != nil && w.sys.Counters().Resurrected != 1 {
			w.t.Errorf("counters: %+v, want one resurrection refused", w.sys.Counters())
		}
		return result{w.alive(pid), l.String()}
	})
}

// notes §1.4: messages are delivered while an actor waits for its children to stop. It would begin what nobody ends.
func TestMessagesWhileHalting(t *testing.T) {
	for _, c := range []struct {
		name, raw, armoured string
		halt                any
	}{
		{
			"stopping", "Started Stopping late Terminated Stopped", "Started Stopping Terminated Stopped", &actor.Stop{},
		},
		{
			"restarting", "Started Restarting late Terminated Started", "Started Restarting Terminated Started late",
			&actor.Restart{},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, c.raw, c.armoured, func(w *world) string {
				var l lines
				release := make(chan struct{})
				pid := w.spawn("a", of(logged(&l, func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok && l.String() == "Started" {
						w.child(ctx, "slow", of(func(ctx actor.Context) {
							if _, ok := ctx.Message().(*actor.Stopping); ok {
								<-release
							}
						}))
					}
				})))
				synctest.Wait()
				w.post(pid, c.halt)
				synctest.Wait()
				w.engine.Root.Send(pid, "late")
				synctest.Wait()
				close(release)
				synctest.Wait()
				return l.String()
			})
		})
	}
}

// A second restart while the children of the first one still stop makes the old instance clean up twice.
func TestRestartWhileRestarting(t *testing.T) {
	raw, armoured := "Started Restarting Restarting Terminated Started", "Started Restarting Terminated Started"
	both(t, raw, armoured, func(w *world) string {
		var l lines
		release := make(chan struct{})
		pid := w.spawn("a", of(logged(&l, func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok && l.String() == "Started" {
				w.child(ctx, "slow", of(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Stopping); ok {
						<-release
					}
				}))
			}
		})))
		synctest.Wait()
		w.post(pid, &actor.Restart{}, &actor.Restart{})
		synctest.Wait()
		close(release)
		synctest.Wait()
		if w.sys != nil && w.sys.Counters() != (actors.Counters{}) {
			w.t.Errorf("counters: %+v, want none: it is harmless", w.sys.Counters())
		}
		return l.String()
	})
}

// notes §2.2: runtime.Goexit (t.FailNow) in Receive leaves an actor that is registered and deaf.
func TestGoexitDeafensTheActor(t *testing.T) {
	both(t, "Started", "Started Restarting Started hello", func(w *world) string {
		var l lines
		pid := w.spawn("a", of(func(ctx actor.Context) {
			if ctx.Message() == "exit" {
				runtime.Goexit()
			}
			logged(&l, nil)(ctx)
		}))
		synctest.Wait()
		w.engine.Root.Send(pid, "exit")
		synctest.Wait()
		w.engine.Root.Send(pid, "hello")
		synctest.Wait()
		if w.sys != nil {
			f := failures(w)
			if len(f) != 1 || !strings.Contains(f[0].Reason, "runtime.Goexit") || f[0].Message != "string" {
				w.t.Errorf("failures: %+v, want one that names runtime.Goexit", f)
			}
		}
		return l.String()
	})
}

func failures(w *world) []actors.Failure {
	var out []actors.Failure
	for _, e := range w.rec.Events() {
		if f, ok := e.(actors.Failure); ok {
			out = append(out, f)
		}
	}
	return out
}

func TestGoexitWhileStopping(t *testing.T) {
	both(t, true, false, func(w *world) bool {
		pid := w.spawn("a", of(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Stopping); ok {
				runtime.Goexit()
			}
		}))
		synctest.Wait()
		w.engine.Root.Stop(pid)
		synctest.Wait()
		return w.alive(pid)
	})
}

// notes §3, pitfall 11: the instance that is about to be replaced is still asked to decide about its children.
func TestHaltingSupervisorStillDecides(t *testing.T) {
	both(t, 1, 0, func(w *world) int {
		asked := 0
		release := make(chan struct{})
		pid := w.spawn("parent", func() actor.Actor {
			return &actorFunc{
				fail: func(sup actor.Supervisor, child *actor.PID, _ any) {
					asked++
					sup.StopChildren(child)
				},
				receive: func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok && !w.alive(w.pid("parent/child")) {
						w.child(ctx, "child", of(func(ctx actor.Context) {
							if ctx.Message() == "fail late" {
								<-release
								actors.Fail(ctx, actors.Exit{})
							}
						}))
					}
				},
			}
		})
		synctest.Wait()
		w.engine.Root.Send(w.pid("parent/child"), "fail late")
		synctest.Wait()
		w.engine.Root.Stop(pid)
		synctest.Wait()
		close(release)
		synctest.Wait()
		if w.alive(pid) {
			w.t.Error("the parent did not stop")
		}
		return asked
	})
}

// A child that is spawned while its parent stops is told to stop by nobody.
func TestSpawnWhileStopping(t *testing.T) {
	both(t, true, false, func(w *world) bool {
		first := true
		var spawned error
		pid := w.spawn("parent", of(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				w.child(ctx, "child", of(func(actor.Context) {}))
			case *actor.Terminated:
				if first {
					first = false
					_, spawned = ctx.SpawnNamed(w.props("again", of(func(actor.Context) {})), "again")
				}
			}
		}))
		synctest.Wait()
		w.engine.Root.Stop(pid)
		synctest.Wait()
		if w.sys != nil && !errors.Is(spawned, actors.ErrHalting) {
			w.t.Errorf("spawn returned %v, want %v", spawned, actors.ErrHalting)
		}
		return w.alive(pid)
	})
}

// A producer that panics at a restart must leave an actor that can be restarted again.
func TestPanicInProducerAtRestart(t *testing.T) {
	both(t, "Started Restarting Restarting Started", "Started Restarting Restarting Started", func(w *world) string {
		var l lines
		made := 0
		w.spawn("parent", func() actor.Actor {
			return &actorFunc{fail: restart, receive: func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); ok {
					w.child(ctx, "child", func() actor.Actor {
						if made++; made == 2 {
							panic("cannot be made")
						}
						return &actorFunc{receive: func(ctx actor.Context) {
							if ctx.Message() == "fail" {
								actors.Fail(ctx, actors.Exit{})
								return
							}
							logged(&l, nil)(ctx)
						}}
					})
				}
			}}
		})
		synctest.Wait()
		w.engine.Root.Send(w.pid("parent/child"), "fail")
		synctest.Wait()
		return l.String()
	})
}

// notes §3, pitfall 10: a child that is blocked in Receive keeps the whole tree from stopping. No kill exists; the
// deadline says who it is.
func TestStopTreeNamesWhoBlocks(t *testing.T) {
	play(t, true, func(w *world) any {
		release := make(chan struct{})
		pid := w.spawn("node", of(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); !ok {
				return
			}
			w.child(ctx, "good", of(func(actor.Context) {}))
			w.child(ctx, "bad", of(func(ctx actor.Context) {
				if ctx.Message() == "block" {
					<-release
				}
			}))
		}))
		synctest.Wait()
		w.engine.Root.Send(w.pid("node/bad"), "block")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
		defer cancel()
		err := w.sys.StopTree(ctx, pid)
		want := "stop node: context deadline exceeded; still running: node/bad (handling string for 30s), node"
		if err == nil || err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
			w.t.Errorf("got  %v\nwant %s", err, want)
		}
		close(release)
		if err := w.sys.StopTree(w.t.Context(), pid); err != nil {
			w.t.Errorf("after the block: %v", err)
		}
		if err := w.sys.StopTree(w.t.Context(), pid); err != nil {
			w.t.Errorf("of what is gone: %v", err)
		}
		return nil
	})
}

// notes §3, pitfall 17: Shutdown stops no actor.
func TestShutdownStopsNothing(t *testing.T) {
	got := play(t, false, func(w *world) bool {
		pid := w.spawn("a", of(func(actor.Context) {}))
		w.engine.Shutdown()
		synctest.Wait()
		return w.alive(pid)
	})
	if !got {
		t.Error("protoactor has changed: Shutdown stops actors now")
	}
}
