package image

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/crane"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

func newTestClient(t *testing.T, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{Clock: hasty{}}
	for _, c := range change {
		c(&cfg)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestPush writes both formats and reads them back with crane and with ourselves.
func TestPush(t *testing.T) {
	reg := plainRegistry(t)
	wasmFile := writeFile(t, "app.wasm", string(coreModule))
	created := time.Unix(1_700_000_000, 0)
	tests := map[string]struct {
		o          PushOptions
		configType types.MediaType
		config     string
		layerType  types.MediaType
	}{
		"cncf": {
			PushOptions{Created: created, Annotations: map[string]string{"a": "b"}},
			"application/vnd.wasm.config.v0+json",
			`{"created":"2023-11-14T22:13:20Z","architecture":"wasm","os":"wasip1","layerDigests":["` + digestOf(coreModule) + `"]}`, "application/wasm",
		},
		"cncf without time": {
			PushOptions{Format: FormatCNCF},
			"application/vnd.wasm.config.v0+json",
			`{"architecture":"wasm","os":"wasip1","layerDigests":["` + digestOf(coreModule) + `"]}`, "application/wasm",
		},
		"wasm-to-oci": {
			PushOptions{Format: FormatWasmToOCI}, "application/vnd.wasm.config.v1+json", `{}`, "application/vnd.wasm.content.layer.v1+wasm",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var last atomic.Int64
			c := newTestClient(t, func(c *Config) { c.Progress = func(p Progress) { last.Store(p.Done) } })
			ref := reg.host + "/" + strings.ReplaceAll(name, " ", "-") + ":v1"
			pushed, err := c.Push(t.Context(), wasmFile, ref, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if last.Load() < int64(len(coreModule)) {
				t.Errorf("%d bytes were reported, want at least %d", last.Load(), len(coreModule))
			}
			raw, err := crane.Manifest(ref)
			if err != nil {
				t.Fatal(err)
			}
			var m v1.Manifest
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			if m.Config.MediaType != tt.configType || len(m.Layers) != 1 || m.Layers[0].MediaType != tt.layerType ||
				m.MediaType != types.OCIManifestSchema1 || m.Annotations["a"] != tt.o.Annotations["a"] {
				t.Errorf("manifest %s", raw)
			}
			cfg, err := crane.Config(ref)
			if err != nil || string(cfg) != tt.config {
				t.Errorf("config %s, %v; want %s", cfg, err, tt.config)
			}
			if d, err := crane.Digest(ref); err != nil || !strings.HasSuffix(pushed.ID, d) {
				t.Errorf("digest %s, %v; push said %s", d, err, pushed.ID)
			}
			out := filepath.Join(t.TempDir(), "out.wasm")
			img, err := c.Pull(t.Context(), ref, out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(coreModule, readFile(t, out)); diff != "" || img.Name != "app.wasm" || img.Module != out {
				t.Errorf("pulled %+v %s", img, diff)
			}
			again, err := c.Push(t.Context(), wasmFile, ref, tt.o)
			if err != nil || again != pushed {
				t.Errorf("pushed again: %+v, %v; want the same %+v", again, err, pushed)
			}
		})
	}
}

func TestPushRefuses(t *testing.T) {
	reg := plainRegistry(t)
	c := newTestClient(t)
	good := writeFile(t, "a.wasm", string(coreModule))
	for name, tt := range map[string]struct {
		file, ref string
		o         PushOptions
		says      string
	}{
		"component":    {writeFile(t, "c.wasm", string(componentModule)), reg.host + "/x:v1", PushOptions{}, "a WebAssembly component"},
		"no such file": {"/nonexistent.wasm", reg.host + "/x:v1", PushOptions{}, "no such file"},
		"format":       {good, reg.host + "/x:v1", PushOptions{Format: FormatSolo}, `format "solo": cannot be written (allowed: cncf, wasm-to-oci)`},
		"digest":       {good, reg.host + "/x@" + digestOf(nil), PushOptions{}, "has a digest"},
		"name":         {good, "X", PushOptions{}, "couldn't parse image name"},
		"credentials":  {good, reg.host + "/x:v1", PushOptions{}, "unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "credentials" {
				reg.breakWith(needBasic)
			}
			_, err := c.Push(t.Context(), tt.file, tt.ref, tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v, want one that says %q", err, tt.says)
			}
		})
	}
}

func TestPullToFile(t *testing.T) {
	reg := plainRegistry(t)
	c := newTestClient(t)
	ref, _ := reg.push(t, "team/hello:v1", cncf(coreModule))
	t.Chdir(t.TempDir())
	img, err := c.Pull(t.Context(), ref, "")
	if err != nil || img.Module != "hello.wasm" {
		t.Fatalf("%+v, %v; want hello.wasm", img, err)
	}
	if _, err := c.Pull(t.Context(), ref, ""); err == nil || !strings.Contains(err.Error(), "hello.wasm exists already") {
		t.Errorf("pulled over a file: %v", err)
	}
	if _, err := c.Pull(t.Context(), ref, "hello.wasm"); err != nil {
		t.Errorf("-o replaces: %v", err)
	}
	if _, err := c.Pull(t.Context(), ref, "none/hello.wasm"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
	if _, err := c.Pull(t.Context(), reg.host+"/none:v1", "x.wasm"); err == nil || exists("x.wasm") {
		t.Errorf("no such image: %v", err)
	}
}

func TestInspect(t *testing.T) {
	reg := plainRegistry(t)
	c, s := newTestClient(t), openStore(t)
	good, digest := reg.push(t, "hello:v1", cncf(coreModule))
	got, err := c.Inspect(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	want := Details{
		Ref: good, ID: reg.host + "/hello@" + digest, Format: FormatCNCF, Platform: "wasip1/wasm", Size: int64(len(coreModule)),
		Digest: digestOf(coreModule), Kind: "core module", Runs: true,
		Module: &wasm.Module{
			Kind: wasm.Core, Size: int64(len(coreModule)), WASI: wasm.None, Functions: 1,
			Exports: []wasm.Export{{Name: "_start", Kind: wasm.Func, Type: "()"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	mustEnsure(t, s, good, IfNotPresent)
	if local, err := s.Inspect(good); err != nil || cmp.Diff(want, local) != "" {
		t.Errorf("from the store: %+v, %v", local, err)
	}
	if _, err := s.Inspect("none:v1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("not in the store: %v", err)
	}
	for name, tt := range map[string]struct {
		image fixture
		kind  string
		says  string
	}{
		"component":  {cncf(componentModule), "component", "a WebAssembly component"},
		"container":  {tarImage(t, `{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/bin/sh"]}}`, tarOf(t)), "", "linux/amd64 container image"},
		"no command": {cncf([]byte("\x00asm\x01\x00\x00\x00")), "core module", "exports no function _start"},
		"malformed":  {cncf([]byte("\x00asm\x01\x00\x00\x00\x01\xff")), "core module", "malformed wasm"},
		"text":       {cncf([]byte("(module)")), "not wasm", ".wat"},
	} {
		t.Run(name, func(t *testing.T) {
			ref, _ := reg.push(t, strings.ReplaceAll(name, " ", "-")+":v1", tt.image)
			d, err := c.Inspect(t.Context(), ref)
			if err != nil || d.Runs || d.Kind != tt.kind || !strings.Contains(strings.Join(d.Problems, "\n"), tt.says) {
				t.Errorf("%+v, %v; want a %q that does not run because %q", d, err, tt.kind, tt.says)
			}
			if !strings.HasPrefix(d.ID, reg.host+"/") {
				t.Errorf("id is %q", d.ID)
			}
		})
	}
	if _, err := c.Inspect(t.Context(), reg.host+"/none:v1"); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("no such image: %v", err)
	}
	if d, err := InspectFile(writeFile(t, "x.wat", "(module)")); err != nil || d.Runs || len(d.Problems) != 1 || d.Format != FormatFile {
		t.Errorf("a text file: %+v, %v", d, err)
	}
	if _, err := InspectFile(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
}
