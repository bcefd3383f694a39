package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/wazlet/wazlet/kube/server"
)

// tokenAPI knows the token "good" and counts what it is asked.
type tokenAPI struct {
	mu     sync.Mutex
	asked  []string
	broken error
}

func (a *tokenAPI) Create(_ context.Context, r *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.Spec.Token)
	if a.broken != nil {
		return nil, a.broken
	}
	answer := r.DeepCopy()
	if r.Spec.Token == "good" {
		answer.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{
			Username: "system:serviceaccount:m:metrics", UID: "7", Groups: []string{"system:serviceaccounts"},
			Extra: map[string]authenticationv1.ExtraValue{"scope": {"a"}},
		}}
	} else {
		answer.Status.Error = "no such token"
	}
	return answer, nil
}

func (a *tokenAPI) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// accessAPI allows what is listed as "user verb subresource" and keeps what it is asked.
type accessAPI struct {
	mu     sync.Mutex
	allow  map[string]bool
	asked  []authorizationv1.SubjectAccessReviewSpec
	broken error
}

func (a *accessAPI) Create(_ context.Context, r *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.Spec)
	if a.broken != nil {
		return nil, a.broken
	}
	answer := r.DeepCopy()
	answer.Status.Allowed = a.allow[r.Spec.User+" "+r.Spec.ResourceAttributes.Verb+" "+r.Spec.ResourceAttributes.Subresource]
	return answer, nil
}

func (a *accessAPI) take() (subresources []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.asked {
		subresources = append(subresources, s.ResourceAttributes.Subresource)
	}
	a.asked = nil
	return subresources
}

func everything() server.Handlers {
	return server.Handlers{Pods: listing(), Exec: shell, ConfigZ: func() any { return struct{}{} }, RunningPods: listing()}
}

func TestAuthentication(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	expired := ca.issue(t, x509.Certificate{
		Subject: pkix.Name{CommonName: "late"}, NotAfter: time.Now().Add(-time.Minute), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	serving := ca.issue(t, x509.Certificate{Subject: pkix.Name{CommonName: "srv"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	nameless := ca.issue(t, x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	admin, stranger := ca.client(t, "admin", "dev", "ops"), other.client(t, "admin")
	const robot = "system:serviceaccount:m:metrics"
	for _, tc := range []struct {
		name      string
		cert      *tls.Certificate
		header    string
		anonymous bool
		code      int
		user      string
		groups    []string
	}{
		{"nothing", nil, "", false, 401, "", nil},
		{"a certificate", &admin, "", false, 200, "admin", []string{"dev", "ops", "system:authenticated"}},
		{"a certificate of a stranger", &stranger, "", false, 401, "", nil},
		{"an expired certificate", &expired, "", false, 401, "", nil},
		{"a serving certificate", &serving, "", false, 401, "", nil},
		{"a certificate without a name", &nameless, "", false, 401, "", nil},
		{"a token", nil, "Bearer good", false, 200, robot, []string{"system:serviceaccounts", "system:authenticated"}},
		{"a token, in other letters", nil, "bearer good", false, 200, robot, []string{"system:serviceaccounts", "system:authenticated"}},
		{"a wrong token", nil, "Bearer bad", false, 401, "", nil},
		{"an empty token", nil, "Bearer ", false, 401, "", nil},
		{"a password", nil, "Basic Z29vZA==", false, 401, "", nil},
		{"a stranger's certificate and a token", &stranger, "Bearer good", false, 200, robot, []string{"system:serviceaccounts", "system:authenticated"}},
		{"a certificate and a wrong token", &admin, "Bearer bad", false, 200, "admin", []string{"dev", "ops", "system:authenticated"}},
		{"nothing, where that is let in", nil, "", true, 200, "system:anonymous", []string{"system:unauthenticated"}},
		{"a wrong token, where nothing is let in", nil, "Bearer bad", true, 401, "", nil},
		{"a stranger, where nothing is let in", &stranger, "", true, 401, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			api := &accessAPI{allow: map[string]bool{"admin get pods": true, robot + " get pods": true, "system:anonymous get pods": true}}
			n := serveTLS(t, ca, server.TLSConfig{ClientCAs: ca.Pool}, server.Auth{
				Tokens: &tokenAPI{}, Access: api, Anonymous: tc.anonymous,
			}, everything())
			client := n.http()
			if tc.cert != nil {
				// The server names its authorities; a client sends what it has all the same.
				client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tc.cert, nil }
			}
			r := request(t, "GET", n.url("/pods"))
			if tc.header != "" {
				r.Header.Set("Authorization", tc.header)
			}
			code, body := fetch(t, client, r)
			if code != tc.code || (code == http.StatusUnauthorized && body != "Unauthorized") {
				t.Fatalf("%d %q", code, body)
			}
			if code != http.StatusOK {
				return
			}
			if api.asked[0].User != tc.user {
				t.Errorf("user %q", api.asked[0].User)
			}
			if diff := cmp.Diff(tc.groups, api.asked[0].Groups); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthorization(t *testing.T) {
	for _, tc := range []struct {
		method, path, allow string
		code                int
		asked               []string
		body                string
	}{
		{"GET", "/pods", "admin get pods", 200, []string{"pods"}, ""},
		{"GET", "/pods", "admin get proxy", 200, []string{"pods", "proxy"}, ""},
		{"GET", "/pods", "admin get stats", 403, []string{"pods", "proxy"}, "Forbidden (user=admin, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"},
		{"GET", "/runningpods/", "admin get pods", 200, []string{"pods"}, ""},
		{"GET", "/healthz", "admin get healthz", 200, []string{"healthz"}, ""},
		{"GET", "/healthz/ping", "admin get healthz", 200, []string{"healthz"}, ""},
		{"GET", "/readyz", "admin get healthz", 403, []string{"proxy"}, "Forbidden (user=admin, verb=get, resource=nodes, subresource(s)=[proxy])\n"},
		{"GET", "/configz", "admin get configz", 200, []string{"configz"}, ""},
		{"GET", "/metrics/resource", "admin get metrics", 404, []string{"metrics"}, "404 page not found\n"},
		{"GET", "/stats/summary", "admin get proxy", 403, []string{"stats"}, "Forbidden (user=admin, verb=get, resource=nodes, subresource(s)=[stats])\n"},
		{"POST", "/stats/summary", "admin create stats", 404, []string{"stats"}, "404 page not found\n"},
		{"GET", "/logs/x", "admin get log", 404, []string{"log"}, "404 page not found\n"},
		{"GET", "/checkpoint/a/b/c", "admin get checkpoint", 405, []string{"checkpoint"}, "Method Not Allowed\n"},
		{"GET", "/statusz", "admin get statusz", 404, []string{"statusz"}, "404 page not found\n"},
		{"GET", "/flagz", "admin get configz", 404, []string{"configz"}, "404 page not found\n"},
		{"POST", "/exec/a/b/c?output=1", "admin create proxy", 404, []string{"proxy"}, "pod does not exist\n"},
		{"GET", "/exec/a/b/c?output=1", "admin create proxy", 403, []string{"proxy"}, "Forbidden (user=admin, verb=get, resource=nodes, subresource(s)=[proxy])\n"},
		{"PUT", "/pods", "admin update pods", 405, []string{"pods"}, "Method Not Allowed\n"},
		{"PATCH", "/pods", "admin patch pods", 405, []string{"pods"}, "Method Not Allowed\n"},
		{"DELETE", "/pods", "", 403, []string{"pods", "proxy"}, "Forbidden (user=admin, verb=delete, resource=nodes, subresource(s)=[pods proxy])\n"},
		{"OPTIONS", "/pods", "", 403, []string{"pods", "proxy"}, "Forbidden (user=admin, verb=, resource=nodes, subresource(s)=[pods proxy])\n"},
		{"GET", "/podsx", "admin get pods", 403, []string{"proxy"}, "Forbidden (user=admin, verb=get, resource=nodes, subresource(s)=[proxy])\n"},
		{"GET", "/nowhere", "admin get proxy", 404, []string{"proxy"}, "404 page not found\n"},
	} {
		t.Run(tc.method+" "+tc.path+" "+tc.allow, func(t *testing.T) {
			api := &accessAPI{allow: map[string]bool{tc.allow: true}}
			n := serve(t, server.Auth{Access: api}, everything())
			code, body := fetch(t, n.admin(), request(t, tc.method, n.url(tc.path)))
			if code != tc.code || (tc.body != "" && body != tc.body) {
				t.Errorf("%d %q, want %d %q", code, body, tc.code, tc.body)
			}
			for _, s := range api.asked {
				a := s.ResourceAttributes
				if a.Name != "n1" || a.Resource != "nodes" || a.Version != "v1" || a.Namespace != "" || a.Group != "" || s.NonResourceAttributes != nil {
					t.Errorf("asked %+v", a)
				}
			}
			if diff := cmp.Diff(tc.asked, api.take()); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhatIsAskedOfWhom has the whole review of a token's user.
func TestWhatIsAskedOfWhom(t *testing.T) {
	api := &accessAPI{}
	n := serve(t, server.Auth{Tokens: &tokenAPI{}, Access: api}, everything())
	r := request(t, "GET", n.url("/metrics"))
	r.Header.Set("Authorization", "Bearer good")
	fetch(t, n.http(), r)
	want := []authorizationv1.SubjectAccessReviewSpec{{
		User: "system:serviceaccount:m:metrics", UID: "7", Groups: []string{"system:serviceaccounts", "system:authenticated"},
		Extra:              map[string]authorizationv1.ExtraValue{"scope": {"a"}},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Version: "v1", Resource: "nodes", Subresource: "metrics", Name: "n1"},
	}}
	if diff := cmp.Diff(want, api.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAuthorizationError(t *testing.T) {
	api := &accessAPI{broken: errors.New("the API server says no more")}
	n := serve(t, server.Auth{Access: api}, everything())
	client := n.admin()
	code, body := fetch(t, client, request(t, "GET", n.url("/pods")))
	if want := "Authorization error (user=admin, verb=get, resource=nodes, subresource=pods)"; code != http.StatusInternalServerError || body != want {
		t.Errorf("%d %q", code, body)
	}
	api.mu.Lock()
	api.broken, api.allow = nil, map[string]bool{"admin get pods": true}
	api.mu.Unlock()
	if code, body := fetch(t, client, request(t, "GET", n.url("/pods"))); code != http.StatusOK {
		t.Errorf("the error was remembered: %d %q", code, body)
	}
}

func TestAnswersAreRemembered(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	tokens, access := &tokenAPI{}, &accessAPI{allow: map[string]bool{"system:serviceaccount:m:metrics get metrics": true}}
	n := serve(t, server.Auth{Tokens: tokens, Access: access, Clock: clock}, everything())
	client := n.http()
	ask := func(token, path string) int {
		r := request(t, "GET", n.url(path))
		r.Header.Set("Authorization", "Bearer "+token)
		code, _ := fetch(t, client, r)
		return code
	}
	for _, step := range []struct {
		after       time.Duration
		token, path string
		code        int
		tokens      int // reviews so far
		access      []string
	}{
		{0, "good", "/metrics", 404, 1, []string{"metrics"}},
		{0, "good", "/metrics", 404, 1, nil},
		{0, "good", "/stats/summary", 403, 1, []string{"stats"}},
		{29 * time.Second, "good", "/stats/summary", 403, 1, nil},
		{time.Second, "good", "/stats/summary", 403, 1, []string{"stats"}}, // a no is good for 30 s
		{0, "bad", "/metrics", 401, 2, nil},
		{89 * time.Second, "good", "/metrics", 404, 2, nil},
		{time.Second, "good", "/metrics", 404, 3, nil}, // a token is good for 2 minutes
		{28 * time.Second, "bad", "/metrics", 401, 3, nil},
		{2 * time.Second, "bad", "/metrics", 401, 4, nil}, // a bad one is bad for as long
		{149 * time.Second, "good", "/metrics", 404, 5, nil},
		{time.Second, "good", "/metrics", 404, 5, []string{"metrics"}}, // a yes is good for 5 minutes
	} {
		clock.Step(step.after)
		code := ask(step.token, step.path)
		if got := access.take(); code != step.code || tokens.count() != step.tokens || !cmp.Equal(got, step.access) {
			t.Errorf("%+v: %d, %d reviews, asked %v", step, code, tokens.count(), got)
		}
	}
}

func TestClientAuthoritiesChange(t *testing.T) {
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	file := filepath.Join(t.TempDir(), "ca.crt")
	replace := func(data []byte) {
		t.Helper()
		next := file + ".next"
		if err := os.WriteFile(next, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	replace(before.PEM())
	var changes []string
	authorities, err := server.NewCAFile(file, func(err error) { changes = append(changes, message(err)) })
	if err != nil {
		t.Fatal(err)
	}
	n := serveTLS(t, before, server.TLSConfig{ClientCAs: authorities.Pool}, server.Auth{}, everything())
	old, fresh := n.http(before.client(t, "old")), n.http(after.client(t, "fresh"))
	want := func(step string, oldCode, freshCode int) {
		t.Helper()
		// old's connection stays open: it is judged anew at each request.
		if code, _ := fetch(t, old, request(t, "GET", n.url("/pods"))); code != oldCode {
			t.Errorf("%s: old certificate: %d, want %d", step, code, oldCode)
		}
		fresh.CloseIdleConnections() // it sends a certificate only to who knows its authority
		if code, _ := fetch(t, fresh, request(t, "GET", n.url("/pods"))); code != freshCode {
			t.Errorf("%s: fresh certificate: %d, want %d", step, code, freshCode)
		}
	}
	want("before", 200, 401)
	replace(append(before.PEM(), after.PEM()...))
	want("both", 200, 200)
	replace([]byte("not a certificate"))
	want("broken file", 200, 200)
	replace(after.PEM())
	want("after", 401, 200)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want("file gone", 401, 200)
	if diff := cmp.Diff([]string{"", "client CA: " + file + ": no PEM certificate found", ""}, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestCAFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		empty:                      "no PEM certificate found",
		filepath.Join(dir, "none"): "no such file or directory",
	} {
		if _, err := server.NewCAFile(file, nil); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
