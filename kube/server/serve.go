package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/netutil"
)

// The kubelet's timeouts and limits. Log followers live as long as writeTimeout allows; hijacked connections (exec,
// attach, port-forward) have the idle timeout of Handlers instead.
const (
	idleTimeout    = 90 * time.Second
	readTimeout    = 4 * time.Hour
	writeTimeout   = 4 * time.Hour
	headerTimeout  = 32 * time.Second // the kubelet has none: a client that sends half a header would hold a connection for hours
	maxHeaderBytes = 1 << 20
	maxConnections = 2048 // nor a limit of these: strangers could take all descriptors that the daemon needs for its Pods
	shutdownGrace  = 5 * time.Second
	flushGrace     = 500 * time.Millisecond
)

// TLSConfig says how the server proves who it is and whose client certificates it believes.
type TLSConfig struct {
	// GetCertificate returns the serving certificate of the moment, so that a rotated one needs no restart. It is
	// called for each handshake.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ClientCAs returns the authorities of client certificates of the moment (see CAFile). It is called for each
	// handshake and for each request with a client certificate, so a removed authority also ends what it had let in.
	// A nil function or a nil pool: no client certificate is believed.
	ClientCAs func() *x509.CertPool
	// MinVersion is tls.VersionTLS12 when 0.
	MinVersion uint16
	// CipherSuites limits TLS 1.2; nil means Go's choice.
	CipherSuites []uint16
}

func (t TLSConfig) config() *tls.Config {
	base := &tls.Config{
		GetCertificate: t.GetCertificate,
		MinVersion:     max(t.MinVersion, tls.VersionTLS12),
		CipherSuites:   t.CipherSuites,
		NextProtos:     []string{"h2", "http/1.1"},
		// Certificates are verified for each request (authenticate.go): one that is expired or unknown may still be
		// sent beside a good token.
		ClientAuth: tls.RequestClientCert,
	}
	served := base.Clone()
	served.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientCAs = t.pool()
		return c, nil
	}
	return served
}

func (t TLSConfig) pool() *x509.CertPool {
	if t.ClientCAs == nil {
		return nil
	}
	return t.ClientCAs()
}

// Serve serves the kubelet's API on l, which it closes, until ctx is done; then every request's context is done too,
// hijacked connections included, and Serve returns nil once the handlers have returned, or an error that counts those
// that did not within 5 s. Every path asks for authentication and authorization, health checks too.
func Serve(ctx context.Context, l net.Listener, t TLSConfig, a Auth, h Handlers) error {
	guard, err := a.middleware(t, h.Logger)
	if err == nil && t.GetCertificate == nil {
		err = errors.New("serve the kubelet's API: TLSConfig.GetCertificate is not set")
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := newInFlight()
	s := &http.Server{
		Handler:           New(h, requests.middleware, guard),
		TLSConfig:         t.config(),
		IdleTimeout:       idleTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	if h.Logger != nil {
		s.ErrorLog = zap.NewStdLog(h.Logger)
	}
	ended := make(chan error, 1)
	context.AfterFunc(ctx, func() { ended <- shutdown(ctx, s, requests) })
	limit := h.MaxConnections
	if limit == 0 {
		limit = maxConnections
	}
	err = s.ServeTLS(netutil.LimitListener(l, limit), "", "")
	if ctx.Err() != nil {
		return <-ended
	}
	cancel() // the listener broke
	return errors.Join(fmt.Errorf("serve the kubelet's API: %w", err), <-ended)
}

// shutdown waits for the handlers, whose contexts are done, hijacked connections included, and then closes the rest.
func shutdown(ctx context.Context, s *http.Server, requests *inFlight) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	requests.close()
	left := requests.wait(bounded)
	// Shutdown lets the last answers go out, but it waits seconds for connections that never sent anything.
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushGrace)
	defer cancel()
	err := s.Shutdown(brief)
	if err != nil {
		err = s.Close()
	}
	if left > 0 {
		return fmt.Errorf("stop the kubelet's API: %d requests are still being served after %s", left, shutdownGrace)
	}
	return err
}
