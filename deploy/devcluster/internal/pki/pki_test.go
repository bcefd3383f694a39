package pki

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	certutil "k8s.io/client-go/util/cert"
)

func TestAuthorityOutlivesItsProcess(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Issue(Leaf{Name: "before", CommonName: "before"}); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Issue(Leaf{Name: "after", CommonName: "after", Hosts: []string{"127.0.0.1", "localhost"}}); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(first.cert)
	for _, name := range []string{"before", "after"} {
		certs, err := certutil.CertsFromFile(filepath.Join(dir, name+".crt"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "after" {
			for _, host := range []string{"127.0.0.1", "localhost"} {
				if err := certs[0].VerifyHostname(host); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestAuthorityWithoutItsKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, "ca"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "ca"); err == nil {
		t.Error("an authority was made anew: every node would have lost its cluster")
	}
}

func TestKubeconfigsArePrivateAndSelfContained(t *testing.T) {
	dir := t.TempDir()
	ca, err := Open(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	admin, token := filepath.Join(dir, "admin.kubeconfig"), filepath.Join(dir, "token.kubeconfig")
	if err := ca.ClientKubeconfig(admin, "https://127.0.0.1:1", Leaf{Name: "admin", CommonName: "admin"}); err != nil {
		t.Fatal(err)
	}
	if err := ca.TokenKubeconfig(token, "https://127.0.0.1:1", "id.secret"); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{admin, token} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", file, info.Mode())
		}
		c, err := clientcmd.BuildConfigFromFlags("", file)
		if err != nil {
			t.Fatal(err)
		}
		if c.Host != "https://127.0.0.1:1" || len(c.CAData) == 0 {
			t.Errorf("%s: host %q, %d bytes of CA", file, c.Host, len(c.CAData))
		}
		if (len(c.CertData) == 0) == (c.BearerToken == "") {
			t.Errorf("%s: want a certificate or a token", file)
		}
	}
}
