package image

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"k8s.io/utils/clock"
)

// A hiccup of the network should not cost a Pod its back-off of ten seconds, so a few quick tries are made; what lasts
// longer is the business of whoever called.
const (
	maxTries   = 4
	firstPause = 250 * time.Millisecond
)

// errStalled is a download on which nothing arrived for stallTimeout.
var errStalled = errors.New("no data for a minute")

// retry runs op until it succeeds, fails for good, or was tried maxTries times. op says whether it got further than
// before; then its failure does not count.
func retry(ctx context.Context, c clock.Clock, op func() (progress bool, err error)) error {
	pause := firstPause
	for tries := 1; ; tries++ {
		progress, err := op()
		if err == nil || ctx.Err() != nil || !isTransient(err) {
			return err
		}
		if progress {
			tries, pause = 1, firstPause
		}
		if tries == maxTries {
			return err
		}
		t := c.NewTimer(pause)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
		pause *= 3
	}
}

// isTransient says whether trying again can help.
func isTransient(err error) bool {
	if _, ok := errors.AsType[*plainHTTPError](err); ok {
		return false
	}
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		return isBusy(answer.StatusCode)
	}
	return errors.Is(err, errStalled) || isUnreachable(err)
}

func isBusy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	default:
		return status >= 500 && status != http.StatusNotImplemented
	}
}

// isUnreachable says whether the network or the server at the other end is at fault, not what was asked.
func isUnreachable(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op != "remote error" // a TLS alert: the other side understood and refused
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return true
	}
	// net/http has no types for these.
	return strings.Contains(err.Error(), "http2: server sent GOAWAY") || strings.Contains(err.Error(), "stream error:")
}

// isUnavailable says whether the reason is RegistryUnavailable.
func isUnavailable(err error) bool {
	if _, ok := errors.AsType[*plainHTTPError](err); ok || isTLS(err) {
		return false
	}
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		return answer.StatusCode >= 500
	}
	return errors.Is(err, errStalled) || isUnreachable(err)
}
