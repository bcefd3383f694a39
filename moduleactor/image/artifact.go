package image

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// PushOptions say how a module is packed.
type PushOptions struct {
	// Format is FormatCNCF (default) or FormatWasmToOCI.
	Format Format
	// Annotations go into the manifest.
	Annotations map[string]string
	// Created goes into a CNCF artifact's config; zero: left out, so that the same module always gives the same digest.
	Created time.Time
}

// module is a wasm file about to be packed.
type module struct {
	path   string
	digest string
	size   int64
	name   string // file name, for the title annotation
}

// artifact is a packed module: an image in ggcr's terms.
type artifact struct {
	module   module
	manifest *v1.Manifest
	raw      []byte // the manifest as it is pushed
	config   []byte
}

// configOfCNCF is the config of CNCF TAG Runtime's wasm artifact.
type configOfCNCF struct {
	Created      *time.Time `json:"created,omitempty"`
	Architecture string     `json:"architecture"`
	OS           string     `json:"os"`
	LayerDigests []string   `json:"layerDigests"`
}

func newArtifact(m module, o PushOptions) (*artifact, error) {
	a := &artifact{module: m, manifest: &v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}}
	var layerType, configType types.MediaType
	switch o.Format {
	case FormatCNCF, "":
		layerType, configType = layerCNCF, configCNCF
		c := configOfCNCF{Architecture: "wasm", OS: "wasip1", LayerDigests: []string{m.digest}}
		if !o.Created.IsZero() {
			t := o.Created.UTC()
			c.Created = &t
		}
		b, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		a.config = b
	case FormatWasmToOCI:
		layerType, configType, a.config = layerWasmToOCI, configWasmToOCI, []byte("{}")
	default:
		return nil, fmt.Errorf("format %q: cannot be written (allowed: %s, %s)", o.Format, FormatCNCF, FormatWasmToOCI)
	}
	layer, err := v1.NewHash(m.digest)
	if err != nil {
		return nil, err
	}
	cfg, err := v1.NewHash(digestOf(a.config))
	if err != nil {
		return nil, err
	}
	a.manifest.Config = v1.Descriptor{MediaType: configType, Size: int64(len(a.config)), Digest: cfg}
	desc := v1.Descriptor{MediaType: layerType, Size: m.size, Digest: layer}
	if m.name != "" {
		desc.Annotations = map[string]string{annotationTitle: m.name}
	}
	a.manifest.Layers = []v1.Descriptor{desc}
	a.manifest.Annotations = maps.Clone(o.Annotations)
	a.raw, err = json.Marshal(a.manifest)
	return a, err
}

// image is the artifact as ggcr pushes it.
func (a *artifact) image() (v1.Image, error) { return partial.CompressedToImage(a) }

// RawConfigFile implements partial.ImageCore.
func (a *artifact) RawConfigFile() ([]byte, error) { return a.config, nil }

// MediaType implements partial.ImageCore.
func (a *artifact) MediaType() (types.MediaType, error) { return a.manifest.MediaType, nil }

// RawManifest implements partial.CompressedImageCore.
func (a *artifact) RawManifest() ([]byte, error) { return a.raw, nil }

// LayerByDigest implements partial.CompressedImageCore.
func (a *artifact) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == a.manifest.Config.Digest {
		return partial.ConfigLayer(a)
	}
	if h != a.manifest.Layers[0].Digest {
		return nil, fmt.Errorf("no layer %s", h)
	}
	return fileLayer{a.module.path, a.manifest.Layers[0]}, nil
}

// fileLayer is a module on disk as a layer.
type fileLayer struct {
	path string
	desc v1.Descriptor
}

// Digest implements partial.CompressedLayer.
func (l fileLayer) Digest() (v1.Hash, error) { return l.desc.Digest, nil }

// Size implements partial.CompressedLayer.
func (l fileLayer) Size() (int64, error) { return l.desc.Size, nil }

// MediaType implements partial.CompressedLayer.
func (l fileLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }

// Compressed implements partial.CompressedLayer; a module is not compressed.
func (l fileLayer) Compressed() (io.ReadCloser, error) { return os.Open(l.path) }
