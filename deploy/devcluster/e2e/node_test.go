package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
)

// request is a CSR of a node.
type request struct {
	signer string
	node   string // that it is for
	dns    []string
	ips    []net.IP
}

// submit creates the CSR and returns its name and its key, PEM.
func submit(t *testing.T, c kubernetes.Interface, r request) (name string, key []byte) {
	t.Helper()
	name, key, err := trySubmit(t, c, r)
	if err != nil {
		t.Fatal(err)
	}
	return name, key
}

// trySubmit is submit of a CSR that may be refused.
func trySubmit(t *testing.T, c kubernetes.Interface, r request) (name string, key []byte, err error) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = keyutil.MarshalPrivateKeyToPEM(k); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:" + r.node, Organization: []string{"system:nodes"}},
		DNSNames: r.dns, IPAddresses: r.ips,
	}, k)
	if err != nil {
		t.Fatal(err)
	}
	usage := certificatesv1.UsageClientAuth
	if r.signer == certificatesv1.KubeletServingSignerName {
		usage = certificatesv1.UsageServerAuth
	}
	csr, err := c.CertificatesV1().CertificateSigningRequests().Create(t.Context(), &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: r.signer, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, usage},
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", nil, err
	}
	return csr.Name, key, nil
}

// verdict waits until a CSR is signed or denied.
func verdict(t *testing.T, admin kubernetes.Interface, name string) (status certificatesv1.CertificateSigningRequestStatus) {
	t.Helper()
	eventually(t, "a verdict on "+name, func() error {
		csr, err := admin.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		status = csr.Status
		for _, c := range status.Conditions {
			if c.Type == certificatesv1.CertificateDenied {
				return nil
			}
		}
		if len(status.Certificate) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	return status
}

// join gets a client certificate for a node with the bootstrap token.
func join(t *testing.T, dir, node string) *rest.Config {
	t.Helper()
	boot := config(t, dir, "bootstrap")
	name, key := submit(t, client(t, boot), request{signer: certificatesv1.KubeAPIServerClientKubeletSignerName, node: node})
	status := verdict(t, client(t, config(t, dir, "admin")), name)
	if len(status.Certificate) == 0 {
		t.Fatalf("not signed: %+v", status.Conditions)
	}
	c := rest.AnonymousClientConfig(boot)
	c.CertData, c.KeyData = status.Certificate, key
	return c
}

// serving gets a serving certificate as a node.
func serving(t *testing.T, admin, node kubernetes.Interface, r request) tls.Certificate {
	t.Helper()
	r.signer = certificatesv1.KubeletServingSignerName
	name, key := submit(t, node, r)
	status := verdict(t, admin, name)
	if len(status.Certificate) == 0 {
		t.Fatalf("not signed: %+v", status.Conditions)
	}
	cert, err := tls.X509KeyPair(status.Certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// register creates a Node as the node itself, ready for Pods and tainted as ours are.
func register(t *testing.T, c kubernetes.Interface, name, ip string, port int32) {
	t.Helper()
	const arch = "wasm32-wasi"
	taint := func(e corev1.TaintEffect) corev1.Taint {
		return corev1.Taint{Key: corev1.LabelArchStable, Value: arch, Effect: e}
	}
	node, err := c.CoreV1().Nodes().Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelArchStable: arch, corev1.LabelHostname: name}},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{taint(corev1.TaintEffectNoSchedule), taint(corev1.TaintEffectNoExecute)}},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}, {Type: corev1.NodeHostName, Address: name}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
			Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}},
			Capacity:        corev1.ResourceList{corev1.ResourceCPU: quantity("1"), corev1.ResourceMemory: quantity("1Gi"), corev1.ResourcePods: quantity("9")},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(node.Status.Addresses) != 2 {
		t.Fatalf("the status was not taken: %+v", node.Status)
	}
}
