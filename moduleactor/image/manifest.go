package image

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Media types of wasm artifacts.
const (
	configCNCF      types.MediaType = "application/vnd.wasm.config.v0+json"
	configWasmToOCI types.MediaType = "application/vnd.wasm.config.v1+json"
	configSolo      types.MediaType = "application/vnd.module.wasm.config.v1+json"
	layerCNCF       types.MediaType = "application/wasm"
	layerWasmToOCI  types.MediaType = "application/vnd.wasm.content.layer.v1+wasm"
	layerBytecode   types.MediaType = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"
	layerSolo       types.MediaType = "application/vnd.module.wasm.content.layer.v1+wasm"

	annotationTitle = "org.opencontainers.image.title"
)

// manifest is a manifest or an index; exactly one of the two is set.
type manifest struct {
	image *v1.Manifest
	index *v1.IndexManifest
}

// parseManifest reads what a registry sent. Whatever it claims to be, it has layers or manifests but not both, so that
// no two readers can see two different things in it.
func parseManifest(raw []byte) (manifest, error) {
	var shape struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		Manifests     json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		return manifest{}, fmt.Errorf("the manifest is not JSON: %w", err)
	}
	switch {
	case shape.SchemaVersion != 2:
		return manifest{}, refuse("push it again with a current tool",
			"its manifest has schemaVersion %d; only 2 (OCI, Docker v2) is supported", shape.SchemaVersion)
	case shape.Manifests != nil && (shape.Layers != nil || shape.Config != nil):
		return manifest{}, refuse("", "its manifest is an image and an index at the same time")
	case shape.Manifests != nil:
		idx := &v1.IndexManifest{}
		if err := json.Unmarshal(raw, idx); err != nil {
			return manifest{}, fmt.Errorf("the index cannot be read: %w", err)
		}
		return manifest{index: idx}, checkDescriptors("manifests", idx.Manifests)
	case shape.Layers == nil:
		return manifest{}, refuse("", "its manifest (media type %q) has neither layers nor manifests", clip(string(shape.MediaType), 100))
	}
	m := &v1.Manifest{}
	if err := json.Unmarshal(raw, m); err != nil {
		return manifest{}, fmt.Errorf("the manifest cannot be read: %w", err)
	}
	if err := checkDescriptor(m.Config); err != nil {
		return manifest{}, fmt.Errorf("config: %w", err)
	}
	return manifest{image: m}, checkDescriptors("layers", m.Layers)
}

// checkDescriptors looks at what later becomes file names and sizes.
func checkDescriptors(field string, list []v1.Descriptor) error {
	if len(list) > maxLayers {
		return refuse("", "its manifest has %d %s, more than %d", len(list), field, maxLayers)
	}
	for i, d := range list {
		if err := checkDescriptor(d); err != nil {
			return fmt.Errorf("%s[%d]: %w", field, i, err)
		}
	}
	return nil
}

func checkDescriptor(d v1.Descriptor) error {
	if d.Size < 0 {
		return fmt.Errorf("negative size %d", d.Size)
	}
	return checkDigest(d.Digest.String())
}

// choose picks the manifest for this node from an index: the most specific wasm platform, else the only one there is.
func choose(idx *v1.IndexManifest) (v1.Descriptor, error) {
	var candidates []v1.Descriptor
	for _, d := range idx.Manifests {
		if !isAttestation(d) {
			candidates = append(candidates, d)
		}
	}
	for _, fits := range []func(os, arch string) bool{
		func(os, arch string) bool { return os == "wasip1" && arch == "wasm" },
		func(os, arch string) bool { return os == "wasi" && arch == "wasm" },
		func(os, arch string) bool { return os == "wasi" && arch == "wasm32" },
		func(os, _ string) bool { return os == "wasm" },
		func(os, arch string) bool { return os == "linux" && (arch == "wasm" || arch == "wasm32") },
	} {
		for _, d := range candidates {
			if d.Platform != nil && fits(d.Platform.OS, d.Platform.Architecture) {
				return d, nil
			}
		}
	}
	if len(candidates) == 1 && !isWASIp2(candidates[0]) {
		return candidates[0], nil
	}
	return v1.Descriptor{}, refuseIndex(candidates)
}

func isAttestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" || (d.Platform != nil && d.Platform.OS == "unknown")
}

func isWASIp2(d v1.Descriptor) bool {
	return d.Platform != nil && (d.Platform.OS == "wasip2" || d.Platform.OS == "wasip3")
}

func refuseIndex(candidates []v1.Descriptor) error {
	var found []string
	for _, d := range candidates {
		p := "no platform"
		if d.Platform != nil {
			p = clip(d.Platform.OS+"/"+d.Platform.Architecture, 40)
		}
		if !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	if len(found) > 0 && !slices.ContainsFunc(candidates, func(d v1.Descriptor) bool { return !isWASIp2(d) }) {
		return refuse(buildModule, "its index has only %s: it is %s", strings.Join(found, ", "), component)
	}
	if len(found) == 0 {
		return refuse("", "its index is empty")
	}
	return refuse("build it for wasip1/wasm or wasi/wasm", "its index has no manifest for wasm: it has %s", strings.Join(found, ", "))
}

// isTarLayer says whether a media type is a layer of a container image.
func isTarLayer(t types.MediaType) bool {
	switch t {
	case types.OCILayer, types.OCIUncompressedLayer, types.OCILayerZStd, types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer,
		types.DockerLayer, types.DockerUncompressedLayer, types.DockerForeignLayer,
		"application/vnd.docker.image.rootfs.diff.tar.zstd":
		return true
	default:
		return false
	}
}

func isImageConfig(t types.MediaType) bool {
	return t == types.OCIConfigJSON || t == types.DockerConfigJSON
}

// wasmFormat says whether a layer is a wasm module by its media type or, where that is left to chance (oras), by the
// file name it was pushed with.
func wasmFormat(m *v1.Manifest, d v1.Descriptor) (Format, bool) {
	switch {
	case d.MediaType == layerBytecode:
		return FormatBytecode, true
	case d.MediaType == layerSolo:
		return FormatSolo, true
	case d.MediaType == layerCNCF && isImageConfig(m.Config.MediaType):
		return FormatBytecode, true
	case d.MediaType == layerCNCF && m.Config.MediaType == configCNCF:
		return FormatCNCF, true
	case d.MediaType == layerWasmToOCI:
		return FormatWasmToOCI, true
	case d.MediaType == layerCNCF, strings.HasSuffix(string(d.MediaType), "+wasm"):
		return FormatORAS, true
	case strings.HasSuffix(d.Annotations[annotationTitle], ".wasm") && !isImageConfig(m.Config.MediaType):
		return FormatORAS, true
	default:
		return "", false
	}
}

// isSpin recognizes a Spin application: one wasm layer among files and a locked application.
func isSpin(m *v1.Manifest) bool {
	spin := func(t types.MediaType) bool {
		s := string(t)
		return strings.Contains(s, "fermyon.spin") || strings.HasPrefix(s, "application/vnd.wasm.content.bundle.v1") ||
			s == "application/vnd.wasm.content.layer.v1+data"
	}
	return spin(m.Config.MediaType) || spin(types.MediaType(m.ArtifactType)) ||
		slices.ContainsFunc(m.Layers, func(d v1.Descriptor) bool { return spin(d.MediaType) })
}
