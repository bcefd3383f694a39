package certs

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

func addresses(ips ...string) func() []corev1.NodeAddress {
	return func() []corev1.NodeAddress {
		var out []corev1.NodeAddress
		for _, ip := range ips {
			out = append(out, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
		}
		return append(out, corev1.NodeAddress{Type: corev1.NodeHostName, Address: "edge"})
	}
}

func runServing(t *testing.T, s *Serving) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func TestServingByCSR(t *testing.T) {
	a := newAPI(t)
	// The node's identity is there already, as a bootstrapped node has it.
	cert, key := a.ca.pair(t, "system:node:edge", nil, nil, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	file := a.kubeconfig(filepath.Join(t.TempDir(), "k"), clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key})
	node, err := NewClient(ClientConfig{Kubeconfig: file, NodeName: "edge", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer node.CloseConnections()
	client, err := kubernetes.NewForConfig(node.Config())
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	var current atomic.Pointer[func() []corev1.NodeAddress]
	none := addresses()
	current.Store(&none)
	core, seen := observer.New(zap.InfoLevel)
	s, err := NewServing(ServingConfig{
		Mode: ServingCSR, NodeName: "edge", Dir: t.TempDir(), Client: client, Ready: ready, Log: zap.New(core),
		Addresses: func() []corev1.NodeAddress { return (*current.Load())() },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Certificate(nil); err == nil || !strings.Contains(err.Error(), "may wait for approval") {
		t.Error("no certificate yet:", err)
	}
	runServing(t, s)
	close(ready)
	known := addresses("192.0.2.7", "2001:db8::7")
	current.Store(&known)
	csr := await(t, "a request", a.asked)
	if csr.Spec.SignerName != certificatesv1.KubeletServingSignerName || csr.Spec.Username != "system:node:edge" {
		t.Errorf("asked %q as %q", csr.Spec.SignerName, csr.Spec.Username)
	}
	if diff := cmp.Diff([]certificatesv1.KeyUsage{"digital signature", "server auth"}, csr.Spec.Usages); diff != "" {
		t.Error(diff)
	}
	for _, host := range []string{"192.0.2.7", "2001:db8::7", "edge"} {
		verify(t, s, a.ca.Pool(), host)
	}

	// Another address means another certificate.
	moved := addresses("192.0.2.8")
	current.Store(&moved)
	await(t, "a request for the new address", a.asked)
	verify(t, s, a.ca.Pool(), "192.0.2.8")
	if seen.FilterMessage("serving certificate in use").Len() != 2 {
		t.Error("the log does not tell of both certificates")
	}

	// The next daemon takes up what is there.
	again, err := NewServing(s.ServingConfig)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, again, a.ca.Pool(), "192.0.2.8")
}

// verify waits until a TLS client accepts the certificate for a host.
func verify(t *testing.T, s *Serving, pool *x509.CertPool, host string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = check(s, pool, host); err == nil {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("%s: %v", host, err)
}

// check is what a TLS client does with the certificate.
func check(s *Serving, pool *x509.CertPool, host string) error {
	cert, err := s.Certificate(nil)
	if err != nil {
		return err
	}
	_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host, CurrentTime: s.Clock.Now()})
	return err
}

func TestServingSelfSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list atomic.Pointer[func() []corev1.NodeAddress]
		first := addresses("192.0.2.7")
		list.Store(&first)
		config := ServingConfig{
			Mode: ServingSelfSigned, NodeName: "edge", Dir: t.TempDir(),
			Addresses: func() []corev1.NodeAddress { return (*list.Load())() },
		}
		s, err := NewServing(config)
		if err != nil {
			t.Fatal(err)
		}
		serial := func(s *Serving) string {
			t.Helper()
			cert, err := s.Certificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			pool := x509.NewCertPool()
			pool.AddCert(cert.Leaf)
			for _, a := range (*list.Load())() {
				if err := check(s, pool, a.Address); err != nil {
					t.Errorf("%s: %v", a.Address, err)
				}
			}
			return cert.Leaf.SerialNumber.String()
		}
		one := serial(s)
		again, err := NewServing(config)
		if err != nil {
			t.Fatal(err)
		}
		if serial(again) != one {
			t.Error("a restart made another certificate")
		}

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		<-time.After(290 * 24 * time.Hour)
		if serial(s) != one {
			t.Error("renewed before 80 % of a year")
		}
		<-time.After(3 * 24 * time.Hour)
		two := serial(s)
		if two == one {
			t.Error("not renewed after 80 % of a year")
		}
		second := addresses("192.0.2.8")
		list.Store(&second)
		<-time.After(time.Minute)
		if serial(s) == two {
			t.Error("not renewed for another address")
		}
		cancel()
		synctest.Wait()
		<-time.After(2 * 365 * 24 * time.Hour)
		if _, err := s.Certificate(nil); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Error("expired:", err)
		}
	})
}

func TestServingFiles(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	put := func(host string, life time.Duration) {
		t.Helper()
		cert, key := ca.pair(t, host, []string{host}, nil, time.Now().Add(-48*time.Hour), time.Now().Add(life))
		write(t, dir, "tls.crt", cert)
		write(t, dir, "tls.key", key)
	}
	put("one", time.Hour)
	good, err := os.ReadFile(filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	name := func(s *Serving) string {
		t.Helper()
		cert, err := s.Certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.DNSNames[0]
	}
	synctest.Test(t, func(t *testing.T) {
		core, seen := observer.New(zap.InfoLevel)
		s, err := NewServing(ServingConfig{
			Mode: ServingFiles, NodeName: "edge", CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
			Log: zap.New(core),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Run(ctx)
		}()
		if got := name(s); got != "one" {
			t.Errorf("serving %q", got)
		}
		put("two", time.Hour)
		other, err := os.ReadFile(filepath.Join(dir, "tls.key"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "tls.key", good) // somebody is half way through a renewal
		<-time.After(time.Minute)
		if got := name(s); got != "one" {
			t.Errorf("serving %q with a key that does not match", got)
		}
		if n := seen.FilterMessageSnippet("not reloaded").Len(); n != 1 {
			t.Errorf("%d messages in a minute, want 1", n)
		}
		write(t, dir, "tls.key", other)
		<-time.After(filesEvery + time.Second)
		if got := name(s); got != "two" {
			t.Errorf("serving %q, want two", got)
		}
		cancel()
		<-done
	})
}

func TestServingConfigThatCannotWork(t *testing.T) {
	dir := t.TempDir()
	junk := write(t, dir, "junk", []byte("junk"))
	for name, tt := range map[string]struct {
		config ServingConfig
		want   string
	}{
		"no mode":     {ServingConfig{}, `serving mode: must be one of ["csr" "self-signed" "files"] (got "")`},
		"csr":         {ServingConfig{Mode: ServingCSR}, "nodeName: required for serving mode \"csr\"\nclient: required"},
		"self-signed": {ServingConfig{Mode: ServingSelfSigned, NodeName: "a"}, "addresses: required"},
		"files":       {ServingConfig{Mode: ServingFiles, NodeName: "a"}, "certFile: required for serving mode \"files\"\nkeyFile: required"},
		"no file":     {ServingConfig{Mode: ServingFiles, NodeName: "a", CertFile: "/nowhere", KeyFile: "/nowhere"}, "certFile: open /nowhere"},
		"no key":      {ServingConfig{Mode: ServingFiles, NodeName: "a", CertFile: junk, KeyFile: "/nowhere"}, "keyFile: open /nowhere"},
		"junk":        {ServingConfig{Mode: ServingFiles, NodeName: "a", CertFile: junk, KeyFile: junk}, "certFile " + junk},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewServing(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
