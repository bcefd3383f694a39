package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/wazlet/wazlet/kube/certs/certstest"
	"github.com/wazlet/wazlet/kube/server"
)

// patience is how long tests wait for what must happen.
const patience = 20 * time.Second

// An authority issues certificates.
type authority struct{ *certstest.Authority }

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	return authority{certstest.NewAuthority(t, name)}
}

// issue signs a certificate of a new key.
func (a authority) issue(t *testing.T, template x509.Certificate) tls.Certificate {
	t.Helper()
	key := certstest.NewKey(t)
	return tls.Certificate{Certificate: [][]byte{a.Sign(t, template, key.Public())}, PrivateKey: key}
}

// client issues a client certificate.
func (a authority) client(t *testing.T, name string, groups ...string) tls.Certificate {
	t.Helper()
	return a.issue(t, x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: groups}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// A node is a served API and the authority of both sides' certificates.
type node struct {
	t         *testing.T
	ca        authority
	address   string
	stop      func()
	returned  <-chan error
	connected sync.Mutex
	conns     []net.Conn
}

// serve serves h; TLSConfig and Auth get what a test leaves out: the authority of the clients, and AlwaysAllow when
// nobody is asked.
func serve(t *testing.T, a server.Auth, h server.Handlers) *node {
	t.Helper()
	ca := newAuthority(t, "ca")
	return serveTLS(t, ca, server.TLSConfig{ClientCAs: ca.Pool}, a, h)
}

func serveTLS(t *testing.T, ca authority, c server.TLSConfig, a server.Auth, h server.Handlers) *node {
	t.Helper()
	if a.Access == nil {
		a.Mode = server.AuthorizationAlwaysAllow
	}
	a.NodeName = "n1"
	cert := ca.issue(t, x509.Certificate{
		Subject: pkix.Name{CommonName: "system:node:n1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	returned := make(chan error, 1)
	go func() { returned <- server.Serve(ctx, l, c, a, h); close(returned) }()
	n := &node{t: t, ca: ca, address: l.Addr().String(), stop: cancel, returned: returned}
	t.Cleanup(func() {
		cancel()
		if err := <-returned; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return n
}

func (n *node) url(path string) string { return "https://" + n.address + path }

// http returns a client with a certificate, or without if there is none.
func (n *node) http(certs ...tls.Certificate) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: n.ca.Pool(), Certificates: certs},
		ForceAttemptHTTP2: true,
	}
	n.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// admin is a client that is let in.
func (n *node) admin() *http.Client { return n.http(n.ca.client(n.t, "admin", "system:masters")) }

// rest is the configuration of a client of client-go; cut ends its connections without a word.
func (n *node) rest() *rest.Config {
	cert := n.ca.client(n.t, "admin", "system:masters")
	key, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		n.t.Fatal(err)
	}
	return &rest.Config{
		Host: "https://" + n.address,
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   n.ca.PEM(),
			CertData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
			KeyData:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
		},
	}
}

// proxy is a way to the node that cut can end without a word, as a client that disappears.
func (n *node) proxy() (address string, cut func()) {
	n.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	var copies sync.WaitGroup
	copies.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", n.address)
			if err != nil {
				_ = near.Close()
				return
			}
			n.connected.Lock()
			n.conns = append(n.conns, near, far)
			n.connected.Unlock()
			copies.Go(func() { _, _ = io.Copy(near, far) })
			copies.Go(func() { _, _ = io.Copy(far, near) })
		}
	})
	cut = sync.OnceFunc(func() {
		_ = l.Close()
		n.connected.Lock()
		defer n.connected.Unlock()
		for _, c := range n.conns {
			_ = c.Close()
		}
	})
	n.t.Cleanup(func() { cut(); copies.Wait() })
	return l.Addr().String(), cut
}

// fetch returns the code and the body of an answer.
func fetch(t *testing.T, c *http.Client, r *http.Request) (int, string) {
	t.Helper()
	w, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, string(body)
}

func request(t *testing.T, method, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// await receives from c or gives the test up.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %s", what, patience)
		panic("not reached")
	}
}

func TestServesBothProtocolsAndStops(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{Pods: listing()})
	for _, protocols := range [][]string{{"h2"}, {"http/1.1"}} {
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{
				RootCAs: n.ca.Pool(), NextProtos: protocols, Certificates: []tls.Certificate{n.ca.client(t, "admin")},
			},
			ForceAttemptHTTP2: protocols[0] == "h2",
		}
		w, err := (&http.Client{Transport: transport}).Do(request(t, "GET", n.url("/pods")))
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close()
		if w.StatusCode != http.StatusOK || w.TLS.NegotiatedProtocol != protocols[0] {
			t.Errorf("%v: %s over %s", protocols, w.Status, w.TLS.NegotiatedProtocol)
		}
		transport.CloseIdleConnections()
	}
	n.stop()
	if err := await(t, n.returned, "end of Serve"); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if c, err := net.Dial("tcp", n.address); err == nil {
		_ = c.Close()
		t.Error("the port is still open")
	}
}

func TestBrokenListener(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert := ca.client(t, "x")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	err = server.Serve(t.Context(), l, server.TLSConfig{
		ClientCAs: ca.Pool, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
	}, server.Auth{Mode: server.AuthorizationAlwaysAllow}, server.Handlers{})
	if err == nil {
		t.Error("Serve returned nil for a closed listener")
	}
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	pool := func() *x509.CertPool { return nil }
	certificate := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }
	for _, tc := range []struct {
		name string
		tls  server.TLSConfig
		auth server.Auth
		want string
	}{
		{
			"nobody could call",
			server.TLSConfig{GetCertificate: certificate},
			server.Auth{Mode: server.AuthorizationAlwaysAllow},
			"authentication: nobody could call the server: set a client CA, token reviews or anonymous access",
		},
		{
			"nobody to ask",
			server.TLSConfig{GetCertificate: certificate, ClientCAs: pool},
			server.Auth{NodeName: "n"},
			"authorization: mode Webhook needs an API server to ask and the node's name",
		},
		{
			"no such mode",
			server.TLSConfig{GetCertificate: certificate, ClientCAs: pool},
			server.Auth{Mode: "RBAC"},
			`authorization: mode: want Webhook or AlwaysAllow, got "RBAC"`,
		},
		{
			"no certificate",
			server.TLSConfig{ClientCAs: pool},
			server.Auth{Mode: server.AuthorizationAlwaysAllow},
			"serve the kubelet's API: TLSConfig.GetCertificate is not set",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			err = server.Serve(t.Context(), l, tc.tls, tc.auth, server.Handlers{})
			if err == nil || err.Error() != tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
			if _, err := l.Accept(); err == nil {
				t.Error("the listener is open")
			}
		})
	}
}
