package actors_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wazlet/wazlet/actors"
)

// secret is a message that nobody may see.
type secret struct{ Token string }

const password = "hunter2"

// notes §1.8, pitfall 15: protoactor logs the whole message that found no actor.
func TestDeadLettersTellNoSecrets(t *testing.T) {
	t.Run("raw", func(t *testing.T) {
		var out bytes.Buffer
		e := newRaw(&out)
		e.Root.Send(e.NewLocalPID("nobody"), secret{password})
		if !strings.Contains(out.String(), password) {
			t.Errorf("protoactor has changed: the log is %s", out.String())
		}
	})
	t.Run("armoured", func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		var events []actors.Event
		s := actors.New(actors.Options{
			Logger: zap.New(core), Observer: func(e actors.Event) { events = append(events, e) },
		})
		e := s.Engine()
		s.Root().Send(e.NewLocalPID("nobody"), secret{password})
		s.Root().Send(e.NewLocalPID("nobody"), &secret{password})
		s.Root().RequestWithCustomSender(e.NewLocalPID("nobody"), secret{password}, e.NewLocalPID("me"))
		s.Root().Send(e.NewLocalPID("nobody"), late{})
		s.Root().Stop(e.NewLocalPID("nobody"))
		var got []string
		for _, e := range events {
			d := e.(actors.DeadLetter)
			got = append(got, fmt.Sprintf("%s to %q from %q", d.Message, d.Target, d.Sender))
		}
		want := []string{
			`actors_test.secret to "nobody" from ""`, `*actors_test.secret to "nobody" from ""`,
			`actors_test.secret to "nobody" from "me"`,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("dead letters (-want +got):\n%s", d)
		}
		for _, l := range logs.All() {
			if s := fmt.Sprint(l); strings.Contains(s, password) {
				t.Errorf("the log tells: %s", s)
			}
		}
	})
}

// late is a message that says of itself that it may come too late.
type late struct{}

func (late) IgnoreDeadLetterLogging() {}

// Whatever protoactor may log, at any place, with any value.
func TestLogIsRedacted(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	l := actors.New(actors.Options{Logger: zap.New(core)}).Engine().Logger()
	logs.TakeAll()
	pid := actor.NewPID("nonhost", "node/a")
	l.With(slog.Any("message", secret{password})).WithGroup("g").Info("[DeadLetter]",
		slog.Any("pid", pid), slog.Any("message", secret{password}), slog.String("message", password),
		slog.Any("reason", actors.Exit{Reason: actors.ReasonError, Message: password}),
		slog.Any("crash", actors.Crash{Value: password}), slog.Any("nil", nil), slog.Int64("throttled", 3),
		slog.Group("inner", slog.Any("message", &secret{password})))
	l.Error("bad", slog.String("id", "x"))
	all := logs.All()
	if len(all) != 2 || all[0].Level != zapcore.DebugLevel || all[1].Level != zapcore.ErrorLevel {
		t.Fatalf("entries: %+v, want one at debug level and one at error level", all)
	}
	want := map[string]any{
		"message": "actors_test.secret",
		"g": map[string]any{
			"pid": "node/a", "message": "String", "reason": "Error", "crash": "actors.Crash", "nil": "nil",
			"throttled": int64(3), "inner": map[string]any{"message": "*actors_test.secret"},
		},
	}
	if d := cmp.Diff(want, all[0].ContextMap()); d != "" {
		t.Errorf("fields (-want +got):\n%s", d)
	}
	if got := fmt.Sprint(all); strings.Contains(got, password) {
		t.Errorf("the log tells: %s", got)
	}
}

// Whoever watches or asks an actor that does not exist is told so, although protoactor's own subscriber is gone.
func TestDeadLettersAreAnswered(t *testing.T) {
	play(t, true, func(w *world) any {
		var l lines
		w.spawn("a", of(logged(&l, func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				ctx.Watch(w.pid("nobody"))
				ctx.Request(w.pid("nobody"), "question")
			case *actor.Terminated:
				l.add("(%s %s)", m.Who.GetId(), m.Why)
			case *actor.DeadLetterResponse:
				l.add("(%s)", m.Target.GetId())
			}
		})))
		synctest.Wait()
		want := "Started Terminated (nobody NotFound) DeadLetterResponse (nobody)"
		if got := l.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

func TestUnhandled(t *testing.T) {
	play(t, true, func(w *world) any {
		pid := w.spawn("a", of(func(ctx actor.Context) { w.sys.Unhandled(ctx) }))
		w.engine.Root.Send(pid, secret{password})
		synctest.Wait()
		w.engine.Root.Stop(pid)
		synctest.Wait()
		if n := w.sys.Counters().Unhandled; n != 1 {
			t.Errorf("%d counted, want 1: lifecycle messages are no news", n)
		}
		e := w.rec.Events()
		if len(e) != 1 || e[0].(actors.DeadLetter).Target != "a" || e[0].(actors.DeadLetter).Message != "actors_test.secret" {
			t.Errorf("events: %+v", e)
		}
		return nil
	})
}

func TestTee(t *testing.T) {
	var l lines
	tee := actors.Tee(func(actors.Event) { l.add("first") }, nil, func(actors.Event) { l.add("second") })
	tee(actors.Notice{})
	if got := l.String(); got != "first second" {
		t.Errorf("got %q", got)
	}
}
