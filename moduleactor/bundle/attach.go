package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/wazlet/wazlet/moduleactor/bundle/ctl"
	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
	"github.com/wazlet/wazlet/moduleactor/bundle/wire"
)

// AttachOptions are a client's streams.
type AttachOptions struct {
	// Stdin may be nil, and may stay open longer than the guest runs: its reader is left behind in a last Read. A guest that
	// takes no input does not see it.
	Stdin io.Reader
	// Stdout and Stderr may be nil. Who reads too slowly is let go with an error. A guest with a terminal has no Stderr.
	Stdout, Stderr io.Writer
	// Resize tells of the terminal's sizes; nil without one.
	Resize <-chan pty.Size
}

// Attach streams what a running guest prints from now on, and gives it input, until the guest ends, or ctx, or the
// Runtime. The end of Stdin ends it too, unless the container has stdinOnce.
func (r *Runtime) Attach(ctx context.Context, id ID, o AttachOptions) error {
	p, err := r.Adopt(ctx, id)
	if err == nil {
		err = p.attach(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("attach to %s: %w", id, err)
	}
	return nil
}

func (p *Process) attach(ctx context.Context, o AttachOptions) error {
	select {
	case <-p.done:
		return ErrNotRunning
	default:
	}
	c, err := p.dialShim(ctx, ctl.AttachRequest{Request: ctl.Request{Version: ctl.Version, Verb: ctl.Attach}, Stdin: o.Stdin != nil})
	if err != nil {
		return err
	}
	defer c.Close()
	hangUp := func() { _ = c.Close() }
	defer context.AfterFunc(ctx, hangUp)()
	defer context.AfterFunc(p.rt.ctx, hangUp)() //nolint:contextcheck // the runtime ends for its own reasons
	ended := make(chan struct{})
	defer close(ended)
	if o.Stdin != nil {
		go pump(input{c}, endless{o.Stdin, c})
	}
	if o.Resize != nil {
		go sendSizes(c, o.Resize, ended)
	}
	if err := receive(c, o); ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// dialShim connects to the shim. A shared one is handed a connection, since it has no socket for each attempt.
func (p *Process) dialShim(ctx context.Context, request ctl.AttachRequest) (*ctl.Conn, error) {
	if p.link == nil {
		c, err := ctl.Dial(ctx, p.dir, request, nil)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("its shim, of an older release, cannot be attached to; restart the container: %w", err)
		}
		return c, err
	}
	near, far, err := ctl.Pair()
	if err != nil {
		return nil, err
	}
	_, err = p.link.call(wire.Message{Op: wire.Attach, Bundle: p.dir}, far)
	_ = far.Close()
	if err != nil {
		return nil, errors.Join(err, near.Close())
	}
	return ctl.Open(ctx, near, request, nil)
}

// receive writes the guest's output until its end.
func receive(c *ctl.Conn, o AttachOptions) error {
	for {
		kind, payload, err := c.ReadFrame()
		if err != nil {
			return nil //nolint:nilerr // a shim that was killed has no last words
		}
		to := io.Discard
		switch {
		case kind == ctl.End && len(payload) > 0:
			return fmt.Errorf("%.500s", payload)
		case kind == ctl.End:
			return nil
		case kind == ctl.Stdout && o.Stdout != nil:
			to = o.Stdout
		case kind == ctl.Stderr && o.Stderr != nil:
			to = o.Stderr
		}
		if _, err := to.Write(payload); err != nil {
			return err
		}
	}
}

// input writes frames of input.
type input struct{ c *ctl.Conn }

func (i input) Write(p []byte) (int, error) {
	if _, err := i.c.Write(ctl.AppendFrame(nil, ctl.Stdin, p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// endless tells the shim of the end of input.
type endless struct {
	io.Reader
	c *ctl.Conn
}

func (e endless) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err != nil && n == 0 {
		_ = e.c.WriteFrame(ctl.StdinEnd, nil)
	}
	return n, err
}

func sendSizes(c *ctl.Conn, sizes <-chan pty.Size, ended <-chan struct{}) {
	for {
		select {
		case s, ok := <-sizes:
			if !ok || c.WriteFrame(ctl.Resize, ctl.EncodeSize(s)) != nil {
				return
			}
		case <-ended:
			return
		}
	}
}
