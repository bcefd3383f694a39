package cgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Instance is one instance of the module that has not started yet.
type Instance interface {
	// Run runs it to its end, in this goroutine and at most once. When ctx ends the guest does, too, at once.
	Run(ctx context.Context, in Input) Result
	// Close gives back what the instance holds, whether it ran or not. The guest must not run.
	Close()
}

// Instantiate makes an Instance. It is called from several goroutines at a time. When it fails after it has succeeded, the
// reason is taken for temporary: there is no memory.
type Instantiate func(ctx context.Context) (Instance, error)

// Input is what an instance gets besides the container's arguments and files.
type Input struct {
	// Env is K=V. Stdin is nil if there is no body.
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Result is how an instance ended.
type Result struct {
	// Code is its exit code; 0 is success. Message says more, if there is more to say, in one or several lines.
	Code    int32
	Message string
}

// Limits are what a client may ask of a handler.
type Limits struct {
	// Timeout bounds a request from its header to the end of the response, the wait for an instance included.
	Timeout time.Duration
	// MaxConcurrency bounds the instances that run at a time. QueueFactor times as many requests may wait for one.
	MaxConcurrency int
	// MaxBodyBytes bounds the body of a request.
	MaxBodyBytes int64
}

const (
	// QueueFactor is how many requests may wait for each that may run.
	QueueFactor = 4
	// MaxChunkedBytes bounds a body of unknown length. CONTENT_LENGTH must be right before the instance starts, so such a
	// body is read into memory first.
	MaxChunkedBytes = 128 << 10
	// MaxRequestHeaderBytes bounds the request line and header. net/http adds 4 KiB.
	MaxRequestHeaderBytes = 28 << 10
	// MaxResponseHeaderBytes bounds the header that an instance writes.
	MaxResponseHeaderBytes = 64 << 10
	// MaxConnections bounds the open connections. Further clients wait in the kernel until one is closed.
	MaxConnections = 1024
	// maxRedirects bounds the local redirects of one request.
	maxRedirects = 10

	// headerTimeout bounds how long a client may take for a header, idleTimeout how long a connection may wait for one.
	headerTimeout = 10 * time.Second
	idleTimeout   = 30 * time.Second
	// freshTimeout bounds how long a client that has just connected may take for its first request when the server is to end.
	freshTimeout = 5 * time.Second
	// refusalTimeout bounds how long a client may take to read a 504.
	refusalTimeout = 5 * time.Second
	// drainTimeout bounds how long a client may take to send the rest of a body that its guest did not read.
	drainTimeout = time.Second
	// maxDrain is how much of it is read; net/http, which closes the connection otherwise, has the same bound.
	maxDrain = 256 << 10
	// flushDelay is how long output of a guest waits for more of it before it is sent.
	flushDelay = 10 * time.Millisecond
)

// Config is what a Server is made of.
type Config struct {
	Limits Limits
	// Instantiate makes the instances. Ready is how many of them are kept for requests to come.
	Instantiate Instantiate
	Ready       int
	// Env is the container's own environment, K=V.
	Env []string
	// PassAuthorization shows the header Authorization to the guest, as HTTP_AUTHORIZATION.
	PassAuthorization bool
	// Software is SERVER_SOFTWARE, a product name and version as in "wazlet/1.0".
	Software string
	// Stdout gets the access log, Stderr what instances write there and what the server has to say about them. Both are
	// given whole lines, from several goroutines at a time.
	Stdout, Stderr io.Writer
	// Now is the clock of the access log; nil means time.Now.
	Now func() time.Time
}

func (c *Config) validate() error {
	var errs []error
	add := func(field, format string, args ...any) { errs = append(errs, fmt.Errorf(field+": "+format, args...)) }
	if c.Limits.Timeout <= 0 {
		add("limits.timeout", "want more than 0 (got %s)", c.Limits.Timeout)
	}
	if c.Limits.MaxConcurrency < 1 {
		add("limits.maxConcurrency", "want 1 or more (got %d)", c.Limits.MaxConcurrency)
	}
	if c.Limits.MaxBodyBytes < 0 {
		add("limits.maxBodyBytes", "want 0 or more (got %d)", c.Limits.MaxBodyBytes)
	}
	if c.Ready < 0 {
		add("ready", "want 0 or more (got %d)", c.Ready)
	}
	if c.Instantiate == nil || c.Stdout == nil || c.Stderr == nil {
		add("instantiate, stdout, stderr", "want all of them")
	}
	return errors.Join(errs...)
}

// failure is why a request has no response of the guest.
type failure struct {
	status int
	// why is for the log; empty: it is the client's fault, and there is nothing to say.
	why string
}

func (f *failure) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("%d %s: %s", f.status, http.StatusText(f.status), f.why), ": ")
}
