package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/ctl"
	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
	"github.com/wazlet/wazlet/moduleactor/engine"
)

const (
	// codeInterrupted is 128 + SIGINT.
	codeInterrupted = 130
	// lastOutput bounds the wait for what a guest printed on a terminal before it was ended in the middle of something.
	lastOutput = 500 * time.Millisecond
)

// stdio are the guest's standard streams when it has a log.
type stdio struct {
	audience audience
	// master and slave are its terminal, if it has one; shown is closed once all that was printed there is in the log.
	master, slave *os.File
	shown         chan struct{}
}

// openStdio connects the guest with its log and with whoever attaches: by pipes, or by a terminal. Without stdin its input
// is empty.
func (s *shim) openStdio() error {
	a := &s.stdio.audience
	a.once = s.spec.StdinOnce
	stdout, stderr := tee{s.log.Stdout(), a, ctl.Stdout}, tee{s.log.Stderr(), a, ctl.Stderr}
	s.guest.Stdin, s.guest.Stdout, s.guest.Stderr = nil, stdout, stderr
	switch {
	case s.spec.TTY:
		if err := s.openTerminal(stdout); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
	case s.spec.Stdin:
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		a.stdin, s.guest.Stdin = w, r
	}
	server, err := ctl.Listen(s.dir, map[string]ctl.Verb{ctl.Attach: a.attach})
	if err != nil {
		fmt.Fprintln(s.stderr, "wazlet-shim run: nobody can attach:", err)
		return nil
	}
	go server.Serve()
	return nil
}

// openTerminal gives the guest a terminal, this process's controlling one, whose output is all stdout. ^C ends the guest.
func (s *shim) openTerminal(stdout io.Writer) (err error) {
	t := &s.stdio
	if t.master, t.slave, err = pty.Open(); err != nil {
		return err
	}
	if err := pty.Control(t.slave); err != nil {
		return fmt.Errorf("make it the controlling one: %w", err)
	}
	t.audience.terminal = t.master
	s.guest.Stdout, s.guest.Stderr = t.slave, t.slave
	if s.spec.Stdin {
		t.audience.stdin, s.guest.Stdin = t.master, t.slave
	}
	t.shown = make(chan struct{})
	go func() {
		defer close(t.shown)
		_, _ = io.Copy(stdout, t.master) // until EIO: the slave is closed
	}()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT)
	go func() {
		<-interrupted
		debug.SetGCPercent(-1)
		os.Exit(s.end(engine.Result{Code: codeInterrupted, Reason: engine.Reason(bundle.Error), Message: "interrupted at its terminal"}))
	}()
	return nil
}

// drain waits until what the guest printed on its terminal is in the log.
func (t *stdio) drain() {
	if t.shown == nil {
		return
	}
	_ = t.slave.Close()
	// The guest may be in the middle of a read, which keeps the slave open.
	_ = t.master.SetReadDeadline(time.Now().Add(lastOutput))
	<-t.shown
}
