package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
	"k8s.io/utils/clock"
)

// ServingMode says who signs the certificate of the node's own server.
type ServingMode string

const (
	// ServingCSR asks the cluster (signer kubernetes.io/kubelet-serving); somebody has to approve the request.
	ServingCSR ServingMode = "csr"
	// ServingSelfSigned makes a certificate; the API server then cannot check whom it talks to.
	ServingSelfSigned ServingMode = "self-signed"
	// ServingFiles reads certificate and key from files, again whenever they change.
	ServingFiles ServingMode = "files"
)

// ServingModes are all modes.
func ServingModes() []ServingMode { return []ServingMode{ServingCSR, ServingSelfSigned, ServingFiles} }

// ServingConfig says where the certificate of the node's own server comes from.
type ServingConfig struct {
	Mode ServingMode
	// NodeName is the name of the Node object. Required.
	NodeName string
	// Dir is where certificates and keys are kept; required but for files.
	Dir string
	// CertFile and KeyFile are for files: PEM, the chain in order, the key unencrypted.
	CertFile, KeyFile string
	// Client is for csr: the API server, as this node. Ready, if not nil, is closed when the client has credentials.
	Client kubernetes.Interface
	Ready  <-chan struct{}
	// Addresses are what the certificate has to be valid for, for csr and self-signed. It is called every second and must be
	// cheap. A change leads to a new certificate; none at all lets csr wait, as the signer refuses such requests.
	Addresses func() []corev1.NodeAddress
	// Lifetime is how long a certificate is asked to last; 0: what the signer thinks best, self-signed a year.
	Lifetime time.Duration
	// Log receives what happens; nil: nothing.
	Log *zap.Logger
	// Clock is nil for the real one.
	Clock clock.WithDelayedExecution
	// Rotations observes the age in seconds of each certificate that was replaced, RenewErrors counts failures; both may be
	// nil.
	Rotations   certificate.Histogram
	RenewErrors certificate.Counter
}

func (c ServingConfig) validate() error {
	var errs []error
	need := func(ok bool, field string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: required for serving mode %q", field, c.Mode))
		}
	}
	need(c.NodeName != "", "nodeName")
	switch c.Mode {
	case ServingCSR:
		need(c.Client != nil, "client")
		need(c.Addresses != nil, "addresses")
		need(c.Dir != "", "certificate directory")
	case ServingSelfSigned:
		need(c.Addresses != nil, "addresses")
		need(c.Dir != "", "certificate directory")
	case ServingFiles:
		need(c.CertFile != "", "certFile")
		need(c.KeyFile != "", "keyFile")
	default:
		return fmt.Errorf("serving mode: must be one of %q (got %q)", ServingModes(), c.Mode)
	}
	return errors.Join(errs...)
}

// Serving is the certificate of the node's own server. Its methods may be called from any goroutine.
type Serving struct {
	ServingConfig
	log     *zap.Logger
	store   *store
	current atomic.Pointer[tls.Certificate]
	run     func(context.Context)
}

// NewServing checks the configuration and takes the certificate of an earlier run, or of the files, into use. What the files
// hold must be good now; later, a bad change is reported and the old certificate goes on.
func NewServing(config ServingConfig) (*Serving, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	s := &Serving{ServingConfig: config, log: config.Log}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.Clock == nil {
		s.Clock = clock.RealClock{}
	}
	switch s.Mode {
	case ServingFiles:
		files := &files{Serving: s}
		s.run = files.run
		if err := files.load(); err != nil {
			return nil, err
		}
		return s, nil
	case ServingSelfSigned:
		s.run = s.runSelfSigned
		return s, s.open("wazlet-self-signed")
	default:
		s.run = s.runCSR
		return s, s.open("wazlet-server")
	}
}

// open takes up what an earlier run left.
func (s *Serving) open(prefix string) (err error) {
	s.store, err = openStore(s.Dir, prefix, s.log, s.take)
	if err != nil {
		return err
	}
	if cert, err := s.store.Current(); err == nil {
		s.current.Store(cert)
	}
	if s.Mode == ServingSelfSigned {
		return s.renewSelfSigned()
	}
	return nil
}

// Certificate is for tls.Config.GetCertificate. It fails while there is no valid certificate.
func (s *Serving) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert := s.current.Load()
	switch {
	case cert == nil:
		return nil, errors.New("the node has no serving certificate yet: its certificate signing request may wait for approval")
	case s.Mode != ServingFiles && s.Clock.Now().After(cert.Leaf.NotAfter):
		return nil, fmt.Errorf("the node's serving certificate expired at %s", cert.Leaf.NotAfter)
	}
	return cert, nil
}

// Expires says until when the certificate in use is valid; zero when there is none.
func (s *Serving) Expires() time.Time {
	if cert := s.current.Load(); cert != nil {
		return cert.Leaf.NotAfter
	}
	return time.Time{}
}

// Run keeps the certificate fresh until ctx ends.
func (s *Serving) Run(ctx context.Context) { s.run(ctx) }

// take takes a certificate into use.
func (s *Serving) take(cert *tls.Certificate) {
	s.current.Store(cert)
	s.log.Info("serving certificate in use", zap.Time("not_after", cert.Leaf.NotAfter),
		zap.Strings("dns_names", cert.Leaf.DNSNames), zap.Stringers("ip_addresses", cert.Leaf.IPAddresses))
}

func (s *Serving) runCSR(ctx context.Context) {
	if s.Ready != nil {
		select {
		case <-s.Ready: // asking anonymously would only be refused, and tried again late
		case <-ctx.Done():
			return
		}
	}
	config := &certificate.Config{
		ClientsetFn:             func(*tls.Certificate) (kubernetes.Interface, error) { return s.Client, nil },
		GetTemplate:             s.template,
		SignerName:              certificatesv1.KubeletServingSignerName,
		GetUsages:               certificate.DefaultKubeletServingGetUsages,
		CertificateStore:        s.store,
		CertificateRotation:     s.Rotations,
		CertificateRenewFailure: s.RenewErrors,
		Name:                    "serving-certificate",
		Ctx:                     logged(ctx, s.log),
	}
	if s.Lifetime > 0 {
		config.RequestedCertificateLifetime = &s.Lifetime
	}
	m, err := certificate.NewManager(config)
	if err != nil { // the configuration is wrong, which NewServing's checks exclude
		s.log.Error("serving certificate manager", zap.Error(err))
		<-ctx.Done()
		return
	}
	m.Start()
	<-ctx.Done()
	m.Stop()
}

// template is the request as the signer kubernetes.io/kubelet-serving wants it; nil while the node has no IP address.
func (s *Serving) template() *x509.CertificateRequest {
	names, ips := split(s.Addresses())
	if len(ips) == 0 {
		return nil
	}
	return &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:" + s.NodeName, Organization: []string{"system:nodes"}},
		DNSNames: names, IPAddresses: ips,
	}
}

// split sorts addresses by their kind, in a stable order and without repetitions.
func split(addresses []corev1.NodeAddress) (names []string, ips []net.IP) {
	for _, a := range addresses {
		if ip := net.ParseIP(a.Address); ip != nil {
			ips = append(ips, ip)
		} else if a.Address != "" && a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
			names = append(names, a.Address)
		}
	}
	slices.Sort(names)
	slices.SortFunc(ips, func(a, b net.IP) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(names), slices.CompactFunc(ips, net.IP.Equal)
}

func texts(ips []net.IP) []string {
	out := make([]string, len(ips))
	for i, ip := range ips {
		out[i] = ip.String()
	}
	return out
}
