// Package pki makes the keys, certificates and kubeconfigs of a control plane.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
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

// Validity is how long certificates hold. They are made anew at each start.
const Validity = 365 * 24 * time.Hour

// Authority is a certificate authority. Its key outlives restarts, so that nodes stay members and tokens stay valid.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	dir  string
}

// Open reads the authority called name in dir, NAME.crt and NAME.key, or makes it when neither file is there.
func Open(dir, name string) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certs, err := certutil.CertsFromFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		return create(dir, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", certFile, err)
	}
	key, err := keyutil.PrivateKeyFromFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", keyFile, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read %s: a %T cannot sign", keyFile, key)
	}
	return &Authority{cert: certs[0], key: signer, dir: dir}, nil
}

// create writes the key first: a certificate without its key would never be mended.
func create(dir, name string) (*Authority, error) {
	key, err := newKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	cert, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: name}, key)
	if err != nil {
		return nil, fmt.Errorf("make the authority %s: %w", name, err)
	}
	return &Authority{cert: cert, key: key, dir: dir}, writeCert(filepath.Join(dir, name+".crt"), cert.Raw)
}

// Leaf is a certificate to be made.
type Leaf struct {
	Name, CommonName string
	Organizations    []string
	Hosts            []string // names and addresses of a server
}

// Issue makes a key and a certificate and writes them beside the authority's, as NAME.key and NAME.crt.
func (a *Authority) Issue(l Leaf) error {
	key, err := newKey(filepath.Join(a.dir, l.Name+".key"))
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("issue %s: %w", l.Name, err)
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: l.CommonName, Organization: l.Organizations}, SerialNumber: serial,
		NotBefore: a.cert.NotBefore, NotAfter: time.Now().Add(Validity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, h := range l.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("issue %s: %w", l.Name, err)
	}
	return writeCert(filepath.Join(a.dir, l.Name+".crt"), der)
}

// ClientKubeconfig writes a kubeconfig whose user is a certificate of l.
func (a *Authority) ClientKubeconfig(file, server string, l Leaf) error {
	if err := a.Issue(l); err != nil {
		return err
	}
	cert, err := os.ReadFile(filepath.Join(a.dir, l.Name+".crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(a.dir, l.Name+".key"))
	if err != nil {
		return err
	}
	return a.kubeconfig(file, server, &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key})
}

// TokenKubeconfig writes a kubeconfig whose user is a bearer token.
func (a *Authority) TokenKubeconfig(file, server, token string) error {
	return a.kubeconfig(file, server, &clientcmdapi.AuthInfo{Token: token})
}

func (a *Authority) kubeconfig(file, server string, user *clientcmdapi.AuthInfo) error {
	const name = "devcluster"
	c := clientcmdapi.NewConfig()
	c.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: encode(a.cert.Raw)}
	c.AuthInfos["user"] = user
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: "user"}
	c.CurrentContext = name
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

func newKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", file, err)
	}
	out, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", file, err)
	}
	return key, keyutil.WriteKey(file, out)
}

func writeCert(file string, der []byte) error { return certutil.WriteCert(file, encode(der)) }

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certutil.CertificateBlockType, Bytes: der})
}
