package actors_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/actors"
)

// What /debug/actors serves, to the letter (architecture.md §6).
func TestInfoJSON(t *testing.T) {
	play(t, true, func(w *world) any {
		handles := map[string]*actors.Handle{}
		hold, block := make(chan struct{}), make(chan struct{})
		spawnKind := func(kind actors.Kind, id, name string, receive func(actor.Context)) *actor.Props {
			p, h := w.sys.Props(kind, name, actors.PodRef{UID: "u1"}, func(*actors.Handle) actor.Actor {
				return &actorFunc{receive: receive, fail: restart}
			})
			handles[id] = h
			return p
		}
		child := spawnKind(actors.KindPod, "node/u1", "default/web", func(ctx actor.Context) {
			switch ctx.Message() {
			case "hold":
				<-hold
			case "boom":
				panic("boom")
			case "block":
				<-block
			}
		})
		node := spawnKind(actors.KindNode, "node", "edge-1", func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				if _, err := ctx.SpawnNamed(child, "u1"); err != nil {
					w.t.Error(err)
				}
			}
		})
		if _, err := w.sys.SpawnRoot(node, "node", &actorFunc{}); err != nil {
			w.t.Fatal(err)
		}
		synctest.Wait()
		w.engine.Root.Send(w.pid("node/u1"), "hold")
		synctest.Wait()
		for _, m := range []any{"boom", "block", "waits"} {
			w.engine.Root.Send(w.pid("node/u1"), m)
		}
		close(hold)
		synctest.Wait()
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		handles["node"].Publish("Ready", at)
		handles["node/u1"].Publish("Running", at)
		handles["node/u1"].NextRestart(at.Add(time.Minute))
		got, err := json.MarshalIndent(w.sys.Registry().Snapshot(), "", " ")
		if err != nil {
			w.t.Fatal(err)
		}
		const want = `[
 {
  "id": "node",
  "parent": "",
  "kind": "node",
  "name": "edge-1",
  "state": "Ready",
  "since": "2026-01-02T03:04:05Z",
  "mailbox": {
   "length": 0,
   "highWater": 0
  },
  "handling": null,
  "handled": 2,
  "restarts": 0,
  "nextRestart": null,
  "lastFailure": null
 },
 {
  "id": "node/u1",
  "parent": "node",
  "kind": "pod",
  "name": "default/web",
  "state": "Running",
  "since": "2026-01-02T03:04:05Z",
  "mailbox": {
   "length": 1,
   "highWater": 3
  },
  "handling": {
   "message": "string",
   "since": "2000-01-01T00:00:00Z"
  },
  "handled": 4,
  "restarts": 1,
  "nextRestart": "2026-01-02T03:05:05Z",
  "lastFailure": {
   "time": "2000-01-01T00:00:00Z",
   "reason": "Crash",
   "message": "panic: boom while handling string",
   "stack": "STACK"
  }
 }
]`
		stack := w.sys.Registry().Lookup("node/u1").Info().LastFailure.Stack
		if !strings.Contains(stack, "TestInfoJSON") {
			t.Errorf("the stack does not show the culprit:\n%s", stack)
		}
		quoted, _ := json.Marshal(stack)
		text := strings.Replace(string(got), string(quoted), `"STACK"`, 1)
		text = strings.ReplaceAll(text, time.Now().Format(time.RFC3339), "2000-01-01T00:00:00Z")
		if d := cmp.Diff(want, text); d != "" {
			t.Errorf("JSON (-want +got):\n%s", d)
		}
		var back []actors.Info
		if err := json.Unmarshal(got, &back); err != nil || back[1].Kind != actors.KindPod {
			t.Errorf("read back: %+v, %v", back, err)
		}
		handles["node/u1"].NextRestart(time.Time{})
		if n := handles["node/u1"].Info().NextRestart; n != nil {
			t.Errorf("next restart is %v after it was taken back", n)
		}
		close(block)
		return nil
	})
}

func TestRegistryForgetsTheStopped(t *testing.T) {
	play(t, true, func(w *world) any {
		pid := w.spawn("parent", of(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				w.child(ctx, "child", of(func(actor.Context) {}))
			}
		}))
		synctest.Wait()
		r := w.sys.Registry()
		if r.Len() != 2 || r.Lookup("parent/child").PID().GetId() != "parent/child" {
			t.Errorf("%d actors, want 2", r.Len())
		}
		if err := w.sys.StopTree(w.t.Context(), pid); err != nil {
			t.Error(err)
		}
		if r.Len() != 0 || r.Lookup("parent") != nil {
			t.Errorf("left: %+v", r.Snapshot())
		}
		return nil
	})
}

// A mailbox that fills while nothing is taken out of it counts from the last message that was.
func TestStalledMailbox(t *testing.T) {
	var queue []func()
	now := &manual{now: epoch}
	s := actors.New(actors.Options{Clock: now, Dispatcher: held{&queue}})
	props, _ := s.Props(actors.KindPod, "a", actors.PodRef{}, func(*actors.Handle) actor.Actor { return &actorFunc{} })
	pid, err := s.SpawnRoot(props, "a", &actorFunc{})
	if err != nil {
		t.Fatal(err)
	}
	s.Root().Send(pid, "never read")
	now.now = epoch.Add(time.Minute)
	s.Root().Send(pid, "nor this")
	want := []actors.Stall{{ID: "a", Kind: actors.KindPod, Since: epoch.Local()}}
	if d := cmp.Diff(want, s.Registry().Stalled(now.now, 30*time.Second)); d != "" {
		t.Errorf("stalled (-want +got):\n%s", d)
	}
	if got := s.Registry().Stalled(now.now, time.Minute); len(got) != 0 {
		t.Errorf("stalled for more than a minute: %+v, want none", got)
	}
	queue[0]()
	if got := s.Registry().Stalled(now.now.Add(time.Hour), 0); len(got) != 0 {
		t.Errorf("stalled after all was read: %+v, want none", got)
	}
}

// manual is a clock that only tells the time.
type manual struct {
	actors.Clock
	now time.Time
}

func (m *manual) Now() time.Time { return m.now }

// held is a dispatcher that runs nothing.
type held struct{ queue *[]func() }

func (h held) Schedule(f func()) { *h.queue = append(*h.queue, f) }

func (h held) Throughput() int { return 1 }

func TestEnumNames(t *testing.T) {
	for got, want := range map[string]string{
		actors.KindNode.String(): "node", actors.KindPod.String(): "pod", actors.KindModule.String(): "module",
		actors.DirectiveRestart.String(): "Restart", actors.DirectiveStop.String(): "Stop",
		actors.Permanent.String(): "Permanent", actors.Transient.String(): "Transient",
		actors.Temporary.String(): "Temporary",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestKindText(t *testing.T) {
	if _, err := json.Marshal(actors.Kind(9)); err == nil || !strings.Contains(err.Error(),
		"kind of actor: must be node, pod or module (got 9)") {
		t.Errorf("an unknown kind: %v", err)
	}
	var k actors.Kind
	err := json.Unmarshal([]byte(`"guest"`), &k)
	if err == nil || err.Error() != `kind of actor: must be node, pod or module (got "guest")` {
		t.Errorf("an unknown name: %v", err)
	}
}

// A decorated context hides the supervisor; Fail must not lose the ending.
func TestFailInADecoratedContext(t *testing.T) {
	play(t, true, func(w *world) any {
		p := w.props("a", of(func(ctx actor.Context) {
			if ctx.Message() == "fail" {
				actors.Fail(ctx, actors.Exit{})
			}
		}))
		p.Configure(actor.WithContextDecorator(func(next actor.ContextDecoratorFunc) actor.ContextDecoratorFunc {
			return func(ctx actor.Context) actor.Context { return struct{ actor.Context }{next(ctx)} }
		}))
		var reason any
		pid, err := w.sys.SpawnRoot(p, "a", &actorFunc{fail: func(_ actor.Supervisor, _ *actor.PID, r any) { reason = r }})
		if err != nil {
			w.t.Fatal(err)
		}
		w.engine.Root.Send(pid, "fail")
		synctest.Wait()
		if c, ok := reason.(actors.Crash); !ok || c.Value != "actors.Fail in a: the context is decorated" {
			t.Errorf("reason: %+v", reason)
		}
		return nil
	})
}

// A panic with an Exit is an ending like any other, not a bug.
func TestPanicWithAnExit(t *testing.T) {
	play(t, true, func(w *world) any {
		want := actors.Exit{Reason: actors.ReasonError, Code: 3}
		p := w.props("a", of(func(ctx actor.Context) {
			if ctx.Message() == "fail" {
				panic(want)
			}
		}))
		var reason any
		pid, err := w.sys.SpawnRoot(p, "a", &actorFunc{fail: func(_ actor.Supervisor, _ *actor.PID, r any) { reason = r }})
		if err != nil {
			w.t.Fatal(err)
		}
		w.engine.Root.Send(pid, "fail")
		synctest.Wait()
		if reason != want || len(w.rec.Events()) != 0 {
			t.Errorf("reason: %+v, events %v", reason, w.rec.Events())
		}
		return nil
	})
}
