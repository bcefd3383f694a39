package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
)

func quantity(s string) resource.Quantity { return resource.MustParse(s) }

// pod is a Pod of our nodes.
func pod(name string) *corev1.Pod {
	class := "wasm"
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			RuntimeClassName: &class,
			Containers:       []corev1.Container{{Name: "c", Image: "example.org/c:v1"}},
		},
	}
}

// stage is the cluster that the tests of TestCluster share, and its node n1, which is this test.
type stage struct {
	dir      string
	admin    kubernetes.Interface
	nodeConf *rest.Config
	node     kubernetes.Interface
}

// Where the API server believes the node to be, and where without privilege it is.
const nodeIP, nodeListens = "10.99.0.1", "127.99.0.1"

func TestCluster(t *testing.T) {
	s := &stage{dir: filepath.Join(t.TempDir(), "a")}
	beside := filepath.Join(t.TempDir(), "b")
	second := make(chan error, 1)
	go func() { // at the same time
		out, err := devcluster(t, "up", "--dir", beside, "--signing-duration", "2m")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		second <- err
	}()
	t.Cleanup(func() { down(t, beside, "--purge") })
	out := up(t, s.dir)
	if want := "export KUBECONFIG=" + filepath.Join(s.dir, "admin.kubeconfig") + "\n"; !strings.HasPrefix(out, want) {
		t.Errorf("up printed %q, want it to begin with %q", out, want)
	}
	s.admin = client(t, config(t, s.dir, "admin"))
	for _, tt := range []struct {
		name string
		test func(*testing.T)
	}{
		{"ready", s.ready},
		{"usable at once", s.usable},
		{"up twice", func(t *testing.T) { fails(t, "runs already in "+s.dir, "up", "--dir", s.dir) }},
		{"join", s.join},
		{"node is held to itself", s.confined},
		{"serving certificates", s.serving},
		{"runtime classes", s.runtimeClasses},
		{"scheduled, logs", s.logs},
		{"side by side", func(t *testing.T) { s.beside(t, beside, <-second) }},
		{"restart", s.restart},
		{"killed", s.killed},
	} {
		if !t.Run(tt.name, tt.test) && s.node == nil {
			t.FailNow() // the rest needs the node
		}
	}
}

func (s *stage) ready(t *testing.T) {
	kubectl := binary(t, "kubectl", "KUBECTL")
	kubeconfig := "--kubeconfig=" + filepath.Join(s.dir, "admin.kubeconfig")
	if out, err := run(t, kubectl, kubeconfig, "get", "--raw", "/readyz"); err != nil || out != "ok" {
		t.Errorf("readyz: %v: %s", err, out)
	}
	out, err := run(t, kubectl, kubeconfig, "version")
	for _, want := range []string{"Client Version: v1.36.3", "Server Version: v1.36.3"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("version: %v: %s, want %s", err, out, want)
		}
	}
	if out, err := devcluster(t, "status", "--dir", s.dir); err != nil || !strings.Contains(out, "export KUBECONFIG=") {
		t.Errorf("status: %v: %s", err, out)
	}
}

func (s *stage) usable(t *testing.T) {
	p := pod("dry")
	p.Spec.RuntimeClassName = nil
	made, err := s.admin.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{"All"}})
	if err != nil {
		t.Fatal(err)
	}
	if made.Spec.ServiceAccountName != "default" || len(made.Spec.Volumes) != 1 {
		t.Errorf("got service account %q and %d volumes", made.Spec.ServiceAccountName, len(made.Spec.Volumes))
	}
	if _, err := s.admin.CoreV1().ConfigMaps("default").Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := s.admin.RbacV1().ClusterRoles().Get(t.Context(), "system:node", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func (s *stage) join(t *testing.T) {
	s.nodeConf = join(t, s.dir, "n1")
	s.node = client(t, s.nodeConf)
	who, err := s.node.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := who.Status.UserInfo.Username; got != "system:node:n1" {
		t.Errorf("the certificate is of %s", got)
	}
	register(t, s.node, "n1", nodeIP, 10250)
	eventually(t, "a CIDR of Pods", func() error {
		n, err := s.node.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
		if err == nil && !strings.HasPrefix(n.Spec.PodCIDR, "10.244.") {
			err = errors.New("it is " + strconv.Quote(n.Spec.PodCIDR))
		}
		return err
	})
}

// confined: Node authorizer and NodeRestriction are on, and only its own client certificate is renewed for a node.
func (s *stage) confined(t *testing.T) {
	ctx := t.Context()
	if _, err := s.node.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a node lists secrets: %v", err)
	}
	_, err := s.node.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2"}}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("a node creates another: %v", err)
	}
	if _, err := client(t, config(t, s.dir, "bootstrap")).CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the bootstrap token lists nodes: %v", err)
	}
	const signer = certificatesv1.KubeAPIServerClientKubeletSignerName
	if _, _, err := trySubmit(t, s.node, request{signer: signer, node: "n2"}); !apierrors.IsForbidden(err) {
		t.Errorf("a node asks for a certificate of another: %v", err)
	}
	own, _ := submit(t, s.node, request{signer: signer, node: "n1"})
	if got := verdict(t, s.admin, own); len(got.Certificate) == 0 {
		t.Errorf("its own certificate is not renewed: %+v", got)
	}
}

func (s *stage) serving(t *testing.T) {
	cert := serving(t, s.admin, s.node, request{node: "n1", dns: []string{"n1"}, ips: []net.IP{net.ParseIP(nodeIP)}})
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.VerifyHostname(nodeIP); err != nil {
		t.Error(err)
	}
	const signer = certificatesv1.KubeletServingSignerName
	if _, _, err := trySubmit(t, s.node, request{signer: signer, node: "n2", dns: []string{"n1"}}); !apierrors.IsForbidden(err) {
		t.Errorf("a node asks for a certificate of another: %v", err)
	}
	for _, tt := range []struct {
		name, says string
		r          request
	}{
		{"a foreign address", "10.99.0.2 is no address of node n1", request{node: "n1", ips: []net.IP{net.ParseIP("10.99.0.2")}}},
		{"a foreign name", "kubernetes.default is no address", request{node: "n1", dns: []string{"kubernetes.default"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.signer = signer
			name, _ := submit(t, s.node, tt.r)
			got := verdict(t, s.admin, name)
			if len(got.Certificate) > 0 || len(got.Conditions) != 1 || !strings.Contains(got.Conditions[0].Message, tt.says) {
				t.Errorf("got %+v, want a denial that says %q", got, tt.says)
			}
		})
	}
}

func (s *stage) runtimeClasses(t *testing.T) {
	if out, err := run(t, binary(t, "kubectl", "KUBECTL"), "--kubeconfig="+filepath.Join(s.dir, "admin.kubeconfig"),
		"apply", "-f", filepath.Join("..", "..", "runtimeclass")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, class := range []string{"wasm", "wasm-shared"} {
		p := pod("dry")
		p.Spec.RuntimeClassName = &class
		var made *corev1.Pod
		eventually(t, "admission knows "+class, func() (err error) {
			made, err = s.admin.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{"All"}})
			return err
		})
		if made.Spec.NodeSelector["kubernetes.io/arch"] != "wasm32-wasi" {
			t.Errorf("%s: node selector %v", class, made.Spec.NodeSelector)
		}
		for _, effect := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute} {
			tolerated := false
			for _, tol := range made.Spec.Tolerations {
				tolerated = tolerated || tol.Key == "kubernetes.io/arch" && tol.Value == "wasm32-wasi" && tol.Effect == effect
			}
			if !tolerated {
				t.Errorf("%s: %s is not tolerated: %+v", class, effect, made.Spec.Tolerations)
			}
		}
	}
}

// logs: a Pod is scheduled by its runtime class, and the API server reaches the node's server at an address no
// interface has, each knowing who the other is.
func (s *stage) logs(t *testing.T) {
	cert := serving(t, s.admin, s.node, request{node: "n1", dns: []string{"n1"}, ips: []net.IP{net.ParseIP(nodeIP)}})
	seen := make(chan string, 1)
	kubelet := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.Path + " " + strings.Join(r.TLS.PeerCertificates[0].Subject.Organization, ",")
		fmt.Fprint(w, "hello\n")
	}))
	l, err := net.Listen("tcp", net.JoinHostPort(nodeListens, "10250"))
	if err != nil {
		t.Fatal(err)
	}
	_ = kubelet.Listener.Close()
	kubelet.Listener = l
	kubelet.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}
	kubelet.StartTLS()
	defer kubelet.Close()

	if _, err := s.admin.CoreV1().Pods("default").Create(t.Context(), pod("p"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Pod is scheduled", func() error {
		p, err := s.admin.CoreV1().Pods("default").Get(t.Context(), "p", metav1.GetOptions{})
		if err == nil && p.Spec.NodeName != "n1" {
			err = fmt.Errorf("its node is %q: %+v", p.Spec.NodeName, p.Status.Conditions)
		}
		return err
	})
	out, err := run(t, binary(t, "kubectl", "KUBECTL"), "--kubeconfig="+filepath.Join(s.dir, "admin.kubeconfig"), "logs", "p")
	if err != nil || out != "hello\n" {
		t.Fatalf("logs: %v: %s", err, out)
	}
	if got, want := <-seen, "/containerLogs/default/p/c kubeadm:cluster-admins"; got != want {
		t.Errorf("the node saw %q, want %q", got, want)
	}
}

func (s *stage) beside(t *testing.T, dir string, err error) {
	if err != nil {
		t.Fatal(err)
	}
	c := config(t, dir, "admin")
	if mine := config(t, s.dir, "admin"); c.Host == mine.Host || string(c.CAData) == string(mine.CAData) {
		t.Errorf("both are at %s, or have one CA", c.Host)
	}
	nodes, err := client(t, c).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 0 {
		t.Errorf("the second cluster has %d nodes, %v", len(nodes.Items), err)
	}
	cert, err := certutil.ParseCertsPEM(join(t, dir, "n9").CertData)
	if err != nil {
		t.Fatal(err)
	}
	if now := time.Now(); cert[0].NotAfter.After(now.Add(2 * time.Minute)) {
		t.Errorf("at %v a certificate is valid until %v, want 2m", now, cert[0].NotAfter)
	}
}

// restart: everything that was handed out before is as good as before.
func (s *stage) restart(t *testing.T) {
	before := config(t, s.dir, "admin")
	token, err := s.admin.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	down(t, s.dir)
	fails(t, "does not run", "status", "--dir", s.dir)
	if _, err := s.node.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{}); err == nil {
		t.Error("the API server answers after down")
	}
	down(t, s.dir) // of what is down is nothing
	start(t, s.dir)
	if after := config(t, s.dir, "admin"); after.Host != before.Host || string(after.CAData) != string(before.CAData) {
		t.Errorf("it is at %s and was at %s, or has another CA", after.Host, before.Host)
	}
	s.remembers(t)
	s.accepts(t, token.Status.Token)
	if _, err := client(t, before).CoreV1().Pods("default").Get(t.Context(), "p", metav1.GetOptions{}); err != nil {
		t.Errorf("an old copy of the kubeconfig: %v", err)
	}
}

// remembers checks that the node is known and its certificate good.
func (s *stage) remembers(t *testing.T) {
	t.Helper()
	if _, err := s.node.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func (s *stage) accepts(t *testing.T, token string) {
	t.Helper()
	review, err := s.admin.AuthenticationV1().TokenReviews().Create(t.Context(),
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil || !review.Status.Authenticated {
		t.Errorf("a token from before: %v: %+v", err, review.Status)
	}
}

// killed: what a kill leaves behind, sockets, numbers and the lock, does not bother the next start.
func (s *stage) killed(t *testing.T) {
	pid := servedBy(t, s.dir)
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "status says that it is gone", func() error {
		if _, err := devcluster(t, "status", "--dir", s.dir); err == nil {
			return errors.New("it does not")
		}
		return nil
	})
	start(t, s.dir)
	s.remembers(t)
	if again := servedBy(t, s.dir); again == pid {
		t.Errorf("process %d serves still", pid)
	}
}

func servedBy(t *testing.T, dir string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscanf(string(data), `{"pid":%d`, &pid); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return pid
}

func TestNetworkNamespace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir, name := filepath.Join(t.TempDir(), "c"), fmt.Sprintf("devcluster-test-%d", os.Getpid())
	up(t, dir, "--netns", name)
	if c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(config(t, dir, "admin").Host, "https://")); err == nil {
		_ = c.Close()
		t.Error("the API server is reached from outside its namespace")
	}
	inside := func(args ...string) string {
		out, err := run(t, "ip", append([]string{"netns", "exec", name}, args...)...)
		if err != nil {
			t.Errorf("%v: %v: %s", args, err, out)
		}
		return out
	}
	kubectl := binary(t, "kubectl", "KUBECTL")
	if out := inside(kubectl, "--kubeconfig="+filepath.Join(dir, "admin.kubeconfig"), "get", "--raw", "/readyz"); out != "ok" {
		t.Errorf("readyz: %s", out)
	}
	for _, address := range []string{"10.99.0.1", "10.244.7.9"} {
		if out := inside("ip", "route", "get", address); !strings.HasPrefix(out, "local "+address) {
			t.Errorf("%s is not local: %s", address, out)
		}
	}
	fails(t, "belongs to something else", "up", "--dir", filepath.Join(t.TempDir(), "d"), "--netns", name)
	down(t, dir)
	fails(t, "has the network namespace "+name, "up", "--dir", dir, "--netns", name+"x")
	start(t, dir) // it remembers its namespace
	if out := inside(kubectl, "--kubeconfig="+filepath.Join(dir, "admin.kubeconfig"), "get", "--raw", "/readyz"); out != "ok" {
		t.Errorf("readyz after a restart: %s", out)
	}
	down(t, dir, "--purge")
	for _, path := range []string{dir, "/run/netns/" + name} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there after down --purge: %v", path, err)
		}
	}
}

// TestInterruptedUp: Ctrl-C on up leaves no process behind.
func TestInterruptedUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "f")
	cmd := exec.CommandContext(t.Context(), binary(t, "devcluster", "DEVCLUSTER"), "up", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it serves", func() error {
		_, err := devcluster(t, "status", "--dir", dir)
		return err
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted up succeeded")
	}
	fails(t, "does not run", "status", "--dir", dir)
	down(t, dir, "--purge")
}

func TestForeignDirectoriesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, "is not empty and holds no control plane: found thesis.txt", "up", "--dir", dir)
	fails(t, "holds no control plane", "down", "--dir", dir, "--purge")
	fails(t, "holds no control plane", "status", "--dir", dir)
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestPortOfTheLastTimeIsTaken(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "e")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"lock": "{}", "port": port} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, "take the port of the last time again", "up", "--dir", dir)
	fails(t, "address already in use", "up", "--dir", dir) // the lock was given back
	down(t, dir, "--purge")
}
