package main

import (
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

// codeTerminated is 128 + SIGTERM.
const codeTerminated = 143

// ending is what both ways out of a shim share: the guest's end and SIGTERM.
type ending struct {
	// once is locked by whoever writes exit.json, and not unlocked: the process ends next.
	once      sync.Mutex
	startedAt atomic.Pointer[time.Time]
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

// endOn ends the process when SIGTERM comes. WASI has no signals, so there is nothing that the guest could do about it.
// While the guest computes without calling the host, a garbage collection would wait for it for ever; hence none is
// started any more.
func (s *shim) endOn(terminated <-chan os.Signal) {
	<-terminated
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
