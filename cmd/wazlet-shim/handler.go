package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/cgi"
	"github.com/wazlet/wazlet/moduleactor/engine"
)

const (
	// readyInstances are kept for requests to come.
	readyInstances = 4
	// handlerGCPercent lets garbage, of which each request makes some 10 KB, grow to 8 MiB before it is collected.
	handlerGCPercent = 200
)

// serve makes a server of the container until SIGTERM comes. It answers what it has begun with and ends with 0, or is
// killed before.
func (s *shim) serve(ctx context.Context, p *engine.Program) engine.Result {
	// Instances run beside each other, on as many CPUs as the cgroup has.
	runtime.SetDefaultGOMAXPROCS()
	debug.SetGCPercent(handlerGCPercent)
	drain := make(chan struct{})
	h := handler{spec: s.spec, guest: s.guest, drain: drain, budget: engine.NewBudget(s.spec.LinearMemory()), entered: s.entered}
	s.budget = h.budget
	stop := context.CancelFunc(sync.OnceFunc(func() { close(drain) }))
	s.stop.Store(&stop)
	return h.serve(ctx, p)
}

// handler is a container that serves HTTP: each request is an instance of its program.
type handler struct {
	spec bundle.Spec
	// guest is what all instances have in common.
	guest engine.Guest
	// drain is closed when it is to end, but may answer what it has begun with.
	drain <-chan struct{}
	// budget is the memory of all instances.
	budget *engine.Budget
	// entered says that the container runs.
	entered func() error
}

// serve serves until drain is closed or ctx ends.
func (h handler) serve(ctx context.Context, p *engine.Program) engine.Result {
	listeners, err := h.listeners()
	if err != nil {
		return startError(err)
	}
	defer func() { _ = h.budget.Close() }() // an error would be the kernel's
	guest := h.guest                        // what it inherits and is told is the server's
	guest.Preopens, guest.Signals, guest.Drain, guest.Memory, guest.Entered = nil, nil, nil, nil, nil
	guest.OutputBytesPerSecond = 0 // what it prints is the answer, which has limits of its own
	limits := h.spec.Handler
	server, err := cgi.New(ctx, cgi.Config{
		Limits: cgi.Limits{Timeout: limits.Timeout, MaxConcurrency: limits.MaxConcurrency, MaxBodyBytes: limits.MaxBodyBytes},
		Instantiate: func(ctx context.Context) (cgi.Instance, error) {
			i, err := p.Instantiate(ctx, memoryOf(h.spec).Within(h.budget))
			if err != nil {
				return nil, err
			}
			return &request{i, guest}, nil
		},
		Ready: min(readyInstances, limits.MaxConcurrency), Env: h.spec.Env, PassAuthorization: limits.PassAuthorization, Software: software(),
		Stdout: h.guest.Stdout, Stderr: h.guest.Stderr,
	})
	if err == nil {
		if err = h.entered(); err != nil {
			server.Close()
		}
	}
	if err != nil {
		closeAll(listeners)
		return startError(err)
	}
	if err := server.Serve(ctx, h.drain, listeners...); err != nil {
		return engine.Result{Code: codeFailed, Reason: engine.Error, Message: "serve HTTP: " + err.Error()}
	}
	return engine.Result{Reason: engine.Completed}
}

// listeners are the container's TCP ports.
func (h handler) listeners() ([]net.Listener, error) {
	var out []net.Listener
	for i, p := range h.guest.Preopens {
		if h.spec.Listeners[i].Network != bundle.NetworkTCP {
			continue
		}
		l, err := net.FileListener(p.File)
		if err != nil {
			closeAll(out)
			return nil, fmt.Errorf("listen at port %s: %w", p.Name, err)
		}
		out = append(out, l)
	}
	if len(out) == 0 {
		return nil, errors.New("an HTTP handler has no port to listen at")
	}
	return out, nil
}

func software() string {
	if version == "" {
		return "wazlet"
	}
	return "wazlet/" + version
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}

// request is the instance that answers one.
type request struct {
	*engine.Instance
	guest engine.Guest
}

// Run implements cgi.Instance.
func (i *request) Run(ctx context.Context, in cgi.Input) cgi.Result {
	g := i.guest
	g.Env, g.Stdin, g.Stdout, g.Stderr = in.Env, in.Stdin, in.Stdout, in.Stderr
	res := i.Instance.Run(ctx, g)
	return cgi.Result{Code: res.Code, Message: res.Message}
}

// Close implements cgi.Instance.
func (i *request) Close() { _ = i.Instance.Close(context.Background()) } // an error would be the kernel's
