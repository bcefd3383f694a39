package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const entrypointConfig = `{"architecture":"wasm","os":"wasi","config":{"Entrypoint":["/app.wasm","serve"],"Cmd":["-v"],"Env":["A=1"],"WorkingDir":"/w"},"rootfs":{"type":"layers","diff_ids":[]}}`

func cncf(module []byte) fixture {
	return fixture{
		configType: "application/vnd.wasm.config.v0+json",
		config:     `{"created":"2024-01-01T00:00:00Z","architecture":"wasm","os":"wasip1","layerDigests":["` + digestOf(module) + `"]}`,
		layers:     []layerOf{{"application/wasm", module, nil}},
	}
}

// TestFormats pulls each format that is in use (F1-F5, F7, F8 of the survey), built by hand from its media types.
func TestFormats(t *testing.T) {
	reg := plainRegistry(t)
	app := tarOf(t, file{name: "app.wasm", content: string(coreModule)}, file{name: "data/x.txt", content: "x"})
	tests := map[string]struct {
		image  fixture
		format Format
		module string // name
		rootfs []string
		argv   []string
	}{
		"F1 CNCF":        {image: cncf(coreModule), format: FormatCNCF, module: "f1-cncf"},
		"F2 wasm-to-oci": {image: wasmToOCI(coreModule), format: FormatWasmToOCI, module: "hello.wasm"},
		"F3 Bytecode Alliance": {
			image: fixture{
				configType: string(types.OCIConfigJSON),
				config:     `{"architecture":"wasm","os":"wasip1","config":{"Entrypoint":["/x.wasm"]},"rootfs":{"type":"layers","diff_ids":["` + digestOf(coreModule) + `"]}}`,
				layers:     []layerOf{{"application/vnd.bytecodealliance.wasm.component.layer.v0+wasm", coreModule, nil}},
			},
			format: FormatBytecode, module: "f3-bytecode-alliance", argv: []string{"/x.wasm"},
		},
		"F4 compat": {
			image: fixture{
				manifestType: string(types.DockerManifestSchema2), configType: string(types.DockerConfigJSON),
				config: `{"architecture":"amd64","os":"linux","config":{"Entrypoint":["app.wasm"]}}`,
				layers: []layerOf{{string(types.DockerLayer), gzipOf(t, app), nil}},
				notes:  map[string]string{"module.wasm.image/variant": "compat"},
			},
			format: FormatImage, module: "app.wasm", rootfs: []string{"app.wasm", "data", "data/x.txt"}, argv: []string{"app.wasm"},
		},
		"F4 solo without entrypoint": {
			image: fixture{
				configType: string(types.OCIConfigJSON), config: `{"architecture":"amd64","os":"linux"}`,
				layers: []layerOf{{string(types.OCILayer), gzipOf(t, tarOf(t, file{name: "plugin.wasm", content: string(coreModule)})), nil}},
				notes:  map[string]string{"module.wasm.image/variant": "compat"},
			},
			format: FormatImage, module: "plugin.wasm", rootfs: []string{"plugin.wasm"},
		},
		"F5 docker wasi/wasm": {
			image: tarImage(t, entrypointConfig, app), format: FormatImage, module: "app.wasm",
			rootfs: []string{"app.wasm", "data", "data/x.txt"}, argv: []string{"/app.wasm", "serve", "-v"},
		},
		"F5 uncompressed layer": {
			image: fixture{
				configType: string(types.OCIConfigJSON), config: entrypointConfig,
				layers: []layerOf{{string(types.OCIUncompressedLayer), app, nil}},
			},
			format: FormatImage, module: "app.wasm", rootfs: []string{"app.wasm", "data", "data/x.txt"}, argv: []string{"/app.wasm", "serve", "-v"},
		},
		"F5 zstd layer": {
			image: fixture{
				configType: string(types.OCIConfigJSON), config: entrypointConfig,
				layers: []layerOf{{string(types.OCILayerZStd), zstdOf(t, app), nil}},
			},
			format: FormatImage, module: "app.wasm", rootfs: []string{"app.wasm", "data", "data/x.txt"}, argv: []string{"/app.wasm", "serve", "-v"},
		},
		"F7 solo": {
			image: fixture{
				configType: "application/vnd.module.wasm.config.v1+json", config: `{"type":"x"}`,
				layers: []layerOf{{"application/vnd.module.wasm.content.layer.v1+wasm", coreModule, nil}},
			},
			format: FormatSolo, module: "f7-solo",
		},
		"F8 oras with media type": {
			image: fixture{
				configType: "application/vnd.oci.empty.v1+json", config: "{}",
				layers: []layerOf{{"application/wasm", coreModule, map[string]string{annotationTitle: "x.wasm"}}},
			},
			format: FormatORAS, module: "x.wasm",
		},
		"F8 oras without media type": {
			image: fixture{
				configType: "application/vnd.oci.empty.v1+json", config: "{}",
				layers: []layerOf{{"application/vnd.oci.image.layer.v1.tar", coreModule, map[string]string{annotationTitle: "../x.wasm"}}},
			},
			format: FormatORAS, module: "x.wasm",
		},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			s := openStore(t)
			repo := strings.ToLower(strings.ReplaceAll(title, " ", "-"))
			ref, digest := reg.push(t, repo+":v1", tt.image)
			img := mustEnsure(t, s, ref, IfNotPresent)
			want := Image{
				Ref: ref, ID: reg.host + "/" + repo + "@" + digest, Manifest: digest, Digest: digestOf(coreModule),
				Format: tt.format, Name: tt.module,
			}
			got := img
			got.Module, got.Rootfs, got.Size, got.Took, got.Waited, got.Platform = "", "", 0, 0, 0, ""
			got.Entrypoint, got.Cmd, got.Env, got.WorkingDir = nil, nil, nil, ""
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("image (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(coreModule, readFile(t, img.Module)); diff != "" {
				t.Errorf("module: %s", diff)
			}
			if diff := cmp.Diff(tt.rootfs, tree(t, img.Rootfs)); diff != "" {
				t.Errorf("rootfs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.argv, append(img.Entrypoint, img.Cmd...)); diff != "" {
				t.Errorf("argv (-want +got):\n%s", diff)
			}
			again := mustEnsure(t, s, ref, IfNotPresent)
			img.Present, img.Took, img.Waited, again.Took = true, 0, 0, 0
			if diff := cmp.Diff(img, again); diff != "" {
				t.Errorf("second time (-first +second):\n%s", diff)
			}
		})
	}
}

// tree lists the paths below a directory.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	if dir == "" {
		return nil
	}
	var out []string
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if p != dir && err == nil {
			rel, _ := filepath.Rel(dir, p)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRefused checks that an image which cannot run is refused with a message that says what it is and what to do.
func TestRefused(t *testing.T) {
	reg := plainRegistry(t)
	bigLayer := tarOf(t, file{name: "bin/sh", content: "\x7fELF"})
	tests := map[string]struct {
		image      fixture
		says       []string
		noDownload bool // refused before a layer is downloaded
	}{
		"component in F1": {
			image: cncf(componentModule), says: []string{"a WebAssembly component", "wasm32-wasip1", "GOOS=wasip1"},
		},
		"F1 with wasip2 config": {
			image: fixture{
				configType: "application/vnd.wasm.config.v0+json",
				config:     `{"architecture":"wasm","os":"wasip2","component":{"imports":[]}}`,
				layers:     []layerOf{{"application/wasm", coreModule, nil}},
			},
			says: []string{"its config says wasip2/wasm", "a WebAssembly component", "wasm32-wasip1"}, noDownload: true,
		},
		"Spin application": {
			image: fixture{
				configType: "application/vnd.fermyon.spin.application.v1+config", config: `{}`,
				layers: []layerOf{{"application/vnd.wasm.content.layer.v1+wasm", coreModule, nil}, {"application/vnd.wasm.content.layer.v1+data", []byte("x"), nil}},
			},
			says: []string{"Spin application", "push the wasm file"}, noDownload: true,
		},
		"two wasm layers": {
			image: fixture{
				configType: "application/vnd.wasm.config.v0+json", config: `{"architecture":"wasm","os":"wasip1"}`,
				layers: []layerOf{{"application/wasm", coreModule, nil}, {"application/wasm", otherModule("x"), nil}},
			},
			says: []string{"more than one wasm layer"}, noDownload: true,
		},
		"linux container": {
			image: tarImage(t, `{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/bin/sh"]}}`, bigLayer),
			says:  []string{"linux/amd64 container image", `entrypoint "/bin/sh"`, "WebAssembly only"}, noDownload: true,
		},
		"shell form": {
			image: tarImage(t, `{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sh","-c","/a.wasm"]}}`, bigLayer),
			says:  []string{`"/bin/sh"`, "exec form"}, noDownload: true,
		},
		"helm chart": {
			image: fixture{
				configType: "application/vnd.cncf.helm.config.v1+json", config: "{}",
				layers: []layerOf{{"application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("x"), nil}},
			},
			says: []string{"there is no wasm in it", "helm.chart.content", "wazlet push"}, noDownload: true,
		},
		"wat entrypoint": {
			image: tarImage(t, `{"architecture":"wasm","os":"wasi","config":{"Entrypoint":["/a.wat"]}}`, bigLayer),
			says:  []string{".wat", "wat2wasm"}, noDownload: true,
		},
		"wat in a wasm layer":   {image: wasmToOCI([]byte("(module)")), says: []string{".wat", "wat2wasm"}},
		"ELF in a wasm layer":   {image: wasmToOCI([]byte("\x7fELF123456")), says: []string{"native program (ELF)"}},
		"empty wasm layer":      {image: wasmToOCI([]byte{}), says: []string{"it is empty"}},
		"unknown wasm version":  {image: wasmToOCI([]byte("\x00asm\x02\x00\x00\x00")), says: []string{"unknown version 02 00 00 00"}},
		"draft of components":   {image: wasmToOCI([]byte("\x00asm\x0a\x00\x01\x00")), says: []string{"a WebAssembly component"}},
		"script in place":       {image: wasmToOCI([]byte("#!/bin/sh\n")), says: []string{"a script"}},
		"something else":        {image: wasmToOCI([]byte("GIF89a....")), says: []string{"begins with 47 49 46"}},
		"entrypoint not in it":  {image: tarImage(t, entrypointConfig, bigLayer), says: []string{`entrypoint "/app.wasm" is not in it`}},
		"entrypoint is no wasm": {image: tarImage(t, entrypointConfig, tarOf(t, file{name: "app.wasm", content: "\x7fELFxxxx"})), says: []string{"file /app.wasm", "ELF"}},
		"two candidates": {
			image: tarImage(t, `{"architecture":"wasm","os":"wasi"}`, tarOf(t, file{name: "a.wasm"}, file{name: "d/b.wasm"})),
			says:  []string{"2 .wasm files: a.wasm, d/b.wasm", "name one as its entrypoint"},
		},
		"no candidate": {
			image: tarImage(t, `{"architecture":"wasm","os":"wasi"}`, bigLayer), says: []string{"no entrypoint and no .wasm file"},
		},
		"layers beside wasm": {
			image: fixture{
				configType: "application/vnd.wasm.config.v0+json", config: `{}`,
				layers: []layerOf{{"application/wasm", coreModule, nil}, {"text/plain", []byte("x"), nil}},
			},
			says: []string{"layers besides wasm", "text/plain"}, noDownload: true,
		},
		"lying diff id": {
			image: tarImage(t, `{"architecture":"wasm","os":"wasi","config":{"Entrypoint":["/app.wasm"]},"rootfs":{"diff_ids":["`+digestOf(nil)+`"]}}`,
				tarOf(t, file{name: "app.wasm", content: string(coreModule)})),
			says: []string{"uncompressed digest", "build it again"},
		},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			s := openStore(t)
			reg.forgetRequests()
			ref, _ := reg.push(t, "r"+strings.ToLower(strings.ReplaceAll(title, " ", ""))+":v1", tt.image)
			reg.forgetRequests()
			_, err := s.Ensure(t.Context(), ref, IfNotPresent)
			var e *Error
			if !errors.As(err, &e) || e.Reason != ErrImagePull {
				t.Fatalf("error is %v, want an *Error with ErrImagePull", err)
			}
			for _, want := range append(tt.says, `Failed to pull image "`+ref+`": cannot run it: `) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("message %q does not say %q", err, want)
				}
			}
			if n := reg.requests("GET", "/blobs/"); tt.noDownload && n > 1 {
				t.Errorf("%d blobs were downloaded, want the config only", n)
			}
			if got, err := s.List(); err != nil || len(got) != 0 {
				t.Errorf("store lists %v, %v; want nothing", got, err)
			}
		})
	}
}

// TestIndexSelection checks which manifest of an index is taken, most specific first.
func TestIndexSelection(t *testing.T) {
	platform := func(s string) *v1.Platform {
		os, arch, _ := strings.Cut(s, "/")
		return &v1.Platform{OS: os, Architecture: arch}
	}
	tests := []struct {
		name string
		has  []string
		want string
		says string
	}{
		{name: "wasip1 first", has: []string{"linux/amd64", "linux/wasm", "wasm/wasm", "wasi/wasm32", "wasi/wasm", "wasip1/wasm"}, want: "wasip1/wasm"},
		{name: "then wasi/wasm", has: []string{"linux/wasm", "wasm/x", "wasi/wasm32", "wasi/wasm"}, want: "wasi/wasm"},
		{name: "then wasi/wasm32", has: []string{"linux/wasm", "wasm/x", "wasi/wasm32"}, want: "wasi/wasm32"},
		{name: "then wasm", has: []string{"linux/wasm", "wasm/x", "linux/amd64"}, want: "wasm/x"},
		{name: "then linux/wasm", has: []string{"linux/amd64", "linux/wasm"}, want: "linux/wasm"},
		{name: "the only one", has: []string{"linux/amd64"}, want: "linux/amd64"},
		{name: "the only one beside an attestation", has: []string{"linux/amd64", "unknown/unknown"}, want: "linux/amd64"},
		{name: "none for wasm", has: []string{"linux/amd64", "linux/arm64", "linux/arm64"}, says: "it has linux/amd64, linux/arm64; build it for wasip1/wasm"},
		{name: "component only", has: []string{"wasip2/wasm"}, says: "a WebAssembly component"},
		{name: "empty", says: "its index is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			idx := &v1.IndexManifest{}
			for _, p := range tt.has {
				idx.Manifests = append(idx.Manifests, v1.Descriptor{Platform: platform(p)})
			}
			got, err := choose(idx)
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Fatalf("error is %v, want one that says %q", err, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := got.Platform.OS + "/" + got.Platform.Architecture; s != tt.want {
				t.Errorf("chose %s, want %s", s, tt.want)
			}
		})
	}
}

// TestIndexPull pulls through an index; the image's ID is the index, as the kubelet reports it.
func TestIndexPull(t *testing.T) {
	reg := plainRegistry(t)
	_, amd := reg.push(t, "multi:amd", tarImage(t, `{"architecture":"amd64","os":"linux"}`, tarOf(t)))
	_, wasm := reg.push(t, "multi:wasm", cncf(coreModule))
	idx := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for p, d := range map[string]string{"linux": amd, "wasip1": wasm} {
		h, err := v1.NewHash(d)
		if err != nil {
			t.Fatal(err)
		}
		arch := map[string]string{"linux": "amd64", "wasip1": "wasm"}[p]
		idx.Manifests = append(idx.Manifests, v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Digest: h, Platform: &v1.Platform{OS: p, Architecture: arch},
		})
	}
	top := reg.putManifest(t, "multi:v1", idx, string(types.OCIImageIndex))
	s := openStore(t)
	img := mustEnsure(t, s, reg.host+"/multi:v1", IfNotPresent)
	if img.Manifest != wasm || img.ID != reg.host+"/multi@"+top {
		t.Errorf("manifest %s, id %s; want %s and the index %s", img.Manifest, img.ID, wasm, top)
	}
	// Both digests of what was pulled are present now.
	for _, d := range []string{top, wasm} {
		if got := mustEnsure(t, s, reg.host+"/multi@"+d, Never); got.Module != img.Module {
			t.Errorf("by digest %s: module %s, want %s", d, got.Module, img.Module)
		}
	}
}

func TestClip(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"as it is":           {"größe 1", "größe 1"},
		"controls":           {"a\x1b[2J\u009b1m\x7f\r\nb", "a [2J 1m b"},
		"direction of text":  {"a\u202eb", "a b"},
		"cut at a character": {"123456789é", "123456789…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clip(tc.text, 10); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// What an image says of signals is kept with it: the config counts, then the manifest.
func TestSignalsLabel(t *testing.T) {
	reg := plainRegistry(t)
	labelled := `{"architecture":"wasm","os":"wasip1","config":{"Labels":{"wazlet.dev/signals":"fd"}}}`
	wasm := []layerOf{{"application/wasm", coreModule, nil}}
	for name, tt := range map[string]struct {
		image fixture
		want  string
	}{
		"config":   {fixture{configType: string(types.OCIConfigJSON), config: labelled, layers: wasm}, "fd"},
		"manifest": {fixture{configType: string(configCNCF), config: `{}`, layers: wasm, notes: map[string]string{SignalsLabel: "none"}}, "none"},
		"both":     {fixture{configType: string(types.OCIConfigJSON), config: labelled, layers: wasm, notes: map[string]string{SignalsLabel: "none"}}, "fd"},
		"long":     {fixture{configType: string(configCNCF), config: `{}`, layers: wasm, notes: map[string]string{SignalsLabel: strings.Repeat("x", 1000)}}, strings.Repeat("x", 100)},
	} {
		s := openStore(t)
		ref, _ := reg.push(t, name+":v1", tt.image)
		for range 2 { // the second time from the record
			if got := mustEnsure(t, s, ref, IfNotPresent).Signals; !strings.HasPrefix(got, tt.want) || len(got) > 110 {
				t.Errorf("%s: %q, want %q", name, got, tt.want)
			}
		}
	}
}
