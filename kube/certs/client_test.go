package certs

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

func testClient(t *testing.T, a *api) (ClientConfig, *observer.ObservedLogs) {
	dir := t.TempDir()
	core, seen := observer.New(zap.InfoLevel)
	return ClientConfig{
		Kubeconfig:          filepath.Join(dir, "etc", "kubeconfig"),
		BootstrapKubeconfig: a.kubeconfig(filepath.Join(dir, "bootstrap"), clientcmdapi.AuthInfo{Token: "abc.def"}),
		NodeName:            "edge", Dir: filepath.Join(dir, "pki"), Log: zap.New(core),
	}, seen
}

func runClient(t *testing.T, config ClientConfig) *Client {
	t.Helper()
	c, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return c
}

func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("timed out waiting for", what)
		panic("unreachable")
	}
}

// whoami asks the API server.
func whoami(t *testing.T, c *Client) (string, error) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	v, err := client.Discovery().ServerVersion()
	if err != nil {
		return "", err
	}
	return v.GitVersion, nil
}

func TestBootstrap(t *testing.T) {
	a := newAPI(t)
	config, _ := testClient(t, a)
	config.Lifetime = time.Hour
	c := runClient(t, config)
	await(t, "credentials", c.Ready())

	csr := await(t, "a request", a.asked)
	if csr.Spec.Username != "abc.def" || csr.Spec.SignerName != certificatesv1.KubeAPIServerClientKubeletSignerName {
		t.Errorf("asked as %q of %q", csr.Spec.Username, csr.Spec.SignerName)
	}
	if diff := cmp.Diff([]certificatesv1.KeyUsage{"digital signature", "client auth"}, csr.Spec.Usages); diff != "" {
		t.Error(diff)
	}
	if s := csr.Spec.ExpirationSeconds; s == nil || *s != 3600 {
		t.Errorf("lifetime asked for: %v", s)
	}
	if got, err := whoami(t, c); err != nil || got != "system:node:edge" {
		t.Errorf("the API server sees %q, %v", got, err)
	}
	if !c.Managed() || c.Expires().IsZero() || string(c.CA()) != string(a.ca.PEM()) {
		t.Errorf("managed %v, expires %v, CA %d bytes", c.Managed(), c.Expires(), len(c.CA()))
	}

	// Others can use the file.
	rest, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if rest.CertFile != filepath.Join(config.Dir, "wazlet-client-current.pem") || rest.Host != a.URL || rest.BearerToken != "" {
		t.Errorf("kubeconfig: certificate %s, server %s, token %q", rest.CertFile, rest.Host, rest.BearerToken)
	}
	for _, file := range []string{config.Kubeconfig, rest.CertFile} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", file, info.Mode(), err)
		}
	}
}

func TestRestartAsksForNothing(t *testing.T) {
	a := newAPI(t)
	config, _ := testClient(t, a)
	await(t, "credentials", runClient(t, config).Ready())
	await(t, "a request", a.asked)
	config.BootstrapKubeconfig = "" // the token is long gone
	c := runClient(t, config)
	await(t, "credentials", c.Ready())
	if got, err := whoami(t, c); err != nil || got != "system:node:edge" {
		t.Errorf("the API server sees %q, %v", got, err)
	}
	if len(a.asked) != 0 {
		t.Error("asked for another certificate")
	}
}

func TestRotation(t *testing.T) {
	a := newAPI(t)
	a.lives = []life{{-time.Hour, time.Minute}, {-time.Second, time.Hour}} // the first one is past 90 % of its life
	a.hold = make(chan struct{})
	config, seen := testClient(t, a)
	closed := make(chan struct{})
	c := runClient(t, config)
	await(t, "credentials", c.Ready())
	go func() {
		defer close(closed)
		untilClosed(t, c, func() { close(a.hold) })
	}()
	first := await(t, "the first request", a.asked)
	second := await(t, "the second request", a.asked)
	if first.Spec.Username != "abc.def" || second.Spec.Username != "system:node:edge" {
		t.Errorf("asked as %q, then as %q", first.Spec.Username, second.Spec.Username)
	}
	await(t, "the end of a watch that began with the old certificate", closed)
	if got, err := whoami(t, c); err != nil || got != "system:node:edge" {
		t.Errorf("the API server sees %q, %v", got, err)
	}
	if left := time.Until(c.Expires()); left < 50*time.Minute {
		t.Errorf("the certificate in use lasts %v", left)
	}
	if seen.FilterMessageSnippet("renewed").Len() != 1 {
		t.Error("rotation is not logged")
	}
}

// untilClosed makes a request that does not end by itself and returns when its connection is closed.
func untilClosed(t *testing.T, c *Client, begun func()) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Config().Host+"/apis/certificates.k8s.io/v1/certificatesigningrequests?watch=1", nil)
	if err != nil {
		t.Error(err)
		return
	}
	resp, err := c.Config().Transport.RoundTrip(req)
	if err != nil {
		t.Error(err)
		return
	}
	begun()
	defer func() { _ = resp.Body.Close() }()
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
		t.Error("the watch has said something")
	}
}

func TestNoRotation(t *testing.T) {
	a := newAPI(t)
	a.lives = []life{{-time.Hour, time.Minute}}
	config, _ := testClient(t, a)
	config.NoRotation = true
	c := runClient(t, config)
	await(t, "credentials", c.Ready())
	await(t, "the first request", a.asked)
	again := runClient(t, config)
	await(t, "credentials", again.Ready())
	if got, err := whoami(t, again); err != nil || got != "system:node:edge" {
		t.Errorf("the API server sees %q, %v", got, err)
	}
	if len(a.asked) != 0 {
		t.Error("asked for another certificate")
	}
}

func TestFreshBootstrapTokenIsEnough(t *testing.T) {
	a := newAPI(t)
	a.accept("new.token")
	config, seen := testClient(t, a)
	c := runClient(t, config)
	await(t, "a refusal", a.refused)
	a.kubeconfig(config.BootstrapKubeconfig, clientcmdapi.AuthInfo{Token: "new.token"})
	await(t, "credentials", c.Ready())
	if seen.FilterMessageSnippet("does not accept the node's credentials").FilterField(zap.String("kubeconfig", config.BootstrapKubeconfig)).Len() != 1 {
		t.Errorf("want one message that names the file, have %v", seen.All())
	}
}

func TestExpiredCertificateIsAskedForAnew(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *ClientConfig){
		"expired":          func(*testing.T, *ClientConfig) {},
		"for another node": func(_ *testing.T, c *ClientConfig) { c.NodeName = "other" },
		"damaged": func(t *testing.T, c *ClientConfig) {
			current := filepath.Join(c.Dir, "wazlet-client-current.pem")
			if err := os.WriteFile(current, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"deleted": func(t *testing.T, c *ClientConfig) {
			if err := os.RemoveAll(c.Dir); err != nil {
				t.Fatal(err)
			}
		},
		"kubeconfig damaged, certificate deleted": func(t *testing.T, c *ClientConfig) {
			if err := os.RemoveAll(c.Dir); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(c.Kubeconfig, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			config, _ := testClient(t, a)
			config.NoRotation = true
			if name == "expired" {
				a.lives = []life{{-time.Hour, -time.Minute}, {-time.Minute, time.Hour}}
			}
			ctx, cancel := context.WithCancel(t.Context())
			first, err := NewClient(config)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				first.Run(ctx)
			}()
			await(t, "credentials", first.Ready())
			cancel()
			<-done
			await(t, "the first request", a.asked)

			change(t, &config)
			c := runClient(t, config)
			await(t, "credentials", c.Ready())
			if csr := await(t, "another request", a.asked); csr.Spec.Username != "abc.def" {
				t.Errorf("asked as %q, want the bootstrap token", csr.Spec.Username)
			}
			if got, err := whoami(t, c); err != nil || got != "system:node:"+config.NodeName {
				t.Errorf("the API server sees %q, %v", got, err)
			}
		})
	}
}

func TestKubeconfigWithOwnCredentialsIsUsedAsItIs(t *testing.T) {
	a := newAPI(t)
	config, seen := testClient(t, a)
	config.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	a.kubeconfig(config.Kubeconfig, clientcmdapi.AuthInfo{Token: "mine"})
	a.accept("mine")
	before, err := os.ReadFile(config.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c := runClient(t, config)
	await(t, "credentials", c.Ready())
	if got, err := whoami(t, c); err != nil || got != "mine" || c.Managed() {
		t.Errorf("the API server sees %q, %v; managed %v", got, err, c.Managed())
	}
	a.accept()
	for range 3 {
		if _, err := whoami(t, c); err == nil {
			t.Error("a wrong token is accepted")
		}
	}
	if n := seen.FilterMessageSnippet("does not accept the node's credentials").Len(); n != 1 {
		t.Errorf("%d messages of refusals, want 1", n)
	}
	a.accept("mine")
	if _, err := whoami(t, c); err != nil {
		t.Error(err)
	}
	after, err := os.ReadFile(config.Kubeconfig)
	if err != nil || string(before) != string(after) {
		t.Errorf("the kubeconfig was changed (%v)", err)
	}
	if len(a.asked) != 0 {
		t.Error("asked for a certificate")
	}
}

func TestKubeconfigWithExpiredCertificate(t *testing.T) {
	a := newAPI(t)
	config, seen := testClient(t, a)
	cert, key := a.ca.pair(t, "system:node:edge", nil, nil, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	own := filepath.Join(t.TempDir(), "own")
	a.kubeconfig(own, clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key})
	config.Kubeconfig = own

	bootstrapped := runClient(t, config)
	await(t, "credentials", bootstrapped.Ready())
	if !bootstrapped.Managed() {
		t.Error("the bootstrap kubeconfig was not used")
	}
	a.kubeconfig(own, clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key})
	config.BootstrapKubeconfig = ""
	if _, err := NewClient(config); err != nil {
		t.Error("expired credentials must not end the daemon:", err)
	}
	if seen.FilterMessageSnippet("will be refused").Len() != 1 {
		t.Error("no warning")
	}
}

func TestNoCertificateAndNoBootstrap(t *testing.T) {
	a := newAPI(t)
	config, seen := testClient(t, a)
	await(t, "credentials", runClient(t, config).Ready())
	config.BootstrapKubeconfig = ""
	if err := os.RemoveAll(config.Dir); err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(config)
	if err != nil {
		t.Fatal("must be tried again, not be the end:", err)
	}
	_, err = c.signingClient(nil)
	if err == nil || !strings.Contains(err.Error(), "there is no valid certificate for system:node:edge") {
		t.Error(err)
	}
	if _, err := whoami(t, c); err == nil {
		t.Error("the API server knows somebody without credentials")
	}
	if seen.FilterMessageSnippet("does not accept").Len() == 0 {
		t.Error("the refusal is not logged")
	}
}

func TestConfigurationThatCannotWork(t *testing.T) {
	a := newAPI(t)
	dir := t.TempDir()
	bad := write(t, dir, "bad", []byte("kind: {"))
	empty := write(t, dir, "empty", nil)
	plain := write(t, dir, "plain", []byte(strings.ReplaceAll(`{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:1"}}],"users":[{"name":"u","user":{"token":"a"}}]}`, "\n", "")))
	for name, tt := range map[string]struct {
		change func(*ClientConfig)
		want   string
	}{
		"nothing":            {func(c *ClientConfig) { *c = ClientConfig{} }, "kubeconfig: must not be empty\nnodeName: must not be empty\ncertificate directory: must not be empty"},
		"neither file":       {func(c *ClientConfig) { c.BootstrapKubeconfig = "" }, "does not exist, and there is no bootstrapKubeconfig"},
		"no bootstrap file":  {func(c *ClientConfig) { c.BootstrapKubeconfig = "/nowhere" }, "bootstrapKubeconfig /nowhere: open /nowhere"},
		"bad bootstrap file": {func(c *ClientConfig) { c.BootstrapKubeconfig = bad }, "bootstrapKubeconfig " + bad},
		"empty bootstrap":    {func(c *ClientConfig) { c.BootstrapKubeconfig = empty }, "invalid configuration"},
		"without TLS":        {func(c *ClientConfig) { c.BootstrapKubeconfig = plain }, `a node needs TLS (got server "http://127.0.0.1:1")`},
		"bad kubeconfig":     {func(c *ClientConfig) { c.Kubeconfig, c.BootstrapKubeconfig = bad, "" }, "kubeconfig " + bad},
		"directory":          {func(c *ClientConfig) { c.Dir = filepath.Join(bad, "pki") }, "certificate directory"},
	} {
		t.Run(name, func(t *testing.T) {
			config, _ := testClient(t, a)
			tt.change(&config)
			if _, err := NewClient(config); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestOldCertificatesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"wazlet-client-2026-01-01-00-00-00.pem", "wazlet-client-2026-01-02-00-00-00.pem", "wazlet-client-2026-01-03-00-00-00.pem"} {
		write(t, dir, name, []byte("x"))
	}
	s, err := openStore(dir, "wazlet-client", zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	heard := 0
	s.updated = func(*tls.Certificate) { heard++ }
	cert, key := newAuthority(t).pair(t, "a", nil, nil, time.Now(), time.Now().Add(time.Hour))
	if _, err := s.Update(cert, key); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "wazlet-client-2*.pem"))
	if err != nil || len(files) != keep || heard != 1 {
		t.Errorf("%d files left, want %d; told %d times; %v", len(files), keep, heard, err)
	}
	if _, err := s.Current(); err != nil {
		t.Error(err)
	}
}
