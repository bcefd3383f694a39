package image

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// wire is the HTTP transport to all registries. It decides, for each host, whether plain HTTP and unknown certificates
// are allowed: ggcr by itself would send credentials in the clear to every private address.
type wire struct {
	strict, lax *http.Transport
	insecure    map[string]bool // host or host:port, lower case
}

// plainHTTPError is a request that would have gone over the network readable for everyone.
type plainHTTPError struct{ host string }

func (e *plainHTTPError) Error() string {
	return fmt.Sprintf("plain HTTP to %s is not allowed; if that is what you want, list %q in images.insecureRegistries (--insecure-registry)", e.host, e.host)
}

func newWire(insecure, caFiles []string) (*wire, error) {
	pool, err := authorities(caFiles)
	if err != nil {
		return nil, err
	}
	w := &wire{insecure: map[string]bool{}}
	for i, h := range insecure {
		if h == "" || strings.ContainsAny(h, "/ @") {
			return nil, fmt.Errorf("insecureRegistries[%d]: %q is not host or host:port", i, h)
		}
		w.insecure[strings.ToLower(h)] = true
	}
	w.strict = newTransport(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	//nolint:gosec // only for hosts that the administrator listed as insecure
	w.lax = newTransport(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true})
	return w, nil
}

// authorities is the system's pool with the given files added.
func authorities(files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil //nolint:nilnil // nil is the system's pool
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for i, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("caFiles[%d]: %w", i, err)
		}
		if !pool.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("caFiles[%d]: %s: no PEM certificate in it", i, file)
		}
	}
	return pool, nil
}

func newTransport(t *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       t,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   4,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // blobs are what they are; anything else would break digests and ranges
	}
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	lax := w.isInsecure(req.URL.Host)
	if req.URL.Scheme != "https" && !lax && !isLoopback(req.URL.Hostname()) {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &plainHTTPError{host: req.URL.Host}
	}
	if lax {
		return w.lax.RoundTrip(req)
	}
	return w.strict.RoundTrip(req)
}

func (w *wire) isInsecure(hostport string) bool {
	hostport = strings.ToLower(hostport)
	if w.insecure[hostport] {
		return true
	}
	host, _, err := net.SplitHostPort(hostport)
	return err == nil && w.insecure[host]
}

func (w *wire) close() {
	w.strict.CloseIdleConnections()
	w.lax.CloseIdleConnections()
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
