package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	certificatesv1 "k8s.io/api/certificates/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/certificate"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/utils/clock"
)

// ClientConfig says who the node is and where its credentials are.
type ClientConfig struct {
	// Kubeconfig is the file that says how to reach the API server. It is written when the node bootstraps. Required.
	Kubeconfig string
	// BootstrapKubeconfig holds the credentials, most often a token, with which a certificate is asked for when there is no
	// usable one. Empty: Kubeconfig has to exist.
	BootstrapKubeconfig string
	// NodeName is the name of the Node object: the certificate is for system:node:<NodeName>. Required.
	NodeName string
	// Dir is where the certificates and their keys are kept. Required.
	Dir string
	// NoRotation leaves the certificate as it is until it has expired. The first one is still asked for.
	NoRotation bool
	// Lifetime is how long a certificate is asked to last; 0 leaves it to the signer, which may ignore it anyway.
	Lifetime time.Duration
	// Log receives what happens; nil: nothing.
	Log *zap.Logger
	// Clock says when certificates have expired; nil: the real one. (client-go's manager, which decides when to renew, has
	// its own.)
	Clock clock.PassiveClock
	// Rotations observes the age in seconds of each certificate that was replaced, RenewErrors counts failures; both may be
	// nil.
	Rotations   certificate.Histogram
	RenewErrors certificate.Counter
}

func (c ClientConfig) validate() error {
	var errs []error
	for _, f := range []struct{ name, value string }{{"kubeconfig", c.Kubeconfig}, {"nodeName", c.NodeName}, {"certificate directory", c.Dir}} {
		if f.value == "" {
			errs = append(errs, fmt.Errorf("%s: must not be empty", f.name))
		}
	}
	return errors.Join(errs...)
}

// Client is the node's identity towards the API server. Its methods may be called from any goroutine.
type Client struct {
	config ClientConfig
	log    *zap.Logger
	clock  clock.PassiveClock
	rest   *rest.Config
	ca     []byte
	dialer *connrotation.Dialer

	// managed says that the certificate is ours to get and to renew.
	managed bool
	store   *store
	current atomic.Pointer[tls.Certificate]
	ready   chan struct{}
	once    sync.Once
}

// NewClient reads, or for a bootstrapping node writes, the kubeconfig. It asks the network nothing: that is Run's work. An
// error means that the configuration cannot work whatever the API server says.
func NewClient(config ClientConfig) (*Client, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	c := &Client{config: config, log: config.Log, clock: config.Clock, ready: make(chan struct{})}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	if c.clock == nil {
		c.clock = clock.RealClock{}
	}
	c.dialer = connrotation.NewDialer((&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext)
	var err error
	c.store, err = openStore(config.Dir, "wazlet-client", c.log, c.renewed)
	if err != nil {
		return nil, err
	}
	c.store.accept = c.isOurs
	found, err := c.find()
	if err != nil {
		return nil, err
	}
	c.managed, c.rest = found.managed, found.rest
	if err := rest.LoadTLSFiles(c.rest); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", config.Kubeconfig, err)
	}
	c.ca = c.rest.CAData
	if !c.managed {
		c.rest.Dial = c.dialer.DialContext
		c.once.Do(func() { close(c.ready) })
	} else if err := c.manage(); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", config.Kubeconfig, err)
	}
	c.rest.Wrap(c.watchful(config.Kubeconfig))
	return c, nil
}

// Config is how to reach the API server as this node. It is the caller's own copy; QPS, Burst, ContentType and the like are
// the caller's to set. All clients made of it share their connections.
func (c *Client) Config() *rest.Config { return rest.CopyConfig(c.rest) }

// CA returns the authorities that the API server's certificate is checked with, in PEM; nil means the system's.
func (c *Client) CA() []byte { return c.ca }

// Managed says whether the certificate is got and renewed here.
func (c *Client) Managed() bool { return c.managed }

// Ready is closed as soon as there are credentials. Requests made before are anonymous.
func (c *Client) Ready() <-chan struct{} { return c.ready }

// Expires says until when the certificate in use is valid; zero when there is none, or it is not managed here.
func (c *Client) Expires() time.Time {
	if cert := c.current.Load(); cert != nil {
		return cert.Leaf.NotAfter
	}
	return time.Time{}
}

// CloseConnections closes all connections to the API server. Requests that are under way fail; the next ones dial again. It
// helps when heartbeats fail, because a dead connection may take long to be seen as such.
func (c *Client) CloseConnections() { c.dialer.CloseAll() }

// Run asks for the first certificate and for its successors until ctx ends. It is called once for each process: client-go's
// manager leaves a sleeping goroutine behind.
func (c *Client) Run(ctx context.Context) {
	defer c.dialer.CloseAll()
	if !c.managed {
		<-ctx.Done()
		return
	}
	stop := ctx.Done()
	if c.config.NoRotation {
		if c.usable(c.current.Load()) {
			<-ctx.Done()
			return
		}
		stop = either(ctx.Done(), c.ready)
	}
	m, err := c.manager(ctx)
	if err != nil { // the configuration is wrong, which NewClient's checks exclude
		c.log.Error("client certificate manager", zap.Error(err))
		<-ctx.Done()
		return
	}
	m.Start()
	<-stop
	m.Stop()
	<-ctx.Done()
}

func (c *Client) manager(ctx context.Context) (certificate.Manager, error) {
	config := &certificate.Config{
		ClientsetFn: c.signingClient,
		Template: &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: c.user(), Organization: []string{"system:nodes"}},
		},
		SignerName:              certificatesv1.KubeAPIServerClientKubeletSignerName,
		GetUsages:               certificate.DefaultKubeletClientGetUsages,
		CertificateStore:        c.store,
		CertificateRotation:     c.config.Rotations,
		CertificateRenewFailure: c.config.RenewErrors,
		Name:                    "client-certificate",
		Ctx:                     logged(ctx, c.log),
	}
	if c.config.Lifetime > 0 {
		config.RequestedCertificateLifetime = &c.config.Lifetime
	}
	return certificate.NewManager(config)
}

// signingClient is asked before each request for a certificate: the present one renews itself, without one the bootstrap
// kubeconfig helps, which is read anew so that a fresh token is seen.
func (c *Client) signingClient(*tls.Certificate) (kubernetes.Interface, error) {
	if c.usable(c.current.Load()) {
		return kubernetes.NewForConfig(c.rest)
	}
	path := c.config.BootstrapKubeconfig
	if path == "" {
		return nil, fmt.Errorf("there is no valid certificate for %s in %s, and no bootstrapKubeconfig to ask for one with", c.user(), c.config.Dir)
	}
	found, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("bootstrapKubeconfig %s: %w", path, err)
	}
	config, err := found.config()
	if err != nil {
		return nil, fmt.Errorf("bootstrapKubeconfig %s: %w", path, err)
	}
	config.Dial = c.dialer.DialContext
	config.Wrap(c.watchful(path))
	return kubernetes.NewForConfig(config)
}

// manage makes the rest configuration present the current certificate, whichever that is at each handshake.
func (c *Client) manage() error {
	if cert, err := c.store.Current(); err == nil && c.usable(cert) {
		c.renewed(cert)
	}
	config := c.rest
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return err
	}
	if tlsConfig == nil {
		return fmt.Errorf("a node needs TLS (got server %q)", config.Host)
	}
	tlsConfig.GetClientCertificate = c.present
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return err
	}
	proxy := config.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	config.Host = server.String() // with its scheme, which could not be told from a configuration without TLS
	config.Proxy = nil
	config.Transport = utilnet.SetTransportDefaults(&http.Transport{
		Proxy: proxy, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: tlsConfig, MaxIdleConnsPerHost: 25,
		DialContext: c.dialer.DialContext, DisableCompression: config.DisableCompression,
	})
	config.TLSClientConfig = rest.TLSClientConfig{} // the transport has it
	return nil
}

// present is asked at each handshake. Showing an expired certificate would end it with an alert that nobody understands;
// showing none makes the API server answer 401.
func (c *Client) present(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if cert := c.current.Load(); c.usable(cert) {
		return cert, nil
	}
	return &tls.Certificate{}, nil
}

// renewed takes a certificate into use.
func (c *Client) renewed(cert *tls.Certificate) {
	old := c.current.Swap(cert)
	if old != nil {
		c.log.Info("client certificate renewed, closing the connections made with the old one",
			zap.Time("not_after", cert.Leaf.NotAfter))
	} else {
		c.log.Info("client certificate in use", zap.Time("not_after", cert.Leaf.NotAfter))
	}
	c.dialer.CloseAll()                  // anonymous ones too
	c.once.Do(func() { close(c.ready) }) // now, so that it does not meet the first connections of those who waited
}

func (c *Client) usable(cert *tls.Certificate) bool {
	return cert != nil && c.clock.Now().Before(cert.Leaf.NotAfter)
}

// isOurs refuses a certificate that was made for another node, as after a change of nodeName: it could not ask for ours.
func (c *Client) isOurs(cert *tls.Certificate) error {
	if cert.Leaf.Subject.CommonName != c.user() {
		return fmt.Errorf("is for %q, this node is %q", cert.Leaf.Subject.CommonName, c.user())
	}
	return nil
}

func (c *Client) user() string { return "system:node:" + c.config.NodeName }

// watchful reports the first of a row of refusals, naming the file that the credentials come from.
func (c *Client) watchful(path string) func(http.RoundTripper) http.RoundTripper {
	var refused atomic.Bool
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err != nil {
				return resp, err
			}
			bad := resp.StatusCode == http.StatusUnauthorized
			if refused.Swap(bad) != bad && bad {
				c.log.Warn("the API server does not accept the node's credentials (wrong, expired or revoked); trying again",
					zap.String("kubeconfig", path), zap.String("server", r.URL.Host))
			}
			return resp, nil
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func either(a, b <-chan struct{}) <-chan struct{} {
	both := make(chan struct{})
	go func() {
		defer close(both)
		select {
		case <-a:
		case <-b:
		}
	}()
	return both
}
