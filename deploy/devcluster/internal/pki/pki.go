package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// authority is a certificate authority. It is kept across restarts, so that nodes stay members.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	dir  string
}

const validity = 365 * 24 * time.Hour

// openAuthority reads the CA called name in dir, or makes it.
func openAuthority(dir, name string) (*authority, error) {
	a := &authority{dir: dir}
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certs, err := certutil.CertsFromFile(certFile)
	if err == nil {
		key, err := keyutil.PrivateKeyFromFile(keyFile)
		if err != nil {
			return nil, err
		}
		a.cert, a.key = certs[0], key.(crypto.Signer)
		return a, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if a.cert, err = certutil.NewSelfSignedCACert(certutil.Config{CommonName: name}, key); err != nil {
		return nil, err
	}
	a.key = key
	return a, errors.Join(writeKey(keyFile, key), certutil.WriteCert(certFile, pemCert(a.cert)))
}

func pemCert(c *x509.Certificate) []byte {
	out, err := certutil.EncodeCertificates(c)
	if err != nil {
		panic(err) // it encodes into memory
	}
	return out
}

func writeKey(file string, key crypto.Signer) error {
	out, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return err
	}
	return keyutil.WriteKey(file, out)
}

// leaf is a certificate to be made.
type leaf struct {
	name, cn string
	org      []string
	hosts    []string // for a server
}

// issue makes a key and a certificate, NAME.key and NAME.crt beside the CA's, and returns their paths.
func (a *authority) issue(l leaf) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return "", "", err
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: l.cn, Organization: l.org}, SerialNumber: serial,
		NotBefore: a.cert.NotBefore, NotAfter: time.Now().Add(validity),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, h := range l.hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return "", "", fmt.Errorf("issue %s: %w", l.name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(a.dir, l.name+".crt"), filepath.Join(a.dir, l.name+".key")
	return certFile, keyFile, errors.Join(writeKey(keyFile, key), certutil.WriteCert(certFile, pemCert(cert)))
}

// kubeconfig writes a kubeconfig for a client certificate of l, or for token when there is one.
func (a *authority) kubeconfig(file, server string, l leaf, token string) error {
	user := &clientcmdapi.AuthInfo{Token: token}
	if token == "" {
		certFile, keyFile, err := a.issue(l)
		if err != nil {
			return err
		}
		if user.ClientCertificateData, err = os.ReadFile(certFile); err != nil {
			return err
		}
		if user.ClientKeyData, err = os.ReadFile(keyFile); err != nil {
			return err
		}
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["devcluster"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: pemCert(a.cert)}
	c.AuthInfos["user"] = user
	c.Contexts["devcluster"] = &clientcmdapi.Context{Cluster: "devcluster", AuthInfo: "user"}
	c.CurrentContext = "devcluster"
	return clientcmd.WriteToFile(*c, file)
}
