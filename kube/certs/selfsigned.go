package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"go.uber.org/zap"
)

const (
	selfSignedLifetime = 365 * 24 * time.Hour
	// selfSignedEvery is how often age and addresses are looked at.
	selfSignedEvery = time.Second * 30
	// skew lets a client whose clock is behind accept a new certificate.
	skew = 5 * time.Minute
)

func (s *Serving) runSelfSigned(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Clock.After(selfSignedEvery):
		}
		if err := s.renewSelfSigned(); err != nil {
			s.log.Warn("renew the self-signed serving certificate", zap.Error(err))
		}
	}
}

// renewSelfSigned makes a certificate if there is none, or it is past 80 % of its life or not valid for all addresses.
func (s *Serving) renewSelfSigned() error {
	names, ips := split(s.Addresses())
	if cert := s.current.Load(); cert != nil && s.covers(cert.Leaf, names, texts(ips)) {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fmt.Errorf("make a serial number: %w", err)
	}
	lifetime := s.Lifetime
	if lifetime == 0 {
		lifetime = selfSignedLifetime
	}
	now := s.Clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: s.NodeName},
		NotBefore: now.Add(-skew), NotAfter: now.Add(lifetime), DNSNames: names, IPAddresses: ips,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make a self-signed certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode a key: %w", err)
	}
	_, err = s.store.Update(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return err
}

// covers says whether the certificate can stay.
func (s *Serving) covers(leaf *x509.Certificate, names, ips []string) bool {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if s.Clock.Now().After(leaf.NotBefore.Add(life * 8 / 10)) {
		return false
	}
	for _, host := range append(names, ips...) {
		if leaf.VerifyHostname(host) != nil {
			return false
		}
	}
	return true
}
