package image

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func configSecret(name, config string) PullSecret {
	return PullSecret{
		UID: "uid-" + name, Namespace: "ns", Name: name, Type: secretDockerConfigJSON,
		Data: map[string][]byte{keyDockerConfigJSON: []byte(config)},
	}
}

func legacySecret(name, config string) PullSecret {
	return PullSecret{
		UID: "uid-" + name, Namespace: "ns", Name: name, Type: secretDockercfg, Data: map[string][]byte{keyDockercfg: []byte(config)},
	}
}

// auths is a docker config for the test's registry.
func auths(key, entry string) string { return fmt.Sprintf(`{"auths":{%q:%s}}`, key, entry) }

// TestPullSecrets pulls with every form that credentials come in, from a registry that wants them.
func TestPullSecrets(t *testing.T) {
	const good, bad = `{"username":"me","password":"secret"}`, `{"username":"me","password":"wrong"}`
	tests := map[string]struct {
		secrets func(host string) []PullSecret
		node    string // the node's own docker config
		says    string // empty: it works
	}{
		"auth": {secrets: func(h string) []PullSecret {
			return []PullSecret{configSecret("a", auths(h, `{"auth":"`+basicOf("me", "secret")+`"}`))}
		}},
		"auth without padding": {secrets: func(h string) []PullSecret {
			return []PullSecret{configSecret("a", auths(h, `{"auth":"`+strings.TrimRight(basicOf("me", "secret"), "=")+`"}`))}
		}},
		"username": {secrets: func(h string) []PullSecret { return []PullSecret{configSecret("a", auths(h, good))} }},
		"url":      {secrets: func(h string) []PullSecret { return []PullSecret{configSecret("a", auths("https://"+h+"/v1/", good))} }},
		"path":     {secrets: func(h string) []PullSecret { return []PullSecret{configSecret("a", auths(h+"/hello", good))} }},
		"wildcard": {secrets: func(h string) []PullSecret {
			return []PullSecret{configSecret("a", auths(strings.Replace(h, "127", "*", 1), good))}
		}},
		"dockercfg": {secrets: func(h string) []PullSecret { return []PullSecret{legacySecret("a", fmt.Sprintf(`{%q:%s}`, h, good))} }},
		"second secret": {secrets: func(h string) []PullSecret {
			return []PullSecret{configSecret("a", auths(h, bad)), configSecret("b", auths(h, good))}
		}},
		"longest path first": {secrets: func(h string) []PullSecret {
			return []PullSecret{configSecret("a", auths(h, bad)), configSecret("b", auths(h+"/hello", good))}
		}},
		"the node's after the Pod's": {node: good, secrets: func(h string) []PullSecret { return []PullSecret{configSecret("a", auths(h, bad))} }},
		"the node's":                 {node: good, secrets: func(string) []PullSecret { return nil }},
		"wrong":                      {says: "unauthorized", secrets: func(h string) []PullSecret { return []PullSecret{configSecret("a", auths(h, bad))} }},
		"other path":                 {says: "unauthorized", secrets: func(h string) []PullSecret { return []PullSecret{configSecret("a", auths(h+"/other", good))} }},
		"other port":                 {says: "unauthorized", secrets: func(string) []PullSecret { return []PullSecret{configSecret("a", auths("127.0.0.1:1", good))} }},
		"other type": {says: "unauthorized", secrets: func(h string) []PullSecret {
			s := configSecret("a", auths(h, good))
			s.Type = "Opaque"
			return []PullSecret{s}
		}},
		"no JSON": {
			says: "image pull secret ns/a: not a docker config.json",
			secrets: func(h string) []PullSecret {
				return []PullSecret{configSecret("a", auths(h, good)[1:]), configSecret("b", auths(h, good))}
			},
		},
		"no dockercfg": {says: "image pull secret ns/a: not a .dockercfg", secrets: func(string) []PullSecret { return []PullSecret{legacySecret("a", `["secret"]`)} }},
		"helpers of a Pod are not run": {says: "unauthorized", secrets: func(h string) []PullSecret {
			return []PullSecret{configSecret("a", fmt.Sprintf(`{"credHelpers":{%q:"evil"},"credsStore":"evil"}`, h))}
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reg := plainRegistry(t)
			ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
			reg.breakWith(needBasic)
			s := openStore(t, func(c *Config) {
				if tt.node != "" {
					c.DockerConfig = writeFile(t, "config.json", auths(reg.host, tt.node))
				}
			})
			_, err := s.EnsureWith(t.Context(), ref, IfNotPresent, NewKeys(tt.secrets(reg.host)))
			switch {
			case tt.says == "" && err != nil:
				t.Error(err)
			case tt.says != "" && (err == nil || reasonOf(t, err) != ErrImagePull || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("error is %v, want ErrImagePull that says %q", err, tt.says)
			case err != nil && strings.Contains(err.Error(), basicOf("me", "secret")):
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestIdentityTokenOfAPod(t *testing.T) {
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
	reg.breakWith(tokenServer(reg, func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.FormValue("refresh_token") == "idtoken"
	}))
	keys := NewKeys([]PullSecret{configSecret("a", auths(reg.host, `{"identitytoken":"idtoken"}`))})
	if _, err := openStore(t).EnsureWith(t.Context(), ref, Always, keys); err != nil {
		t.Error(err)
	}
}

// TestSecretPulledImages: an image that came by the credentials of one Pod is not there for another one without them.
func TestSecretPulledImages(t *testing.T) {
	reg := plainRegistry(t)
	ref, digest := reg.push(t, "hello:v1", cncf(coreModule))
	reg.breakWith(needBasic)
	s := openStore(t)
	entry := auths(reg.host, `{"username":"me","password":"secret"}`)
	owner := NewKeys([]PullSecret{configSecret("a", entry)})
	if _, err := s.EnsureWith(t.Context(), ref, IfNotPresent, owner); err != nil {
		t.Fatal(err)
	}
	rotated := configSecret("a", auths(reg.host, `{"username":"me","password":"new"}`))
	repo := strings.TrimSuffix(ref, ":v1")
	check := func(name, ref string, policy PullPolicy, keys Keys, want string) {
		t.Helper()
		reg.forgetRequests()
		img, err := s.EnsureWith(t.Context(), ref, policy, keys)
		got := "pulled"
		switch {
		case err != nil:
			got = string(reasonOf(t, err))
		case img.Present:
			got = "present"
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, want)
		}
		if _, there := s.PresentWith(ref, keys); there != (want == "present" || want == "pulled") {
			t.Errorf("%s: present is %t", name, there)
		}
		if n := reg.requests(""); (n == 0) != (want == "present" || want == string(ErrImageNeverPull)) {
			t.Errorf("%s: %d requests", name, n)
		}
	}
	check("the same Pod", ref, IfNotPresent, owner, "present")
	check("by digest", repo+"@"+digest, IfNotPresent, owner, "present")
	check("nobody's", ref, IfNotPresent, Keys{}, "ErrImagePull")
	check("nobody's, by digest", repo+"@"+digest, IfNotPresent, Keys{}, "ErrImagePull")
	check("nobody's, never", ref, Never, Keys{}, "ErrImageNeverPull")
	check("wrong ones", ref, IfNotPresent, NewKeys([]PullSecret{configSecret("b", auths(reg.host, `{"username":"x","password":"y"}`))}), "ErrImagePull")
	check("for another repository", ref, Never, NewKeys([]PullSecret{configSecret("b", auths(reg.host+"/other", `{"username":"me","password":"secret"}`))}), "ErrImageNeverPull")
	check("another Secret of the same content", ref, Never, NewKeys([]PullSecret{configSecret("b", entry)}), "present")
	check("the same Secret with new content", ref, Never, NewKeys([]PullSecret{rotated}), "present")
	check("another Pod's own", ref, IfNotPresent, NewKeys([]PullSecret{configSecret("c", auths(reg.host, `{"auth":"`+basicOf("me", "secret")+`"}`))}), "present")
	if _, ok := s.Present(ref); !ok {
		t.Error("the node itself does not find it")
	}
	reg.breakWith(nil) // the registry lets everybody in from now on, and so does the node
	check("nobody's, of an open registry", ref, IfNotPresent, Keys{}, "pulled")
	check("nobody's, afterwards", ref, Never, Keys{}, "present")
	check("owner's, afterwards", ref, Never, owner, "present")
}

// TestGrantsAreAddedUp: two Pods with different credentials each got the image from the registry.
func TestGrantsAreAddedUp(t *testing.T) {
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
	reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if _, password, _ := r.BasicAuth(); !slices.Contains([]string{"one", "two"}, password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	s := openStore(t)
	var all []Keys
	for _, password := range []string{"one", "two"} {
		k := NewKeys([]PullSecret{configSecret(password, auths(reg.host, fmt.Sprintf(`{"username":"u","password":%q}`, password)))})
		all = append(all, k)
		if img, err := s.EnsureWith(t.Context(), ref, IfNotPresent, k); err != nil || img.Present {
			t.Fatalf("%s: present %t, %v", password, img.Present, err)
		}
	}
	for i, k := range all {
		if img, err := s.EnsureWith(t.Context(), ref, Never, k); err != nil || !img.Present {
			t.Errorf("%d: present %t, %v", i, img.Present, err)
		}
	}
}

// An image that was put into the store by hand is everybody's.
func TestImportedImagesAreOpen(t *testing.T) {
	s := openStore(t)
	if _, err := s.Import(t.Context(), writeFile(t, "x.wasm", string(coreModule)), "example.com/x:v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EnsureWith(t.Context(), "example.com/x:v1", Never, Keys{}); err != nil {
		t.Error(err)
	}
}

func TestAccess(t *testing.T) {
	var a access
	if a.with(&grant{Hash: "x"}) != nil {
		t.Error("what was everybody's became somebody's")
	}
	a = access{}
	for i := range maxGrants + 1 {
		a = a.with(&grant{Name: strconv.Itoa(i), Hash: strconv.Itoa(i)})
		a = a.with(&grant{Name: strconv.Itoa(i), Hash: strconv.Itoa(i)})
	}
	if len(a) != maxGrants || a[0].Name != "1" {
		t.Errorf("%d grants, from %v", len(a), a[0])
	}
	text, err := a.encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseAccess(text)
	if d := cmp.Diff(a, again); d != "" || err != nil {
		t.Errorf("read again: %v\n%s", err, d)
	}
	if _, err := parseAccess("{"); err == nil {
		t.Error("garbage was read")
	}
	if none, err := parseAccess("null"); err != nil || none.permits(nil) {
		t.Errorf("null: %v, %v", none, err)
	}
}

// Credentials do not get out by accident.
func TestKeysAreHidden(t *testing.T) {
	keys := NewKeys([]PullSecret{configSecret("a", auths("example.com", `{"username":"joe","password":"hunter2"}`))})
	encoded, err := json.Marshal(map[string]any{"k": keys})
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ inner struct{ keys Keys } }
	var h holder
	h.inner.keys = keys
	for _, text := range []string{
		string(encoded), fmt.Sprintf("%v %+v %#v %s", keys, keys, keys, keys), fmt.Sprintf("%v %+v %#v", h, h, h), fmt.Sprintf("%+v", []any{&h, keys}),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "joe") {
			t.Errorf("it is all in %s", text)
		}
	}
	if keys.Len() != 1 || keys.Equal(Keys{}) || !keys.Equal(keys) {
		t.Errorf("keys: %d, %t", keys.Len(), keys.Equal(Keys{}))
	}
}

// What a Secret leaves in the index is a hash.
func TestIndexHoldsNoCredentials(t *testing.T) {
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
	reg.breakWith(needBasic)
	s := openStore(t)
	keys := NewKeys([]PullSecret{configSecret("a", auths(reg.host, `{"username":"me","password":"secret"}`))})
	if _, err := s.EnsureWith(t.Context(), ref, Always, keys); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(s.disk.index())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "uid-a") || strings.Contains(string(b), `"secret`) || strings.Contains(string(b), basicOf("me", "secret")) {
		t.Errorf("index.json: %s", b)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"auths":{"ghcr.io/x":{"auth":"YTpi"},"*.io":{}}}`), true)
	f.Add([]byte(`{"[":{"identitytoken":"x"}}`), false)
	f.Fuzz(func(t *testing.T, b []byte, modern bool) {
		s := legacySecret("s", string(b))
		if modern {
			s = configSecret("s", string(b))
		}
		keys := NewKeys([]PullSecret{s})
		r, err := parseReference("ghcr.io/x/y:v1")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(keys.matching(r.ref.Context())); n > keys.Len() {
			t.Errorf("%d of %d keys match", n, keys.Len())
		}
	})
}
