// Package logbridge carries what client-go logs (klog, logr) into zap. What a library calls an error is something that it
// tries again, so it becomes a warning here; its everyday messages (V 0 to 2) become info, chattier ones debug, and
// what may have secrets in it nothing at all.
package logbridge

import (
	"github.com/go-logr/logr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// everyday is the highest verbosity that the kubelet is run with by default.
	everyday = 2
	// most is the highest verbosity that is ever logged. Above it client-go writes headers and bodies of requests: Secrets
	// and tokens.
	most = 5
)

// New returns a logger that writes to log; nil writes nothing.
func New(log *zap.Logger) logr.Logger {
	if log == nil {
		return logr.Discard()
	}
	return logr.New(sink{log.WithOptions(zap.AddCallerSkip(2)).Sugar()})
}

type sink struct{ log *zap.SugaredLogger }

// Init implements logr.LogSink.
func (s sink) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (s sink) Enabled(level int) bool { return level <= most && s.log.Level().Enabled(zapLevel(level)) }

// Info implements logr.LogSink.
func (s sink) Info(level int, msg string, kv ...any) { s.log.Logw(zapLevel(level), msg, kv...) }

// Error implements logr.LogSink.
func (s sink) Error(err error, msg string, kv ...any) { s.log.With(zap.Error(err)).Warnw(msg, kv...) }

// WithValues implements logr.LogSink.
func (s sink) WithValues(kv ...any) logr.LogSink { return sink{s.log.With(kv...)} }

// WithName implements logr.LogSink.
func (s sink) WithName(name string) logr.LogSink { return sink{s.log.Named(name)} }

func zapLevel(verbosity int) zapcore.Level {
	if verbosity <= everyday {
		return zapcore.InfoLevel
	}
	return zapcore.DebugLevel
}
