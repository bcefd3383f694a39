package daemon

import (
	"io"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/cmd/wazlet/config"
)

// logger is the daemon's log; level and format can be changed while it is in use.
type logger struct {
	*zap.Logger
	settings atomic.Pointer[config.Logging]
}

func newLogger(c config.Logging, w io.Writer) *logger {
	l := &logger{}
	l.settings.Store(&c)
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.MessageKey = "time", "msg"
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	forPeople := encoding
	forPeople.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00") // of fields too, such as a certificate's end
	out := zapcore.Lock(zapcore.AddSync(w))
	l.Logger = zap.New(zapcore.NewTee( // of the two, only one is ever enabled
		zapcore.NewCore(zapcore.NewJSONEncoder(encoding), out, l.enabled(config.FormatJSON)),
		zapcore.NewCore(zapcore.NewConsoleEncoder(forPeople), out, l.enabled(config.FormatText)),
	))
	return l
}

func (l *logger) enabled(format config.LogFormat) zap.LevelEnablerFunc {
	return func(level zapcore.Level) bool {
		s := l.settings.Load()
		return s.Format == format && level >= zapLevel(s.Level)
	}
}

// debugVerbosity is from where on klog's numbers mean what we call debug.
const debugVerbosity = 4

// setVerbosity is for whoever looks at a node through its API: until the configuration is read again, everything is logged
// from verbosity 4 on, and below that what the configuration says.
func (d *daemon) setVerbosity(v int) {
	s := d.current.Load().Logging
	if v >= debugVerbosity {
		s.Level = config.LevelDebug
	}
	d.log.settings.Store(&s)
	d.log.Info("verbosity set", zap.Int("verbosity", v), zap.String("level", string(s.Level)))
}

func zapLevel(l config.LogLevel) zapcore.Level {
	switch l {
	case config.LevelDebug:
		return zapcore.DebugLevel
	case config.LevelWarn:
		return zapcore.WarnLevel
	case config.LevelError:
		return zapcore.ErrorLevel
	default:
		return zapcore.InfoLevel
	}
}

// logEvents is the observer that writes the node's log.
func logEvents(log *zap.Logger) actors.Observer {
	return func(e actors.Event) {
		switch e := e.(type) {
		case actors.Transition:
			log.Info("transition", append(podFields(e.Pod), zap.String("actor", e.Actor), zap.String("state", e.To),
				zap.String("from", e.From), zap.String("reason", e.Why))...)
		case actors.Decision:
			logDecision(log, e)
		case actors.Failure:
			log.Error("actor crashed", append(podFields(e.Pod), zap.String("actor", e.Actor), zap.String("reason", e.Reason),
				zap.String("message", e.Message), zap.String("stack", e.Stack))...)
		case actors.DeadLetter:
			log.Debug("dead letter", zap.String("actor", e.Target), zap.String("message", e.Message))
		case actors.Notice:
			write := log.Info
			if e.Warning {
				write = log.Warn
			}
			write("event", append(podFields(e.Pod), zap.String("container", e.FieldPath), zap.String("reason", string(e.Reason)),
				zap.String("message", e.Message))...)
		}
	}
}

func logDecision(log *zap.Logger, d actors.Decision) {
	log.Info("decision", append(podFields(d.Pod), zap.String("actor", d.Child), zap.String("container", d.Container),
		zap.String("reason", string(d.Reason)), zap.Int32("exit_code", d.Code), zap.Stringer("directive", d.Directive),
		zap.Int64("backoff_ms", d.Delay.Milliseconds()), zap.Int("attempt", d.Restarts))...)
}

func podFields(p actors.PodRef) []zap.Field {
	if p == (actors.PodRef{}) {
		return nil
	}
	return []zap.Field{zap.String("namespace", p.Namespace), zap.String("pod", p.Name), zap.String("pod_uid", p.UID)}
}
