package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Stored is one reference in the store.
type Stored struct {
	// Ref is the full reference, ID the digest reference, Digest the digest of the module, Size the bytes of all layers.
	Ref        string    `json:"ref"`
	ID         string    `json:"id"`
	Digest     string    `json:"digest"`
	Size       int64     `json:"size"`
	Format     Format    `json:"format"`
	Platform   string    `json:"platform,omitempty"`
	Imported   bool      `json:"imported,omitempty"` // from a file, by Import
	ImportedAt time.Time `json:"importedAt"`         // when it came into the store, from wherever
	LastUsed   time.Time `json:"lastUsed"`
}

// Import puts a wasm file into the store under ref, as a CNCF artifact. A reference that is there already is replaced.
// A file that this node could not run is refused.
func (s *Store) Import(ctx context.Context, file, ref string) (Stored, error) {
	r, err := parseReference(ref)
	if err != nil {
		return Stored{}, err
	}
	if r.digest() != "" {
		return Stored{}, fmt.Errorf("import %s: %q has a digest, which only the content can decide; give registry/repository:tag", file, ref)
	}
	if err := sniffFile(file); err != nil {
		return Stored{}, fmt.Errorf("import %s: %w", file, err)
	}
	const tries = 3 // against deletions by others
	for range tries {
		var e entry
		var rec record
		if e, rec, err = s.importOnce(ctx, file, r); err == nil {
			return s.stored(e, rec), nil
		}
		if !errors.Is(err, errVanished) {
			break
		}
	}
	return Stored{}, fmt.Errorf("import %s: %w", file, err)
}

func (s *Store) importOnce(ctx context.Context, file string, r reference) (entry, record, error) {
	digest, size, err := s.disk.putFile(file, s.cfg.MaxImageBytes)
	if err != nil {
		return entry{}, record{}, err
	}
	a, err := newArtifact(module{digest: digest, size: size, name: fileName(file)}, PushOptions{Format: FormatCNCF})
	if err != nil {
		return entry{}, record{}, err
	}
	if err := s.disk.putBlob(a.manifest.Config.Digest.Hex, a.config); err != nil {
		return entry{}, record{}, err
	}
	top := digestOf(a.raw)
	if err := s.disk.putBlob(top[len(digestPrefix):], a.raw); err != nil {
		return entry{}, record{}, err
	}
	c, err := parseConfig(a.manifest, a.config)
	if err != nil {
		return entry{}, record{}, err
	}
	p, err := makePlan(a.manifest, c, s.cfg.MaxImageBytes)
	if err != nil {
		return entry{}, record{}, err
	}
	rec, err := s.disk.unpack(ctx, top, p, s.cfg.MaxImageBytes)
	if err != nil {
		return entry{}, record{}, err
	}
	f := fetched{top: top, manifest: blobOf{raw: a.raw, digest: top}, mediaType: types.OCIManifestSchema1}
	e, err := s.put(r, f, func(_, next *entry) { next.imported = true })
	return e, rec, err
}

// List returns what the store holds, sorted by reference.
func (s *Store) List() ([]Stored, error) {
	entries, err := s.disk.readIndex()
	if err != nil {
		return nil, err
	}
	out := []Stored{}
	for _, e := range entries {
		rec, err := s.disk.readRecord(e.hex())
		if errors.Is(err, errNoRecord) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s.stored(e, rec))
	}
	slices.SortFunc(out, func(a, b Stored) int { return strings.Compare(a.Ref, b.Ref) })
	return out, nil
}

func (s *Store) stored(e entry, rec record) Stored {
	return Stored{
		Ref: e.ref, ID: e.id, Digest: rec.ModuleDigest, Size: rec.Size, Format: rec.Format, Platform: rec.Platform,
		Imported: e.imported, ImportedAt: e.added, LastUsed: s.disk.used(e.hex()),
	}
}

// Remove forgets a reference, or with a digest reference all that stand for that content, and deletes what no other
// reference needs. ErrNotFound when there is none. It does not look whether a Pod uses the image.
func (s *Store) Remove(ref string) error {
	r, err := parseReference(ref)
	if err != nil {
		return err
	}
	unlock, err := s.disk.lock()
	if err != nil {
		return err
	}
	n, err := s.disk.forget(func(e entry) bool { return e.matches(r) })
	unlock()
	switch {
	case err != nil:
		return fmt.Errorf("remove %s: %w", ref, err)
	case n == 0:
		return fmt.Errorf("remove %s: %w", ref, ErrNotFound)
	}
	return s.disk.sweep(s.cfg.Clock.Now())
}
