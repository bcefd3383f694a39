package main

import (
	"errors"
	"net"
	"os"

	"github.com/wazlet/wazlet/moduleactor/bundle/ctl"
	"github.com/wazlet/wazlet/moduleactor/engine"
)

// errInterrupted ends the context of an instance whose terminal got ^C.
var errInterrupted = &engine.Stop{Result: interruptedResult()}

var errStarting = errors.New("the container is only starting")

// openStdio makes the streams. The terminal is one that the daemon has opened: this process can open none, and it has many
// guests, so that none of their terminals can be its controlling one.
func (i *instance) openStdio() (err error) {
	t := &i.stdio
	if t.master, t.slave, err = i.attempt.TakeTerminal(); err != nil {
		return err
	}
	t.audience.interrupt = func() { i.cancel(errInterrupted) }
	if err := t.open(i.spec, i.log, &i.guest); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.attachable = true
	return nil
}

// attach has a client attach whose connection was received. There is no socket for each guest: it would cost all of them
// a descriptor for what few are asked for.
func (i *instance) attach(f *os.File) error {
	conn, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.attachable {
		_ = conn.Close()
		return errStarting
	}
	if i.clients == nil {
		i.clients = ctl.New(i.stdio.verbs())
	}
	i.clients.Take(conn)
	return nil
}
