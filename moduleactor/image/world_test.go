package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"k8s.io/utils/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Modules of a few bytes: one that this node runs and what it does not.
var (
	coreModule = []byte("\x00asm\x01\x00\x00\x00" +
		"\x01\x04\x01\x60\x00\x00" + // type () -> ()
		"\x03\x02\x01\x00" + // one function
		"\x07\x0a\x01\x06_start\x00\x00" + // exported
		"\x0a\x04\x01\x02\x00\x0b") // empty body
	componentModule = []byte("\x00asm\x0d\x00\x01\x00")
)

// otherModule is a valid module that differs from coreModule by a custom section.
func otherModule(mark string) []byte {
	return append(bytes.Clone(coreModule), append([]byte{0, byte(len(mark) + 1), byte(len(mark))}, mark...)...)
}

// hasty is the real clock, but pauses between tries are over at once.
type hasty struct{ clock.RealClock }

func (hasty) NewTimer(time.Duration) clock.Timer { return clock.RealClock{}.NewTimer(0) }

// faulty is a registry that counts requests and misbehaves when asked to.
type faulty struct {
	*httptest.Server
	host string

	mu    sync.Mutex
	count map[string]int
	fault func(w http.ResponseWriter, r *http.Request, next http.Handler) // may call next
}

func newRegistry(t *testing.T, start func(http.Handler) *httptest.Server) *faulty {
	t.Helper()
	f := &faulty{count: map[string]int{}}
	inner := registry.New(registry.Logger(zap.NewStdLog(zap.NewNop())))
	f.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.count[r.Method+" "+r.URL.Path]++
		fault := f.fault
		f.mu.Unlock()
		if fault != nil {
			fault(w, r, inner)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	f.host = strings.TrimPrefix(strings.TrimPrefix(f.URL, "https://"), "http://")
	return f
}

func plainRegistry(t *testing.T) *faulty { return newRegistry(t, httptest.NewServer) }

func (f *faulty) breakWith(fault func(http.ResponseWriter, *http.Request, http.Handler)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// requests counts those whose method and path contain all the words.
func (f *faulty) requests(words ...string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
next:
	for k, c := range f.count {
		for _, w := range words {
			if !strings.Contains(k, w) {
				continue next
			}
		}
		n += c
	}
	return n
}

func (f *faulty) forgetRequests() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.count)
}

// rawManifest is a manifest as it is, in ggcr's terms.
type rawManifest struct {
	raw       []byte
	mediaType types.MediaType
}

func (r rawManifest) RawManifest() ([]byte, error)        { return r.raw, nil }
func (r rawManifest) MediaType() (types.MediaType, error) { return r.mediaType, nil }
func (r rawManifest) Digest() (v1.Hash, error)            { return v1.NewHash(digestOf(r.raw)) }
func (r rawManifest) Size() (int64, error)                { return int64(len(r.raw)), nil }
func (r rawManifest) ArtifactType() (string, error)       { return "", nil }

// layerOf is one layer of a fixture.
type layerOf struct {
	mediaType string
	content   []byte
	notes     map[string]string
}

// fixture is an image built by hand from its media types.
type fixture struct {
	manifestType string // default: OCI
	configType   string
	config       string
	layers       []layerOf
	notes        map[string]string
}

func (f *faulty) upload(t *testing.T, repo string, mediaType string, content []byte) v1.Descriptor {
	t.Helper()
	r, err := name.NewRepository(f.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	l := static.NewLayer(content, types.MediaType(mediaType))
	if err := remote.WriteLayer(r, l, remote.WithTransport(f.Client().Transport)); err != nil {
		t.Fatalf("upload blob: %v", err)
	}
	h, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: types.MediaType(mediaType), Digest: h, Size: int64(len(content))}
}

func (f *faulty) putManifest(t *testing.T, ref string, m any, mediaType string) string {
	t.Helper()
	raw, ok := m.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := name.ParseReference(f.host + "/" + ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Put(parsed, rawManifest{raw, types.MediaType(mediaType)}, remote.WithTransport(f.Client().Transport)); err != nil {
		t.Fatalf("upload manifest: %v", err)
	}
	return digestOf(raw)
}

// push uploads a fixture as repo:tag and returns the full reference and the manifest's digest.
func (f *faulty) push(t *testing.T, repoTag string, x fixture) (ref, digest string) {
	t.Helper()
	repo, _, _ := strings.Cut(repoTag, ":")
	if x.manifestType == "" {
		x.manifestType = string(types.OCIManifestSchema1)
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.MediaType(x.manifestType), Annotations: x.notes}
	m.Config = f.upload(t, repo, x.configType, []byte(x.config))
	m.Layers = []v1.Descriptor{}
	for _, l := range x.layers {
		d := f.upload(t, repo, l.mediaType, l.content)
		d.Annotations = l.notes
		m.Layers = append(m.Layers, d)
	}
	return f.host + "/" + repoTag, f.putManifest(t, repoTag, m, x.manifestType)
}

// wasmToOCI is exactly what wasm-to-oci pushes.
func wasmToOCI(module []byte) fixture {
	return fixture{
		configType: "application/vnd.wasm.config.v1+json", config: "{}",
		layers: []layerOf{{"application/vnd.wasm.content.layer.v1+wasm", module, map[string]string{annotationTitle: "hello.wasm"}}},
	}
}

// file is one tar entry.
type file struct {
	name, content string
	kind          byte // default: regular
	link          string
	mode          int64
}

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if f.kind == 0 {
			f.kind = tar.TypeReg
		}
		if f.mode == 0 {
			f.mode = 0o644
		}
		h := &tar.Header{Name: f.name, Typeflag: f.kind, Linkname: f.link, Mode: f.mode, ModTime: time.Unix(1_700_000_000, 0)}
		if f.kind == tar.TypeReg {
			h.Size = int64(len(f.content))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil && f.kind == tar.TypeReg {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipOf(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// zstdOf lets ggcr compress, which is what unpacks it too.
func zstdOf(t testing.TB, b []byte) []byte {
	t.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
		tarball.WithCompression(compression.ZStd))
	if err != nil {
		t.Fatal(err)
	}
	rc, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	out, err := io.ReadAll(rc)
	if err != nil || !bytes.HasPrefix(out, []byte("\x28\xb5\x2f\xfd")) {
		t.Fatalf("not zstd: %x, %v", out[:4], err)
	}
	return out
}

// tarImage is a container image with gzipped layers.
func tarImage(t testing.TB, config string, layers ...[]byte) fixture {
	t.Helper()
	x := fixture{configType: string(types.OCIConfigJSON), config: config}
	for _, l := range layers {
		x.layers = append(x.layers, layerOf{string(types.OCILayer), gzipOf(t, l), nil})
	}
	return x
}

func openStore(t *testing.T, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "images"), Clock: hasty{}}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustEnsure(t *testing.T, s *Store, ref string, p PullPolicy) Image {
	t.Helper()
	img, err := s.Ensure(t.Context(), ref, p)
	if err != nil {
		t.Fatalf("ensure %s: %v", ref, err)
	}
	return img
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// byHand is hasty, and its delayed functions run when the test says so.
type byHand struct {
	hasty
	delayed chan func()
}

func (b byHand) AfterFunc(_ time.Duration, f func()) clock.Timer {
	select {
	case b.delayed <- f:
	default:
	}
	return clock.RealClock{}.NewTimer(time.Hour)
}

// eventually waits for a condition that no channel announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

// dialAlways connects to one address, whatever is asked for.
func dialAlways(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
}
