package image

import (
	"bytes"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestHostileRegistry: nothing that does not match its digest or its size gets in, and nothing unbounded is read.
func TestHostileRegistry(t *testing.T) {
	content := bigModule(100_000)
	blob := digestOf(content)
	replace := func(part string, body []byte) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, part) {
				_, _ = w.Write(body)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	changed := bytes.Clone(content)
	changed[99] ^= 1
	tests := map[string]struct {
		fault func(http.ResponseWriter, *http.Request, http.Handler)
		says  string
	}{
		"blob changed":       {replace(blob, changed), "does not match its digest"},
		"blob longer":        {replace(blob, append(bytes.Clone(content), 0)), "sends more than the"},
		"huge manifest":      {replace("/manifests/", bytes.Repeat([]byte(" "), maxManifest+1)), "larger than 4194304 bytes"},
		"manifest no JSON":   {replace("/manifests/", []byte("<html>")), "not JSON"},
		"schema 1":           {replace("/manifests/", []byte(`{"schemaVersion":1}`)), "schemaVersion 1"},
		"both kinds":         {replace("/manifests/", []byte(`{"schemaVersion":2,"layers":[],"manifests":[]}`)), "an image and an index at the same time"},
		"neither kind":       {replace("/manifests/", []byte(`{"schemaVersion":2,"mediaType":"x"}`)), "neither layers nor manifests"},
		"sha512":             {replace("/manifests/", []byte(`{"schemaVersion":2,"layers":[],"config":{"digest":"sha512:`+strings.Repeat("0", 128)+`"}}`)), "not a sha256 digest"},
		"digest with a path": {replace("/manifests/", []byte(`{"schemaVersion":2,"layers":[],"config":{"digest":"sha256:../../etc/passwd"}}`)), "manifest cannot be read"},
		"negative size":      {replace("/manifests/", []byte(`{"schemaVersion":2,"layers":[{"digest":"`+blob+`","size":-1}],"config":{"digest":"`+blob+`"}}`)), "negative size"},
		"huge layer":         {replace("/manifests/", []byte(`{"schemaVersion":2,"layers":[{"mediaType":"application/wasm","digest":"`+blob+`","size":9223372036854775807}],"config":{"mediaType":"application/vnd.wasm.config.v1+json","digest":"`+digestOf([]byte("{}"))+`","size":2,"data":"e30="}}`)), "more than 4294967296 bytes"},
		"huge config":        {replace("/manifests/", []byte(`{"schemaVersion":2,"layers":[],"config":{"digest":"`+blob+`","size":99999999}}`)), "config has 99999999 bytes"},
		"config no JSON":     {replace("/manifests/", []byte(`{"schemaVersion":2,"layers":[],"config":{"mediaType":"application/vnd.wasm.config.v0+json","digest":"`+digestOf([]byte("{"))+`","size":1,"data":"ew=="}}`)), "config (application/vnd.wasm.config.v0+json) cannot be read"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reg := plainRegistry(t)
			ref, _ := reg.push(t, "big:v1", cncf(content))
			reg.breakWith(tt.fault)
			s := openStore(t)
			_, err := s.Ensure(t.Context(), ref, IfNotPresent)
			if reasonOf(t, err) != ErrImagePull || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v, want ErrImagePull that says %q", err, tt.says)
			}
			if _, err := os.Stat(s.disk.blob(blob[7:])); err == nil {
				t.Error("the blob is in the store")
			}
		})
	}
}

// TestManifestOfDigest: a registry cannot answer a digest with something else.
func TestManifestOfDigest(t *testing.T) {
	reg := plainRegistry(t)
	_, digest := reg.push(t, "hello:v1", cncf(coreModule))
	other, _ := reg.push(t, "hello:v2", cncf(otherModule("x")))
	reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = strings.Replace(r.URL.Path, digest, "v2", 1)
		next.ServeHTTP(w, r)
	})
	s := openStore(t)
	_, err := s.Ensure(t.Context(), strings.Replace(other, ":v2", "@"+digest, 1), IfNotPresent)
	if err == nil || !strings.Contains(err.Error(), "sent a manifest with the digest") {
		t.Errorf("error is %v", err)
	}
}

// TestUnavailable checks which failures are the registry's.
func TestUnavailable(t *testing.T) {
	status := func(code int, body string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(code)
				_, _ = w.Write([]byte(body))
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	tests := map[string]struct {
		fault    func(http.ResponseWriter, *http.Request, http.Handler)
		reason   Reason
		says     string
		requests int
	}{
		"500": {status(500, "oops"), RegistryUnavailable, "HTTP status 500", maxTries},
		"503": {status(503, ""), RegistryUnavailable, "service unavailable", maxTries},
		"429": {status(429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`), ErrImagePull, "limits the rate: TOOMANYREQUESTS: slow down", maxTries},
		"404": {status(404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no\nsuch \u001b[31mthing"}]}`), ErrImagePull, "not found: MANIFEST_UNKNOWN: no such [31mthing", 1},
		"403": {status(403, ""), ErrImagePull, "denied", 1},
		"broken connection": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.Contains(r.URL.Path, "/manifests/") {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		}, RegistryUnavailable, "EOF", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reg := plainRegistry(t)
			ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
			reg.breakWith(tt.fault)
			reg.forgetRequests()
			_, err := openStore(t).Ensure(t.Context(), ref, IfNotPresent)
			if reasonOf(t, err) != tt.reason || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %s: %v, want %s that says %q", reasonOf(t, err), err, tt.reason, tt.says)
			}
			if n := reg.requests("/manifests/"); tt.requests > 0 && n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}

// TestRecovers: a registry that fails twice and then works costs nobody a back-off.
func TestRecovers(t *testing.T) {
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
	var n atomic.Int32
	reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if n.Add(1)%3 != 0 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		next.ServeHTTP(w, r)
	})
	mustEnsure(t, openStore(t), ref, IfNotPresent)
}

// TestStall: a download on which nothing arrives any more is broken off and continued.
func TestStall(t *testing.T) {
	content := bigModule(300_000)
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "big:v1", cncf(content))
	var stalls atomic.Int32
	reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, digestOf(content)) && stalls.Add(1) == 1 {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = w.Write(content[:100_000])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		ranged(content, 1<<20, true)(w, r, next)
	})
	timers := byHand{delayed: make(chan func(), 100)}
	var once sync.Once
	s := openStore(t, func(c *Config) {
		c.Clock = timers
		c.Progress = func(p Progress) {
			if p.Total == int64(len(content)) && p.Done == 100_000 {
				once.Do(func() { // the timers of the config's download, which is over, and of this one
					for range len(timers.delayed) {
						(<-timers.delayed)()
					}
				})
			}
		}
	})
	if img := mustEnsure(t, s, ref, IfNotPresent); !bytes.Equal(readFile(t, img.Module), content) {
		t.Error("the module is not what was pushed")
	}
	if stalls.Load() < 2 {
		t.Errorf("%d requests, want a second one after the stall", stalls.Load())
	}
}

func TestMirrors(t *testing.T) {
	origin, mirror := plainRegistry(t), plainRegistry(t)
	ref, _ := origin.push(t, "team/hello:v1", cncf(coreModule))
	mirrors := func(c *Config) { c.Mirrors = map[string][]string{origin.host: {mirror.host + "/cache"}} }

	// A mirror without the image: the origin has it.
	img := mustEnsure(t, openStore(t, mirrors), ref, IfNotPresent)
	if !strings.HasPrefix(img.ID, origin.host+"/team/hello@") || mirror.requests("/v2/cache/team/hello/manifests/v1") == 0 {
		t.Errorf("id %s, requests to the mirror %d", img.ID, mirror.requests("/v2/cache"))
	}
	// A mirror that has it: nobody asks the origin, and the ID is still the origin's.
	mirror.push(t, "cache/team/hello:v1", cncf(coreModule))
	origin.forgetRequests()
	img = mustEnsure(t, openStore(t, mirrors), ref, IfNotPresent)
	if !strings.HasPrefix(img.ID, origin.host+"/team/hello@") || origin.requests("/v2/") != 0 {
		t.Errorf("id %s, requests to the origin %d", img.ID, origin.requests("/v2/"))
	}
	// Neither: the origin's answer counts, the mirror's is told.
	_, err := openStore(t, mirrors).Ensure(t.Context(), origin.host+"/team/none:v1", IfNotPresent)
	if err == nil || !strings.Contains(err.Error(), "not found") || !strings.Contains(err.Error(), "mirror "+mirror.host) {
		t.Errorf("error is %v", err)
	}
	// A mirror that is down is passed over.
	mirror.Close()
	mustEnsure(t, openStore(t, mirrors), ref, IfNotPresent)
}

// TestDeletedMeanwhile: a pull whose parts are deleted under it begins again.
func TestDeletedMeanwhile(t *testing.T) {
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
	s := openStore(t)
	var once sync.Once
	s.cfg.Progress = func(p Progress) {
		if p.Digest == digestOf(coreModule) {
			once.Do(func() { // the config came before the layer; take it away
				if err := os.Remove(s.disk.blob(digestOf([]byte(cncf(coreModule).config))[7:])); err != nil {
					t.Error(err)
				}
			})
		}
	}
	mustEnsure(t, s, ref, IfNotPresent)
	if n := reg.requests("GET", digestOf([]byte(cncf(coreModule).config))); n != 2 {
		t.Errorf("the config was downloaded %d times, want twice", n)
	}
}

// TestNestedIndex refuses what no tool builds on purpose.
func TestNestedIndex(t *testing.T) {
	reg := plainRegistry(t)
	inner := reg.putManifest(t, "hello:inner", v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{}}, string(types.OCIImageIndex))
	h, err := v1.NewHash(inner)
	if err != nil {
		t.Fatal(err)
	}
	reg.putManifest(t, "hello:v1", v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{{Digest: h}}}, string(types.OCIImageIndex))
	_, err = openStore(t).Ensure(t.Context(), reg.host+"/hello:v1", IfNotPresent)
	if err == nil || !strings.Contains(err.Error(), "leads to another index") {
		t.Errorf("error is %v", err)
	}
}
