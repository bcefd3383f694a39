package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	maxResize    = 1 << 10 // bytes of one message that tells of a terminal's size
	pendingSizes = 16
)

// channels are the streams of one exec or attach by version 5 of the protocol. Each WebSocket message begins with the
// number of its channel: 0 to 2 are the standard streams, 3 takes the status when all is over, 4 brings the terminal's
// sizes as JSON, and 255 closes the channel whose number follows, which is how a client ends its input and still gets
// the output. Version 4, which cri-streaming speaks, is the same without 255.
type channels struct {
	ws     *websocket.Conn
	stdin  *io.PipeWriter    // nil: not wanted
	resize chan TerminalSize // nil: no terminal
	active func()            // called for each message, in either direction

	writing sync.Mutex
	frame   []byte
}

// serveV5 serves one exec or attach: run does it, and status is what its result is called.
func (h Handlers) serveV5(u *upgradable, r *http.Request, e executor, status func(error) metav1.Status) {
	ws, err := openSocket(u, r, protocolV5)
	if err != nil {
		return // it has been answered
	}
	defer keepAlive(u, ws)()
	defer u.close()
	idle := time.AfterFunc(h.streamIdle(), func() {
		u.lost(fmt.Errorf("%w: no traffic for %s", ErrClientGone, h.streamIdle()))
		u.close()
	})
	defer idle.Stop()
	c := &channels{ws: ws, active: func() { idle.Reset(h.streamIdle()) }}
	stdin, streams := c.streams(e.options)
	received := make(chan struct{})
	go func() {
		defer close(received)
		err := guarded(c.receive)
		u.lost(fmt.Errorf("%w: %w", ErrClientGone, err))
		c.endInput()
	}()
	ctx, ended := context.WithCancel(r.Context())
	context.AfterFunc(ctx, func() { time.AfterFunc(lingering, u.close) })
	err = c.greet(e.options)
	if err == nil {
		err = e.guard(ctx, streams)
	}
	ended()
	_ = stdin.Close() // what still comes is dropped
	if !errors.Is(context.Cause(r.Context()), ErrClientGone) {
		c.finish(status(err))
		<-received // closing now could take the status from a client that is still sending
	}
	u.close()
	<-received
}

// streams are the session's ends of what the client asked for; closing stdin drops what is not read yet.
func (c *channels) streams(o *remotecommand.Options) (stdin *io.PipeReader, s Streams) {
	stdin, w := io.Pipe()
	if o.Stdin {
		c.stdin = w
	}
	if o.TTY {
		c.resize = make(chan TerminalSize, pendingSizes)
	}
	return stdin, executor{options: o}.streams(stdin, channel{c, remotecommand.StreamStdOut}, channel{c, remotecommand.StreamStdErr}, c.resize)
}

// greet tells the client that the session has begun, by an empty message of the first channel that it reads.
func (c *channels) greet(o *remotecommand.Options) error {
	switch {
	case o.Stdout:
		return c.send(remotecommand.StreamStdOut, nil)
	case o.Stderr:
		return c.send(remotecommand.StreamStdErr, nil)
	default:
		return c.send(remotecommand.StreamErr, nil)
	}
}

// finish ends the session. A client that is gone needs no status, so its errors are of no interest.
func (c *channels) finish(status metav1.Status) {
	if data, err := json.Marshal(status); err == nil {
		_ = c.send(remotecommand.StreamErr, data)
	}
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Time{})
}

// receive takes the client's messages until it is gone, and says how. It waits where the guest does not read its input:
// the protocol knows no other way to hold a client back.
func (c *channels) receive() error {
	for {
		_, message, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		c.active()
		if err := c.take(message); err != nil {
			return err
		}
	}
}

// take takes one message. An error of reading it will be that of reading the next, too.
func (c *channels) take(message io.Reader) error {
	var number [1]byte
	if n, _ := io.ReadFull(message, number[:]); n == 0 {
		return nil
	}
	switch number[0] {
	case remotecommand.StreamStdIn:
		if c.stdin != nil {
			_, _ = io.Copy(c.stdin, message) // fails when the command has ended or the client had closed it
		}
	case remotecommand.StreamResize:
		c.size(message)
	case remotecommand.StreamClose:
		var closed [2]byte
		n, _ := io.ReadFull(message, closed[:])
		if n != 1 || closed[0] > remotecommand.StreamResize {
			return fmt.Errorf("message that closes a channel: want the number of one from 0 to %d, got % x", remotecommand.StreamResize, closed[:n])
		}
		if closed[0] == remotecommand.StreamStdIn && c.stdin != nil {
			_ = c.stdin.Close()
		}
	}
	return nil // cri-streaming ignores other channels, too
}

// size passes a size on, without waiting for a command that does not ask: the newest ones count.
func (c *channels) size(message io.Reader) {
	var size TerminalSize
	if c.resize == nil || json.NewDecoder(io.LimitReader(message, maxResize)).Decode(&size) != nil {
		return
	}
	for {
		select {
		case c.resize <- size:
			return
		default:
		}
		select {
		case <-c.resize:
		default:
		}
	}
}

// endInput is called after the last message.
func (c *channels) endInput() {
	if c.stdin != nil {
		_ = c.stdin.Close()
	}
	if c.resize != nil {
		close(c.resize)
	}
}

func (c *channels) send(number byte, data []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.active()
	c.frame = append(append(c.frame[:0], number), data...)
	return c.ws.WriteMessage(websocket.BinaryMessage, c.frame)
}

// A channel is what the command prints to.
type channel struct {
	of     *channels
	number byte
}

func (c channel) Write(p []byte) (int, error) {
	if err := c.of.send(c.number, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// execStatus and attachStatus are what cri-streaming tells clients of the older versions.
func execStatus(err error) metav1.Status {
	exit, ok := errors.AsType[utilexec.ExitError](err)
	if !ok || !exit.Exited() {
		return failure("error executing command in container", err)
	}
	return metav1.Status{
		Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason,
		Message: fmt.Sprintf("command terminated with non-zero exit code: %v", exit),
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{
			{Type: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(exit.ExitStatus())},
		}},
	}
}

func attachStatus(err error) metav1.Status { return failure("error attaching to container", err) }

func failure(what string, err error) metav1.Status {
	if err == nil {
		return metav1.Status{Status: metav1.StatusSuccess}
	}
	return metav1.Status{
		Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError, Code: http.StatusInternalServerError,
		Message: fmt.Sprintf("Internal error occurred: %s: %v", what, err),
	}
}
