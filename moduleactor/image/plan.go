package image

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// plan is how an image is to be unpacked, known from its manifest and config before a layer is downloaded.
type plan struct {
	manifest *v1.Manifest
	format   Format
	config   config
	wasm     *v1.Descriptor  // the module itself; nil when it is a file in tar
	tar      []v1.Descriptor // layers of files, lowest first
	title    string          // the module's file name, if the image has one
}

// config is what is used of an image's or artifact's config.
type config struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Config       struct {
		Entrypoint, Cmd, Env []string
		WorkingDir           string
		Labels               map[string]string
	} `json:"config"`
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	Component json.RawMessage `json:"component"` // of a CNCF artifact that is a component
}

func (c config) platform() string {
	if c.OS == "" && c.Architecture == "" {
		return ""
	}
	return clip(c.OS+"/"+c.Architecture, 60)
}

// isWasm says whether the image calls itself wasm.
func (c config) isWasm() bool {
	return strings.HasPrefix(c.Architecture, "wasm") || strings.HasPrefix(c.OS, "wasi") || c.OS == "wasm"
}

// argv0 is the program of a container image.
func (c config) argv0() string {
	if len(c.Config.Entrypoint) > 0 {
		return c.Config.Entrypoint[0]
	}
	if len(c.Config.Cmd) > 0 {
		return c.Config.Cmd[0]
	}
	return ""
}

// parseConfig reads a config. Artifacts may have anything there, an image may not.
func parseConfig(m *v1.Manifest, raw []byte) (config, error) {
	var c config
	t := m.Config.MediaType
	if !isImageConfig(t) && t != configCNCF {
		return c, nil
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return config{}, fmt.Errorf("the config (%s) cannot be read: %w", t, err)
	}
	return c, nil
}

// makePlan classifies an image. An error is a refusal.
func makePlan(m *v1.Manifest, c config, maxBytes int64) (plan, error) {
	p := plan{manifest: m, config: c}
	if isSpin(m) {
		return p, refuse("wazlet runs single modules: push the wasm file of one of its components, if that is a WASI preview 1 module",
			"it is a Spin application (%s)", clip(string(m.Config.MediaType), 100))
	}
	var others []string
	var total int64
	for i, d := range m.Layers {
		if total += d.Size; total < 0 || total > maxBytes || d.Size > maxBytes {
			return p, refuse("", "its layers have more than %d bytes, the most an image may have", maxBytes)
		}
		format, isWasm := wasmFormat(m, d)
		switch {
		case isWasm && p.wasm != nil:
			return p, refuse("push each module as an image of its own", "it has more than one wasm layer (%s)", layerTypes(m))
		case isWasm:
			p.wasm, p.format, p.title = &m.Layers[i], format, fileName(d.Annotations[annotationTitle])
		case isTarLayer(d.MediaType) && isImageConfig(m.Config.MediaType):
			p.tar = append(p.tar, d)
		default:
			others = append(others, string(d.MediaType))
		}
	}
	return p, p.check(others)
}

// check refuses what can be refused without the layers.
func (p *plan) check(others []string) error {
	c, m := p.config, p.manifest
	switch {
	case p.wasm == nil && len(p.tar) == 0:
		return refuse("push a module with: wazlet push FILE.wasm REF", "there is no wasm in it: its config is %s and its layers are %s",
			clip(string(m.Config.MediaType), 100), layerTypes(m))
	case len(others) > 0:
		return refuse("", "it has layers besides wasm that are not understood: %s", clip(strings.Join(others, ", "), 300))
	case c.Component != nil && string(c.Component) != "null", strings.HasPrefix(c.OS, "wasip2"), strings.HasPrefix(c.OS, "wasip3"):
		return refuse(buildModule, "its config says %s: it is %s", c.platform(), component)
	case p.wasm != nil:
		return nil
	}
	p.format = FormatImage
	return p.checkEntrypoint()
}

// checkEntrypoint keeps a node from downloading a gigabyte of Debian just to find no wasm in it.
func (p *plan) checkEntrypoint() error {
	argv0 := p.config.argv0()
	switch ext := path.Ext(argv0); {
	case ext == ".wasm":
		return nil
	case ext == ".wat":
		return refuse("compile it with wat2wasm", "its entrypoint %q is WebAssembly text (.wat), which is not supported", clip(argv0, 100))
	case p.config.isWasm():
		return nil
	case argv0 == "" && p.manifest.Annotations["module.wasm.image/variant"] != "":
		return nil
	case argv0 == "":
		return refuse("name the .wasm file as its entrypoint, in exec form", "it is a %s container image without an entrypoint", p.config.platform())
	default:
		return refuse("this node runs WebAssembly only: name a .wasm file as the entrypoint, in exec form, or run it on a node with containers",
			"it is a %s container image whose entrypoint %q is not a .wasm file", p.config.platform(), clip(argv0, 100))
	}
}

// signals is what the image says of signals: in its config, or, where artifacts have none, in its manifest.
func (p *plan) signals() string {
	const longest = 100
	if s, ok := p.config.Config.Labels[SignalsLabel]; ok {
		return clip(s, longest)
	}
	return clip(p.manifest.Annotations[SignalsLabel], longest)
}

func layerTypes(m *v1.Manifest) string {
	var out []string
	for _, d := range m.Layers {
		if t := clip(string(d.MediaType), 100); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return clip(strings.Join(out, ", "), 400)
}

// fileName keeps the last part of a title if it can be the name of a file.
func fileName(title string) string {
	base := path.Base(title)
	if title == "" || base == "." || base == "/" || base == ".." || clip(base, 255) != base {
		return ""
	}
	return base
}

// size is the bytes of all layers as they are transferred.
func (p *plan) size() int64 {
	var n int64
	for _, d := range p.manifest.Layers {
		n += d.Size
	}
	return n
}
