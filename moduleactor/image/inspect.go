package image

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// Details are what can be said about a module and how it is packed without running it.
type Details struct {
	// Ref is the reference or file that was asked for. ID, Platform and Size are empty for a file.
	Ref      string `json:"ref"`
	ID       string `json:"id,omitempty"`
	Format   Format `json:"format,omitempty"`
	Platform string `json:"platform,omitempty"`
	Size     int64  `json:"size,omitempty"` // bytes of all layers

	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`

	// Digest is the module's; the module itself is nil when none was found.
	Digest string       `json:"digest,omitempty"`
	Kind   string       `json:"kind,omitempty"`
	Module *wasm.Module `json:"module,omitempty"`

	// Runs says whether this node would run it, Problems why not.
	Runs     bool     `json:"runs"`
	Problems []string `json:"problems,omitempty"`
}

// maxInspect bounds what Inspect reads into memory.
const maxInspect = 1 << 30

// Inspect looks at an image of the store.
func (s *Store) Inspect(ref string) (Details, error) {
	img, ok := s.Present(ref)
	if !ok {
		return Details{}, fmt.Errorf("inspect %s: %w", ref, ErrNotFound)
	}
	return inspectImage(img)
}

// Inspect looks at an image in its registry. An image that this node refuses is no error; Problems says why.
func (c *Client) Inspect(ctx context.Context, ref string) (Details, error) {
	r, err := parseReference(ref)
	if err != nil {
		return Details{}, err
	}
	var d Details
	err = c.withStore(func(s *Store) error {
		var refused *refusal
		img, err := s.Ensure(ctx, ref, Always)
		switch {
		case err == nil:
			d, err = inspectImage(img)
			return err
		case errors.As(err, &refused):
			d, err = s.inspectRefused(ctx, r)
			d.Problems = append(d.Problems, refused.Error())
			return err
		default:
			return err
		}
	})
	return d, err
}

// inspectRefused tells what is known of an image that Ensure refused; how far that goes depends on why.
func (s *Store) inspectRefused(ctx context.Context, r reference) (Details, error) {
	d := Details{Ref: r.text}
	sources, err := s.remote.sources(r)
	if err != nil {
		return d, err
	}
	sess, err := s.remote.open(ctx, sources[len(sources)-1], "pull")
	if err != nil {
		return d, err
	}
	f, err := s.fetch(ctx, r, sess)
	if f.top != "" {
		d.ID = r.id(f.top)
	}
	if f.plan.manifest != nil {
		d.Format, d.Platform, d.Size = f.plan.format, f.plan.config.platform(), f.plan.size()
		d.Entrypoint, d.Cmd = f.plan.config.Config.Entrypoint, f.plan.config.Config.Cmd
	}
	if err != nil {
		if isRefusal(err) {
			return d, nil
		}
		return d, err
	}
	if f.plan.wasm == nil {
		return d, nil
	}
	m, digest, err := readModule(s.disk.blob(f.plan.wasm.Digest.Hex))
	if err != nil {
		return d, err
	}
	d.Digest, d.Kind, d.Module = digest, m.Kind.String(), m
	return d, nil
}

// InspectFile looks at a wasm file.
func InspectFile(file string) (Details, error) {
	d := Details{Ref: file, Format: FormatFile}
	return d, d.look(file)
}

func inspectImage(img Image) (Details, error) {
	d := Details{
		Ref: img.Ref, ID: img.ID, Format: img.Format, Size: img.Size, Platform: img.Platform,
		Entrypoint: img.Entrypoint, Cmd: img.Cmd,
	}
	return d, d.look(img.Module)
}

// look reads the module and judges it.
func (d *Details) look(file string) error {
	m, digest, err := readModule(file)
	if malformed, ok := errors.AsType[*wasm.SyntaxError](err); ok {
		d.Problems = append(d.Problems, malformed.Error())
	} else if err != nil {
		return fmt.Errorf("inspect %s: %w", d.Ref, err)
	}
	d.Digest, d.Kind, d.Module = digest, m.Kind.String(), m
	if m.Kind == wasm.NotWasm {
		d.Module = nil
		if refused, ok := errors.AsType[*refusal](sniffFile(file)); ok {
			d.Problems = append(d.Problems, refused.Error())
		}
		return nil
	}
	d.Problems = append(d.Problems, m.Check(0)...)
	d.Runs = len(d.Problems) == 0
	return nil
}

// readModule parses a file. A module that is malformed is returned as far as it can be read, with a *wasm.SyntaxError.
func readModule(file string) (m *wasm.Module, digest string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, "", fmt.Errorf("%s: not a regular file", file)
	}
	if info.Size() > maxInspect {
		return nil, "", fmt.Errorf("%s: %d bytes are more than %d, the most that is looked at", file, info.Size(), maxInspect)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, "", err
	}
	m, err = wasm.Parse(b)
	return m, digestOf(b), err
}
