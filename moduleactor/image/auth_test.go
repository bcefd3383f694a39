package image

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

// writeFile puts a file into a fresh directory.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func basicOf(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// needBasic lets nobody in without the password.
func needBasic(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
		w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	next.ServeHTTP(w, r)
}

// tokenServer is a registry that wants bearer tokens, which it gives out itself.
func tokenServer(reg *faulty, check func(*http.Request) bool) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case r.URL.Path == "/token":
			if !check(r) {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"token": "t0k3n"})
		case r.Header.Get("Authorization") != "Bearer t0k3n":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+reg.URL+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	}
}

func TestAuth(t *testing.T) {
	basicUser := func(r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		return user == "me" && password == "secret" && strings.Contains(r.URL.Query().Get("scope"), "repository:hello:pull")
	}
	refresh := func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.FormValue("refresh_token") == "idtoken"
	}
	anyone := func(*http.Request) bool { return true }
	basic := func(*faulty) func(http.ResponseWriter, *http.Request, http.Handler) { return needBasic }
	bearer := func(check func(*http.Request) bool) func(*faulty) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(f *faulty) func(http.ResponseWriter, *http.Request, http.Handler) { return tokenServer(f, check) }
	}
	tests := map[string]struct {
		guard  func(*faulty) func(http.ResponseWriter, *http.Request, http.Handler)
		config string // HOST is replaced; empty: none
		says   string // empty: it works
	}{
		"basic, auth":              {basic, `{"auths":{"HOST":{"auth":"` + basicOf("me", "secret") + `"}}}`, ""},
		"basic, username":          {basic, `{"auths":{"http://HOST/v2/":{"username":"me","password":"secret"}}}`, ""},
		"basic, for a repository":  {basic, `{"auths":{"HOST":{"username":"x","password":"y"},"HOST/hello":{"username":"me","password":"secret"}}}`, ""},
		"basic, wrong":             {basic, `{"auths":{"HOST":{"username":"me","password":"wrong"}}}`, "unauthorized"},
		"basic, other host":        {basic, `{"auths":{"example.com":{"username":"me","password":"secret"}}}`, "unauthorized"},
		"basic, other repository":  {basic, `{"auths":{"HOST/hell":{"username":"me","password":"secret"}}}`, "unauthorized"},
		"basic, anonymous":         {basic, "", "give credentials in a docker config file"},
		"bearer, anonymous":        {bearer(anyone), "", ""},
		"bearer, user":             {bearer(basicUser), `{"auths":{"HOST":{"auth":"` + basicOf("me", "secret") + `"}}}`, ""},
		"bearer, anonymous denied": {bearer(basicUser), "", "unauthorized"},
		"bearer, identity token":   {bearer(refresh), `{"auths":{"HOST":{"identitytoken":"idtoken"}}}`, ""},
		"bearer, registry token":   {bearer(func(*http.Request) bool { return false }), `{"auths":{"HOST":{"registrytoken":"t0k3n"}}}`, ""},
		"config is no JSON":        {bearer(anyone), `{"auths":{"HOST":{"auth":"` + basicOf("me", "secret") + `"`, "not a docker config.json"},
		"auth is no base64":        {bearer(anyone), `{"auths":{"HOST":{"auth":"%%"}}}`, "not a docker config.json"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reg := plainRegistry(t)
			ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
			reg.breakWith(tt.guard(reg))
			s := openStore(t, func(c *Config) {
				if tt.config != "" {
					c.DockerConfig = writeFile(t, "config.json", strings.ReplaceAll(tt.config, "HOST", reg.host))
				}
			})
			_, err := s.Ensure(t.Context(), ref, IfNotPresent)
			switch {
			case tt.says == "" && err != nil:
				t.Error(err)
			case tt.says != "" && (err == nil || reasonOf(t, err) != ErrImagePull || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("error is %v, want ErrImagePull that says %q", err, tt.says)
			case err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), basicOf("me", "secret"))):
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
	t.Run("no such file", func(t *testing.T) {
		s := openStore(t, func(c *Config) { c.DockerConfig = "/nonexistent/config.json" })
		_, err := s.Ensure(t.Context(), "127.0.0.1:1/x", IfNotPresent)
		if err == nil || !strings.Contains(err.Error(), "read credentials: open /nonexistent/config.json") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestCredentialKeys(t *testing.T) {
	tests := []struct {
		key, registry, repository string
		match                     bool
	}{
		{"ghcr.io", "ghcr.io", "a/b", true},
		{"https://ghcr.io", "ghcr.io", "a/b", true},
		{"https://index.docker.io/v1/", "index.docker.io", "library/x", true},
		{"docker.io", "index.docker.io", "library/x", true},
		{"*.example.com", "reg.example.com", "x", true},
		{"*.example.com", "a.reg.example.com", "x", false},
		{"*.example.com", "example.com", "x", false},
		{"reg*.example.com:5000/team", "reg7.example.com:5000", "team/x", true},
		{"ghcr.io/team", "ghcr.io", "team", true},
		{"ghcr.io/team", "ghcr.io", "team/x", true},
		{"ghcr.io/team", "ghcr.io", "teams/x", false},
		{"ghcr.io:443", "ghcr.io", "x", false},
		{"[", "ghcr.io", "x", false},
	}
	for _, tt := range tests {
		if got := matchKey(tt.key, tt.registry, tt.repository) >= 0; got != tt.match {
			t.Errorf("%s for %s/%s: %t, want %t", tt.key, tt.registry, tt.repository, got, tt.match)
		}
	}
}

// TestCredentialHelpers runs a helper as docker does.
func TestCredentialHelpers(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nread host\ncase $host in\n" +
		"good.io) echo '{\"Username\":\"u\",\"Secret\":\"s\"}';;\n" +
		"token.io) echo '{\"Username\":\"<token>\",\"Secret\":\"idt\"}';;\n" +
		"broken.io) echo garbage;;\n" +
		"none.io) echo 'credentials not found in native keychain'; exit 1;;\n" +
		"*) echo oops >&2; exit 3;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	helpers := dockerConfig{CredHelpers: map[string]string{
		"good.io": "test", "token.io": "test", "broken.io": "test", "none.io": "test", "bad.io": "test", "evil.io": "../../x",
	}}
	tests := map[string]struct {
		want authn.AuthConfig
		says string
	}{
		"good.io":   {want: authn.AuthConfig{Username: "u", Password: "s"}},
		"token.io":  {want: authn.AuthConfig{IdentityToken: "idt"}},
		"none.io":   {},
		"other.io":  {},
		"broken.io": {says: "its answer is not JSON"},
		"bad.io":    {says: "run docker-credential-test for bad.io: exit status 3: oops"},
		"evil.io":   {says: "not a plain name"},
	}
	for host, tt := range tests {
		a, err := helpers.find(context.Background(), host, "x")
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: error is %v, want one that says %q", host, err, tt.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		got, err := a.Authorization()
		if err != nil || got.Username != tt.want.Username || got.Password != tt.want.Password || got.IdentityToken != tt.want.IdentityToken {
			t.Errorf("%s: %+v, %v; want %+v", host, got, err, tt.want)
		}
	}
	store := dockerConfig{CredsStore: "test", Auths: map[string]authn.AuthConfig{"good.io": {}}}
	a, err := store.find(context.Background(), "good.io", "x")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.Authorization(); err != nil || got.Username != "u" {
		t.Errorf("credsStore: %+v, %v", got, err)
	}
}

func FuzzDockerConfig(f *testing.F) {
	f.Add([]byte(`{"auths":{"ghcr.io/x":{"auth":"YTpi"},"*.io":{}}}`))
	f.Add([]byte(`{"auths":{"[":{"identitytoken":"x"}},"credHelpers":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseDockerConfig(b)
		if err != nil {
			return
		}
		c.CredHelpers, c.CredsStore = nil, "" // would run programs
		if _, err := c.find(t.Context(), "ghcr.io", "x/y"); err != nil {
			t.Error(err)
		}
	})
}

// TestTLS checks which registries are trusted.
func TestTLS(t *testing.T) {
	reg := newRegistry(t, httptest.NewTLSServer)
	ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: reg.Certificate().Raw})))

	_, err := openStore(t).Ensure(t.Context(), ref, IfNotPresent)
	if reasonOf(t, err) != ErrImagePull || !strings.Contains(err.Error(), "--ca-file") {
		t.Errorf("unknown authority: %v", err)
	}
	mustEnsure(t, openStore(t, func(c *Config) { c.CAFiles = []string{ca} }), ref, IfNotPresent)
	mustEnsure(t, openStore(t, func(c *Config) { c.InsecureRegistries = []string{reg.host} }), ref, IfNotPresent)
	mustEnsure(t, openStore(t, func(c *Config) { c.InsecureRegistries = []string{"127.0.0.1"} }), ref, IfNotPresent)
}

// TestPlainHTTP: credentials and images never travel in the clear unless somebody said so, loopback aside.
func TestPlainHTTP(t *testing.T) {
	reg := plainRegistry(t)
	reg.push(t, "hello:v1", cncf(coreModule))
	reg.forgetRequests()
	// 10.0.0.9 is what ggcr takes for a local network; all connections end at our registry.
	proxied := func(s *Store) {
		for _, tr := range []*http.Transport{s.remote.wire.strict, s.remote.wire.lax} {
			tr.Proxy = nil
			tr.DialContext = dialAlways(reg.host)
		}
	}
	strict := openStore(t)
	proxied(strict)
	_, err := strict.Ensure(t.Context(), "10.0.0.9:5000/hello:v1", IfNotPresent)
	if err == nil || !strings.Contains(err.Error(), `plain HTTP to 10.0.0.9:5000 is not allowed`) || reasonOf(t, err) != ErrImagePull {
		t.Errorf("error is %v", err)
	}
	if n := reg.requests("/v2/hello/"); n != 0 {
		t.Errorf("%d requests were made all the same", n)
	}
	lax := openStore(t, func(c *Config) { c.InsecureRegistries = []string{"10.0.0.9:5000"} })
	proxied(lax)
	mustEnsure(t, lax, "10.0.0.9:5000/hello:v1", IfNotPresent)
}

func TestRedirects(t *testing.T) {
	for target, ok := range map[string]bool{
		"https://cdn.example.com/x": true, "https://169.254.169.254/x": false, "https://localhost/x": false, "https://reg.example.com/y": true, "https://[::1]/x": false,
	} {
		to, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		from := httptest.NewRequest(http.MethodGet, "https://reg.example.com/v2/", nil)
		if err := checkRedirect(to, []*http.Request{from}); (err == nil) != ok {
			t.Errorf("%s: %v, want allowed %t", target, err, ok)
		}
	}
}

func TestBadConfig(t *testing.T) {
	empty := writeFile(t, "ca.pem", "nothing")
	tests := map[string]struct {
		change func(*Config)
		says   string
	}{
		"no directory":             {func(c *Config) { c.Dir = "" }, "no directory given"},
		"pulls":                    {func(c *Config) { c.MaxParallelPulls = -1 }, "maxParallelPulls: must be positive (got -1)"},
		"bytes":                    {func(c *Config) { c.MaxImageBytes = -1 }, "maxImageBytes: must be positive (got -1)"},
		"insecure with scheme":     {func(c *Config) { c.InsecureRegistries = []string{"a", "http://b"} }, `insecureRegistries[1]: "http://b"`},
		"no such CA":               {func(c *Config) { c.CAFiles = []string{"/nonexistent"} }, "caFiles[0]: open /nonexistent"},
		"CA without a certificate": {func(c *Config) { c.CAFiles = []string{empty} }, "no PEM certificate"},
		"mirror of nothing":        {func(c *Config) { c.Mirrors = map[string][]string{"a b": {"x.y"}} }, `mirrors["a b"]`},
		"mirror with scheme":       {func(c *Config) { c.Mirrors = map[string][]string{"docker.io": {"https://x.y"}} }, `"https://x.y" is not host[:port][/path]`},
		"mirror without dot":       {func(c *Config) { c.Mirrors = map[string][]string{"docker.io": {"mirror"}} }, `"mirror" is not host[:port][/path]`},
		"directory is a file":      {func(c *Config) { c.Dir = empty }, "not a directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir()}
			tt.change(&cfg)
			if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v, want one that says %q", err, tt.says)
			}
		})
	}
}
