package actors

import (
	"context"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
)

// bridge is protoactor's logger: zap, redacted.
func bridge(l *zap.Logger) *slog.Logger {
	return slog.New(redact{zapslog.NewHandler(l.Core(), zapslog.WithName("protoactor"))})
}

// redact keeps message contents out of the log: protoactor logs whole messages, and ours hold Pod specs. It also lowers
// what is not a warning to debug, because all of it is said better by an Event.
type redact struct{ next slog.Handler }

func (r redact) Enabled(ctx context.Context, l slog.Level) bool { return r.next.Enabled(ctx, lower(l)) }

func (r redact) Handle(ctx context.Context, in slog.Record) error {
	out := slog.NewRecord(in.Time, lower(in.Level), in.Message, in.PC)
	in.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(redacted(a))
		return true
	})
	return r.next.Handle(ctx, out)
}

func (r redact) WithAttrs(as []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(as))
	for i, a := range as {
		out[i] = redacted(a)
	}
	return redact{r.next.WithAttrs(out)}
}

func (r redact) WithGroup(name string) slog.Handler { return redact{r.next.WithGroup(name)} }

func lower(l slog.Level) slog.Level {
	if l < slog.LevelWarn {
		return slog.LevelDebug
	}
	return l
}

// redacted maps a PID to its id, an Exit to its reason, and whatever else is not a plain value to the name of its type.
func redacted(a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindGroup:
		var members []any
		for _, m := range a.Value.Group() {
			members = append(members, redacted(m))
		}
		return slog.Group(a.Key, members...)
	case slog.KindAny, slog.KindLogValuer:
	default:
		if a.Key == "message" {
			return slog.String(a.Key, a.Value.Kind().String())
		}
		return a
	}
	switch v := a.Value.Any().(type) {
	case *actor.PID:
		return slog.String(a.Key, v.GetId())
	case Exit:
		return slog.String(a.Key, string(v.Reason))
	default:
		return slog.String(a.Key, typeName(v))
	}
}
