package cgi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Server serves HTTP with instances of one module.
type Server struct {
	cfg  Config
	env  *environment
	gate gate
	pool *pool
	now  func() time.Time
	http http.Server

	// serving are the requests that are being answered; none begins once cut is set.
	mu      sync.Mutex
	cut     bool
	serving sync.WaitGroup

	// accepting are those that accept connections, fresh the connections that have had no request yet.
	accepting, fresh sync.WaitGroup
}

// New checks the configuration and makes the first instance: a module that cannot be instantiated fails here.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("http handler: %w", err)
	}
	first, err := cfg.Instantiate(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, env: newEnvironment(cfg.Env, cfg.Software, cfg.PassAuthorization),
		gate: newGate(cfg.Limits.MaxConcurrency, QueueFactor*cfg.Limits.MaxConcurrency),
		pool: newPool(cfg.Instantiate, max(1, cfg.Ready)), now: cfg.Now,
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.pool.ready <- first
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = http.Server{
		Handler: s, MaxHeaderBytes: MaxRequestHeaderBytes, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, Protocols: protocols,
		ConnContext: withConn, ErrorLog: slog.NewLogLogger(complaints{s}, slog.LevelError),
	}
	return s, nil
}

// Serve serves what comes in by the listeners until drain is closed. Then it closes them and returns when the requests that
// it had begun with are answered. When ctx ends it cuts every connection instead, and ends every instance. The error is
// that of a listener, which ends it, too.
func (s *Server) Serve(ctx context.Context, drain <-chan struct{}, listeners ...net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	fill, empty := context.WithCancel(ctx)
	defer empty()
	wg.Go(func() { s.pool.fill(fill) })
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	connections := make(chan struct{}, MaxConnections)
	errs := make(chan error, len(listeners))
	bound := make([]*bounded, len(listeners))
	for i, l := range listeners {
		bound[i] = newBounded(l, connections, &s.fresh)
		s.accepting.Go(func() { errs <- s.http.Serve(bound[i]) })
	}
	var err error
	select {
	case <-ctx.Done():
	case <-drain:
		s.settle(ctx, bound)
	case err = <-errs:
	}
	// There is no deadline: requests have one, and whoever ends this process has patience for them or none.
	if shut := s.http.Shutdown(ctx); shut != nil {
		err = errors.Join(err, s.http.Close())
		s.mu.Lock()
		s.cut = true
		s.mu.Unlock()
		s.serving.Wait() // their connections are cut, and their instances stopped
	}
	s.accepting.Wait()
	return err
}

// settle takes no more connections, and lets those that are there have their first request answered: net/http's Shutdown would close
// them on a client that has just sent it.
func (s *Server) settle(ctx context.Context, listeners []*bounded) {
	s.http.SetKeepAlivesEnabled(false)
	for _, l := range listeners {
		_ = l.Close() // an error would be the kernel's
	}
	s.accepting.Wait()
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		s.fresh.Wait() // until the last of them is closed, at the latest
	}()
	timer := time.NewTimer(freshTimeout)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// begin tells whether a request may be answered; then serving.Done must follow.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cut {
		s.serving.Add(1)
	}
	return !s.cut
}

// Close gives back what a Server holds that never served.
func (s *Server) Close() { s.pool.empty() }

// say writes a line of the server's own to stderr.
func (s *Server) say(format string, args ...any) {
	text := strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf(format, args...)), "\n", "\n\t")
	_, _ = fmt.Fprintf(s.cfg.Stderr, "wazlet: %s\n", text)
}

// complaints hands on what net/http has to complain about.
type complaints struct{ s *Server }

// Enabled implements slog.Handler.
func (complaints) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (c complaints) Handle(_ context.Context, r slog.Record) error {
	c.s.say("%s", r.Message)
	return nil
}

// WithAttrs implements slog.Handler.
func (c complaints) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup implements slog.Handler.
func (c complaints) WithGroup(string) slog.Handler { return c }
