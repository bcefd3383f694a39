package bundle

import (
	"errors"
	"fmt"
	"time"
)

// HandlerCGI is the protocol of an instance for each request: CGI/1.1, RFC 3875.
const HandlerCGI = "cgi"

// Handler makes an HTTP server of a container: each request is one instance of its module. The shim serves on the
// container's listeners; SIGTERM lets the requests that have begun be answered.
type Handler struct {
	// Protocol is how an instance gets its request: HandlerCGI.
	Protocol string `json:"protocol"`
	// Timeout bounds a request.
	Timeout time.Duration `json:"timeoutNanos"`
	// MaxConcurrency bounds the instances that run at a time.
	MaxConcurrency int `json:"maxConcurrency"`
	// MaxBodyBytes bounds the body of a request.
	MaxBodyBytes int64 `json:"maxBodyBytes"`
	// PassAuthorization shows the header Authorization to the guest.
	PassAuthorization bool `json:"passAuthorization,omitempty"`
}

func (h *Handler) validate() error {
	if h == nil {
		return nil
	}
	var errs []error
	add := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("handler."+field+": "+format, args...))
	}
	if h.Protocol != HandlerCGI {
		add("protocol", "want %s (got %.80q)", HandlerCGI, h.Protocol)
	}
	if h.Timeout <= 0 {
		add("timeoutNanos", "want more than 0 (got %d)", h.Timeout)
	}
	if h.MaxConcurrency < 1 {
		add("maxConcurrency", "want 1 or more (got %d)", h.MaxConcurrency)
	}
	if h.MaxBodyBytes < 0 {
		add("maxBodyBytes", "want 0 or more (got %d)", h.MaxBodyBytes)
	}
	return errors.Join(errs...)
}
