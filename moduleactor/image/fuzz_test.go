package image

import (
	"encoding/json"
	"os"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// FuzzManifest: whatever a registry sends as manifest and config, it is planned or refused.
func FuzzManifest(f *testing.F) {
	for _, x := range []fixture{cncf(coreModule), wasmToOCI(coreModule), tarImage(f, entrypointConfig, tarOf(f))} {
		m := v1.Manifest{SchemaVersion: 2}
		for _, l := range append(x.layers, layerOf{x.configType, []byte(x.config), nil}) {
			h, err := v1.NewHash(digestOf(l.content))
			if err != nil {
				f.Fatal(err)
			}
			raw, err := json.Marshal(l.mediaType)
			if err != nil {
				f.Fatal(err)
			}
			d := v1.Descriptor{Digest: h, Size: int64(len(l.content))}
			if err := json.Unmarshal(raw, &d.MediaType); err != nil {
				f.Fatal(err)
			}
			m.Layers = append(m.Layers, d)
		}
		last := len(m.Layers) - 1
		m.Config, m.Layers = m.Layers[last], m.Layers[:last]
		raw, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, []byte(x.config))
	}
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"platform":{"os":"wasi","architecture":"wasm"}}]}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, raw, cfg []byte) {
		parsed, err := parseManifest(raw)
		if err != nil {
			return
		}
		if parsed.index != nil {
			if d, err := choose(parsed.index); err == nil && checkDigest(d.Digest.String()) != nil {
				t.Errorf("chose the digest %q", d.Digest)
			}
			return
		}
		c, err := parseConfig(parsed.image, cfg)
		if err != nil {
			return
		}
		p, err := makePlan(parsed.image, c, 1<<30)
		if err != nil {
			if !isRefusal(err) {
				t.Errorf("not a refusal: %v", err)
			}
			return
		}
		if (p.wasm == nil) == (len(p.tar) == 0) && p.wasm == nil {
			t.Errorf("a plan without anything to run: %+v", p)
		}
		if p.size() > 1<<30 || p.title == ".." {
			t.Errorf("size %d, title %q", p.size(), p.title)
		}
		for _, b := range p.blobs(digestOf(raw)) {
			if err := checkDigest(b); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzIndexFile: index.json and record.json may be anything after a power cut.
func FuzzIndexFile(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + digestOf(nil)[7:] + `","size":1,"annotations":{"org.opencontainers.image.ref.name":"x","dev.wazlet.image.id":"y"}}]}`))
	f.Add([]byte(`{"version":1,"manifest":"` + digestOf(nil) + `","moduleDigest":"` + digestOf(nil) + `","module":"../x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if entries, err := parseIndex(b); err == nil {
			for _, e := range entries {
				if checkDigest(digestPrefix+e.hex()) != nil || e.ref == "" {
					t.Errorf("entry %+v", e)
				}
			}
		}
		if r, err := parseRecord(b); err == nil {
			root, err := os.OpenRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if r.Module != "" {
				if _, err := root.Lstat(r.Module); err == nil && r.Module != "." {
					t.Errorf("module %q is outside", r.Module)
				}
			}
		}
	})
}

func FuzzSniff(f *testing.F) {
	for _, b := range [][]byte{coreModule, componentModule, []byte("(module)"), []byte("#!"), nil} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := sniff(b); err != nil && !isRefusal(err) {
			t.Errorf("not a refusal: %v", err)
		}
	})
}
