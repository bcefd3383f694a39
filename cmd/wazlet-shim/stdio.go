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
	"github.com/wazlet/wazlet/moduleactor/logs"
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
	// input is the end of a pipe that the guest reads, if it has one.
	input *os.File
	// master and slave are its terminal, if it has one; shown is closed once all that was printed there is in the log.
	master, slave *os.File
	shown         chan struct{}
}

// open connects the guest with its log and with whoever attaches: by pipes, or by the terminal that the caller has set.
// Without stdin its input is empty.
func (t *stdio) open(spec bundle.Spec, log *logs.Writer, guest *engine.Guest) error {
	a := &t.audience
	a.once = spec.StdinOnce
	stdout, stderr := tee{log.Stdout(), a, ctl.Stdout}, tee{log.Stderr(), a, ctl.Stderr}
	guest.Stdin, guest.Stdout, guest.Stderr = nil, stdout, stderr
	switch {
	case t.master != nil:
		a.terminal = t.master
		guest.Stdout, guest.Stderr = t.slave, t.slave
		if spec.Stdin {
			a.stdin, guest.Stdin = t.master, t.slave
		}
		t.show(stdout)
	case spec.Stdin:
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		t.input, a.stdin, guest.Stdin = r, w, r
	}
	return nil
}

// show copies what is printed on the terminal, which is all stdout.
func (t *stdio) show(stdout io.Writer) {
	t.shown = make(chan struct{})
	go func() {
		defer close(t.shown)
		_, _ = io.Copy(stdout, t.master) // until EIO: the slave is closed
	}()
}

// verbs are what can be asked for.
func (t *stdio) verbs() map[string]ctl.Verb {
	return map[string]ctl.Verb{ctl.Attach: t.audience.attach}
}

// openStdio makes the streams, and the socket at which clients attach.
func (s *shim) openStdio() error {
	if s.spec.TTY {
		if err := s.openTerminal(); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
	}
	if err := s.stdio.open(s.spec, s.log, &s.guest); err != nil {
		return err
	}
	verbs := s.stdio.verbs()
	verbs[ctl.Refusals] = s.herald.serve
	server, err := ctl.Listen(s.dir, verbs)
	if err != nil {
		fmt.Fprintln(s.stderr, "wazlet-shim run: nobody can attach, nor hear of refusals after a restart of the daemon:", err)
		return nil
	}
	go server.Serve()
	return nil
}

// openTerminal makes a terminal, this process's controlling one. ^C ends the guest.
func (s *shim) openTerminal() (err error) {
	t := &s.stdio
	if t.master, t.slave, err = pty.Open(); err != nil {
		return err
	}
	if err := pty.Control(t.slave); err != nil {
		return fmt.Errorf("make it the controlling one: %w", err)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT)
	go func() {
		<-interrupted
		debug.SetGCPercent(-1)
		os.Exit(s.end(interruptedResult()))
	}()
	return nil
}

// interruptedResult is how a guest ends by ^C.
func interruptedResult() engine.Result {
	return engine.Result{Code: codeInterrupted, Reason: engine.Reason(bundle.Error), Message: "interrupted at its terminal"}
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

// close gives all of it back, in a process that goes on. Nobody is attached any more.
func (t *stdio) close() {
	for _, f := range []*os.File{t.input, t.audience.stdin, t.master, t.slave} {
		if f != nil {
			_ = f.Close() // it may be closed: the master is stdin too
		}
	}
}
