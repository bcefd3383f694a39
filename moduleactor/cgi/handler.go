package cgi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// statusClientGone is what nginx logs for a client that did not wait for the response.
const statusClientGone = 499

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		panic(http.ErrAbortHandler)
	}
	defer s.serving.Done()
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		c.asked()
	}
	x := &exchange{s: s, w: &counted{ResponseWriter: w}, r: r, begin: s.now()}
	defer x.logAccess()
	x.serve(r.Context())
}

// exchange is one request with its response.
type exchange struct {
	s     *Server
	w     *counted
	r     *http.Request
	begin time.Time
}

func (x *exchange) serve(ctx context.Context) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	timedOut := make(chan struct{})
	timer := time.AfterFunc(x.s.cfg.Limits.Timeout, func() {
		defer close(timedOut)
		stop(errTimeout)
		// A guest that waits for the client must notice, too. After that the connection is of no use.
		c := http.NewResponseController(x.w)
		_, _ = c.SetReadDeadline(longAgo()), c.SetWriteDeadline(longAgo())
	})
	f := x.respond(ctx, stop)
	if !timer.Stop() {
		<-timedOut // before another deadline is set
	}
	if f == nil {
		return
	}
	if f.why != "" {
		x.s.say("%s %.200q: %s", x.r.Method, x.r.RequestURI, f.why)
	}
	x.refuse(f, errors.Is(context.Cause(ctx), errTimeout))
}

// refuse tells the client of a failure, or cuts the connection if it is too late for that.
func (x *exchange) refuse(f *failure, timedOut bool) {
	if f.status == 0 || f.status == statusClientGone {
		x.w.gone = f.status == statusClientGone
		panic(http.ErrAbortHandler)
	}
	h := x.w.Header()
	if timedOut {
		_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(refusalTimeout))
		h.Set("Connection", "close")
	}
	if f.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	text := strconv.Itoa(f.status) + " " + http.StatusText(f.status) + "\n"
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	x.w.WriteHeader(f.status)
	_, _ = io.WriteString(x.w, text) // the client is gone otherwise
}

// respond does what there is to do. The failure's status is 0 if the client has had one already.
func (x *exchange) respond(ctx context.Context, stop context.CancelCauseFunc) *failure {
	if f := x.check(); f != nil {
		return f
	}
	if err := x.s.gate.enter(ctx); err != nil {
		if !errors.Is(err, errFull) && !errors.Is(context.Cause(ctx), errTimeout) {
			return &failure{status: statusClientGone}
		}
		return &failure{status: http.StatusServiceUnavailable}
	}
	in := request{r: x.r, length: x.r.ContentLength}
	switch {
	case in.length > 0:
		// Without it the first byte of the response would cost the guest the rest of the body.
		_ = http.NewResponseController(x.w).EnableFullDuplex()
		b := newBody(x.r)
		in.body = b
		defer b.drain(ctx) // once there is room for others
	case in.length < 0:
		if f := in.buffer(x.s.cfg.Limits.MaxBodyBytes); f != nil {
			x.s.gate.leave()
			return f
		}
	}
	return x.run(ctx, stop, in)
}

// run runs as many instances as local redirects make it.
func (x *exchange) run(ctx context.Context, stop context.CancelCauseFunc, in request) *failure {
	defer x.s.pool.nudge()
	defer x.s.gate.leave()
	for range maxRedirects + 1 {
		target, f := x.once(ctx, stop, in)
		if f != nil || target == "" {
			return f
		}
		var err error
		if in, err = in.redirected(target); err != nil {
			return &failure{http.StatusBadGateway, err.Error()}
		}
	}
	return &failure{http.StatusBadGateway, fmt.Sprintf("more than %d local redirects", maxRedirects)}
}

// check refuses what no instance is needed for.
func (x *exchange) check() *failure {
	switch {
	case x.r.ProtoMajor != 1: // net/http hands on how a client begins that knows HTTP/2 in advance
		return &failure{status: http.StatusHTTPVersionNotSupported}
	case x.r.Method == http.MethodConnect:
		return &failure{status: http.StatusNotImplemented}
	case strings.IndexByte(x.r.URL.Path, 0) >= 0:
		return &failure{status: http.StatusBadRequest} // it would end the variable
	case x.r.ContentLength > x.s.cfg.Limits.MaxBodyBytes:
		return &failure{status: http.StatusRequestEntityTooLarge}
	}
	return nil
}

// once runs one instance.
func (x *exchange) once(ctx context.Context, stop context.CancelCauseFunc, in request) (redirect string, f *failure) {
	instance, err := x.s.pool.take(ctx)
	if err != nil {
		return "", &failure{http.StatusServiceUnavailable, "no instance: " + err.Error()}
	}
	defer instance.Close()
	out, errs := newResponse(x.w, stop), &lines{w: x.s.cfg.Stderr}
	input := Input{Env: x.s.env.of(in.r, in.body != nil, in.length), Stdout: out, Stderr: errs}
	if in.body != nil {
		input.Stdin = in.body
	}
	res := instance.Run(ctx, input)
	errs.flush()
	return out.end(res, context.Cause(ctx))
}

// request is what one instance is to answer.
type request struct {
	r *http.Request
	// body is nil if there is none, otherwise length bytes.
	body   io.Reader
	length int64
}

// buffer reads a body of unknown length, which becomes known.
func (q *request) buffer(most int64) *failure {
	bound := min(most, MaxChunkedBytes)
	b, err := io.ReadAll(io.LimitReader(q.r.Body, bound+1))
	switch {
	case int64(len(b)) > bound && bound == most:
		return &failure{status: http.StatusRequestEntityTooLarge}
	case int64(len(b)) > bound:
		return &failure{status: http.StatusLengthRequired}
	case err != nil:
		return &failure{status: http.StatusBadRequest}
	}
	q.body, q.length = bytes.NewReader(b), int64(len(b))
	return nil
}

// redirected is the request that a local redirect asks for (section 6.2.2).
func (q *request) redirected(target string) (request, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil || strings.IndexByte(u.Path, 0) >= 0 {
		return request{}, fmt.Errorf("the Location %.80q is no path", target)
	}
	r := *q.r
	r.URL, r.RequestURI, r.Header = u, target, q.r.Header.Clone()
	if r.Method != http.MethodHead {
		r.Method = http.MethodGet
	}
	return request{r: &r}, nil
}

// longAgo is a deadline that has passed.
func longAgo() time.Time { return time.Unix(1, 0) }

// counted counts what a response has.
type counted struct {
	http.ResponseWriter
	status int
	bytes  int64
	gone   bool
}

// WriteHeader notes the status.
func (c *counted) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

// Write counts the body.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

// Unwrap lets an http.ResponseController through.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
