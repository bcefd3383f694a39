package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine"
)

// The codes of guests that were ended: 128 + SIGTERM and 128 + SIGKILL.
const (
	codeTerminated = 143
	codeKilled     = 137
)

// ending is what both ways out of a shim share: the guest's end and SIGTERM.
type ending struct {
	// once is locked by whoever writes exit.json, and not unlocked: the process ends next.
	once      sync.Mutex
	startedAt atomic.Pointer[time.Time]
	// stop, once it is set, is what SIGTERM does.
	stop atomic.Pointer[context.CancelFunc]
}

// watchTerminate makes SIGTERM a message, from the first moment on.
func watchTerminate() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	return c
}

// ignoreTerminal ignores what a terminal sends, which is none of a daemon's child's business. In the foreground both keep
// their meaning: the Go runtime ends the process.
func ignoreTerminal() { signal.Ignore(syscall.SIGINT, syscall.SIGHUP) }

// maxSignals is how many signals wait for a guest that does not look. More of them are lost, as on any Unix.
const maxSignals = 16

// passOn gives the signals to the guest, which has asked for them: it ends by itself, or is killed when its time is over.
// SIGTERM is passed on once: a daemon that was restarted meanwhile sends it again.
func (s *shim) passOn(terminated <-chan os.Signal) {
	signals := make(chan byte, maxSignals)
	s.guest.Signals = signals
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for {
			var number byte
			select {
			case <-terminated:
				number, terminated = byte(syscall.SIGTERM), nil
			case <-hangup:
				number = byte(syscall.SIGHUP)
			}
			select {
			case signals <- number:
			default:
			}
		}
	}()
}

// endOn ends the process when SIGTERM comes, once the guest's clients are served: it can do nothing else about the signal;
// an HTTP handler does it by itself. A guest that does not come to an end is killed when its time is over. While it computes
// without calling the host, a garbage collection would wait for it for ever; hence none is started any more.
func (s *shim) endOn(ctx context.Context, terminated <-chan os.Signal) {
	<-terminated
	if stop := s.stop.Load(); stop != nil {
		(*stop)()
		return
	}
	s.guest.Drain.Finish(ctx)
	debug.SetGCPercent(-1)
	os.Exit(s.end(engine.Result{Code: codeTerminated, Reason: engine.Reason(bundle.Killed), Message: "terminated by SIGTERM"}))
}

// end flushes the log, writes exit.json and returns the exit code of the process, which must exit with it.
func (s *shim) end(res engine.Result) int {
	s.once.Lock()
	s.stdio.drain()
	if s.log != nil {
		if err := s.log.Close(); err != nil {
			fmt.Fprintln(s.stderr, "wazlet-shim run: close the log:", err)
		}
	}
	e := bundle.Exit{
		Code: res.Code, Reason: bundle.ExitReason(res.Reason), Message: res.Message,
		FinishedAt: time.Now(), PeakMemoryBytes: s.guest.Memory.Peak(),
	}
	if s.budget != nil {
		e.PeakMemoryBytes = uint64(s.budget.Peak())
	}
	if at := s.startedAt.Load(); at != nil {
		e.StartedAt = *at
	}
	if err := s.attempt.End(e); err != nil {
		fmt.Fprintln(s.stderr, "wazlet-shim run:", err)
		return codeFailed
	}
	s.stdio.audience.end()
	return int(e.Code)
}
