package approver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type request struct {
	user, group, cn, org string
	dns                  []string
	ips                  []net.IP
	usages               []certificatesv1.KeyUsage
	pem                  []byte
}

// good is a request that nothing is wrong with.
func good() request {
	return request{
		user: "system:node:a", group: "system:nodes", cn: "system:node:a", org: "system:nodes",
		dns: []string{"a"}, ips: []net.IP{net.IPv4(10, 99, 0, 1)},
		usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
	}
}

func (r request) object(t *testing.T) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	if r.pem == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: r.cn, Organization: []string{r.org}}, DNSNames: r.dns, IPAddresses: r.ips,
		}, key)
		if err != nil {
			t.Fatal(err)
		}
		r.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	return &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
		Username: r.user, Groups: []string{r.group, "system:authenticated"}, Request: r.pem, Usages: r.usages,
	}}
}

func TestVerdicts(t *testing.T) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "a"},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "10.99.0.1"}, {Type: corev1.NodeHostName, Address: "a.local"},
		}},
	}
	const approved, denied = certificatesv1.CertificateApproved, certificatesv1.CertificateDenied
	for _, tt := range []struct {
		name    string
		change  func(*request)
		age     time.Duration
		want    certificatesv1.RequestConditionType
		message string
	}{
		{"itself", func(*request) {}, 0, approved, "for itself"},
		{"its host name", func(r *request) { r.dns = []string{"a.local"} }, 0, approved, ""},
		{"an RSA key's usages", func(r *request) { r.usages = append(r.usages, certificatesv1.UsageKeyEncipherment) }, 0, approved, ""},
		{"another node", func(r *request) { r.cn = "system:node:b" }, 0, denied, "system:node:a asked for a certificate of system:node:b"},
		{"a user", func(r *request) { r.user = "eve" }, 0, denied, "eve is no node"},
		{"a user with a node's name", func(r *request) { r.group = "people" }, 0, denied, "is no node"},
		{"another organization", func(r *request) { r.org = "system:masters" }, 0, denied, "organization"},
		{"client usage", func(r *request) { r.usages[1] = certificatesv1.UsageClientAuth }, 0, denied, "usages"},
		{"no names", func(r *request) { r.dns, r.ips = nil, nil }, 0, denied, "DNS or IP"},
		{"rubbish", func(r *request) { r.pem = []byte("rubbish") }, 0, denied, "not readable"},
		{"a foreign address", func(r *request) { r.ips[0] = net.IPv4(10, 99, 0, 2) }, grace, denied, "10.99.0.2 is no address of node a"},
		{"a foreign name", func(r *request) { r.dns[0] = "kubernetes.default" }, grace, denied, "kubernetes.default is no address"},
		{"an address not published yet", func(r *request) { r.ips[0] = net.IPv4(10, 99, 0, 2) }, grace - 1, undecided, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.change(&r)
			v := check(r.object(t))
			if v.kind == undecided {
				v = compare(v, node, tt.age)
			}
			if v.kind != tt.want || !strings.Contains(v.message, tt.message) {
				t.Errorf("got %q, %q; want %q, %q", v.kind, v.message, tt.want, tt.message)
			}
		})
	}
}
