package image

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// pullError is what Ensure returns for a failed pull, in the words of the kubelet.
func pullError(r reference, err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return sentence(ErrImagePull, "Failed to pull image %q: %w", r.text, err)
	case isRefusal(err):
		return sentence(ErrImagePull, "Failed to pull image %q: cannot run it: %w", r.text, err)
	case isUnavailable(err):
		return sentence(RegistryUnavailable, "image pull failed for %s because the registry is unavailable: %w", r.text, err)
	default:
		return sentence(ErrImagePull, "Failed to pull image %q: %w", r.text, err)
	}
}

// answerError is what a registry answered, with what to do about it. It unwraps to ggcr's error.
type answerError struct {
	what string // what was asked for
	err  *transport.Error
}

func (e *answerError) Unwrap() error { return e.err }

func (e *answerError) Error() string {
	said := e.said()
	switch e.err.StatusCode {
	case http.StatusUnauthorized:
		return fmt.Sprintf("%s: unauthorized: %s; give credentials in a docker config file (--docker-config) or, for a Pod, in imagePullSecrets", e.what, said)
	case http.StatusForbidden:
		return fmt.Sprintf("%s: denied: %s; the credentials do not allow it", e.what, said)
	case http.StatusNotFound:
		return fmt.Sprintf("%s: not found: %s", e.what, said)
	case http.StatusTooManyRequests:
		return fmt.Sprintf("%s: the registry limits the rate: %s", e.what, said)
	default:
		return fmt.Sprintf("%s: HTTP status %d: %s", e.what, e.err.StatusCode, said)
	}
}

// said is the registry's own text, which may be anything.
func (e *answerError) said() string {
	var parts []string
	for _, d := range e.err.Errors {
		if d.Message != "" {
			parts = append(parts, fmt.Sprintf("%s: %s", d.Code, d.Message))
		} else {
			parts = append(parts, string(d.Code))
		}
	}
	if len(parts) == 0 {
		return strings.ToLower(http.StatusText(e.err.StatusCode))
	}
	return clip(strings.Join(parts, "; "), 300)
}

// explain says what to do about an error of the network layers. what names what was asked for.
func explain(what string, err error) error {
	var answer *transport.Error
	var unknownCA x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &unknownCA):
		return fmt.Errorf("%s: %w; add its authority to images.caFiles (--ca-file) or list the registry in images.insecureRegistries (--insecure-registry)", what, err)
	case errors.As(err, &wrongName):
		return fmt.Errorf("%s: %w", what, err)
	case errors.As(err, &answer):
		return &answerError{what: what, err: answer}
	case errors.As(err, &header), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%s: %w; if the registry speaks plain HTTP, list it in images.insecureRegistries (--insecure-registry)", what, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// isTLS says whether the two sides could not agree on a secure connection, which no waiting changes.
func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &verify) || errors.As(err, &header) || errors.As(err, &alert)
}
