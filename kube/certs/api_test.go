package certs

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/wazlet/wazlet/kube/certs/certstest"
)

// authority signs certificates.
type authority struct{ *certstest.Authority }

func newAuthority(t *testing.T) authority { return authority{certstest.NewAuthority(t, "test")} }

// sign makes a certificate with a life.
func (a authority) sign(t testing.TB, subject pkix.Name, public any, names []string, ips []net.IP, from, to time.Time) []byte {
	t.Helper()
	return certstest.PEM("CERTIFICATE", a.Sign(t, x509.Certificate{
		Subject: subject, NotBefore: from, NotAfter: to, DNSNames: names, IPAddresses: ips,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, public))
}

// pair makes a certificate and its key.
func (a authority) pair(t testing.TB, name string, names []string, ips []net.IP, from, to time.Time) (cert, key []byte) {
	t.Helper()
	k := certstest.NewKey(t)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	subject := pkix.Name{CommonName: name, Organization: []string{"system:nodes"}}
	return a.sign(t, subject, k.Public(), names, ips, from, to), certstest.PEM("EC PRIVATE KEY", der)
}

// api is an API server that knows certificate signing requests and who is asking.
type api struct {
	*httptest.Server
	t  *testing.T
	ca authority

	mu sync.Mutex
	// tokens that are accepted.
	tokens []string
	// lives are those of the certificates to be signed, in turn; the last one repeats.
	lives []life
	csrs  map[string]*certificatesv1.CertificateSigningRequest
	users []string
	// asked, if not nil, hears of each request for a certificate.
	asked chan certificatesv1.CertificateSigningRequest
	// refused hears of each 401.
	refused chan string
	// hold, if not nil, keeps requests for renewal back until it is closed.
	hold chan struct{}
}

type life struct{ from, to time.Duration }

func newAPI(t *testing.T) *api {
	a := &api{
		t: t, ca: newAuthority(t), tokens: []string{"abc.def"}, lives: []life{{-time.Hour, 24 * time.Hour}},
		csrs:  map[string]*certificatesv1.CertificateSigningRequest{},
		asked: make(chan certificatesv1.CertificateSigningRequest, 20), refused: make(chan string, 100),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/certificates.k8s.io/v1/certificatesigningrequests", a.create)
	mux.HandleFunc("GET /apis/certificates.k8s.io/v1/certificatesigningrequests", a.list)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(w, `{"gitVersion":%q}`, user(r)) })
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.known(r) {
			mux.ServeHTTP(w, r)
			return
		}
		select {
		case a.refused <- r.URL.Path:
		default:
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Message: "Unauthorized", Reason: "Unauthorized", Code: 401,
		})
	}))
	cert, key := a.ca.pair(t, "apiserver", nil, []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	a.TLS = &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.ca.Pool(), MinVersion: tls.VersionTLS12,
	}
	a.EnableHTTP2 = true
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func user(r *http.Request) string {
	if len(r.TLS.PeerCertificates) > 0 {
		return r.TLS.PeerCertificates[0].Subject.CommonName
	}
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func (a *api) known(r *http.Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := user(r)
	a.users = append(a.users, u)
	return strings.HasPrefix(u, "system:node:") || slices.Contains(a.tokens, u)
}

func (a *api) accept(tokens ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens = tokens
}

// create approves and signs at once, checking what kube-controller-manager would.
func (a *api) create(w http.ResponseWriter, r *http.Request) {
	if a.hold != nil && strings.HasPrefix(user(r), "system:node:") {
		<-a.hold
	}
	var csr certificatesv1.CertificateSigningRequest
	body, err := io.ReadAll(r.Body)
	if err == nil { // client-go sends protobuf
		_, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, &csr)
	}
	if err != nil {
		a.t.Error(err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	csr.TypeMeta = metav1.TypeMeta{Kind: "CertificateSigningRequest", APIVersion: "certificates.k8s.io/v1"}
	a.mu.Lock()
	defer a.mu.Unlock()
	block, _ := pem.Decode(csr.Spec.Request)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		a.t.Error(err)
	}
	next := a.lives[0]
	if len(a.lives) > 1 {
		a.lives = a.lives[1:]
	}
	now := time.Now()
	csr.Name = fmt.Sprintf("csr-%d", len(a.csrs)+1)
	csr.UID, csr.ResourceVersion = types.UID(csr.Name), "1"
	csr.Spec.Username = user(r)
	csr.Status = certificatesv1.CertificateSigningRequestStatus{
		Conditions:  []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue}},
		Certificate: a.ca.sign(a.t, request.Subject, request.PublicKey, request.DNSNames, request.IPAddresses, now.Add(next.from), now.Add(next.to)),
	}
	a.csrs[csr.Name] = &csr
	select {
	case a.asked <- csr:
	default:
	}
	answer(w, http.StatusCreated, &csr)
}

// list also answers watches, with nothing until the client goes.
func (a *api) list(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("watch") != "" {
		if r.URL.Query().Get("sendInitialEvents") != "" { // as an API server that cannot stream lists
			answer(w, http.StatusUnprocessableEntity, &metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonInvalid, Code: 422,
			})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	name, _ := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name=")
	a.mu.Lock()
	defer a.mu.Unlock()
	list := certificatesv1.CertificateSigningRequestList{
		TypeMeta: metav1.TypeMeta{Kind: "CertificateSigningRequestList", APIVersion: "certificates.k8s.io/v1"},
		ListMeta: metav1.ListMeta{ResourceVersion: "1"},
	}
	if csr := a.csrs[name]; csr != nil {
		list.Items = append(list.Items, *csr)
	}
	answer(w, http.StatusOK, &list)
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// kubeconfig writes a file that leads to the server with some credentials.
func (a *api) kubeconfig(file string, user clientcmdapi.AuthInfo) string {
	a.t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: a.URL, CertificateAuthorityData: a.ca.PEM()}
	config.AuthInfos["u"] = &user
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		a.t.Fatal(err)
	}
	return file
}

func write(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
