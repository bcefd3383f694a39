package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/renameio/v2"
)

// Annotations of index.json. The first is OCI's.
const (
	annotationRef      = "org.opencontainers.image.ref.name"
	annotationID       = "dev.wazlet.image.id"
	annotationAdded    = "dev.wazlet.image.added"
	annotationImported = "dev.wazlet.image.imported"
)

// entry is one reference in index.json.
type entry struct {
	ref      string // full reference
	id       string // digest reference of what ref stood for
	manifest v1.Descriptor
	added    time.Time
	imported bool // from a file: no registry has it
	access   access
}

func (e entry) hex() string { return e.manifest.Digest.Hex }

// matches says whether the entry is what a reference means: the same reference, or, for a digest, the same content of
// the same repository.
func (e entry) matches(r reference) bool {
	if e.ref == r.key() {
		return true
	}
	d := r.digest()
	if d == "" {
		return false
	}
	return e.id == r.id(d) || (e.manifest.Digest.String() == d && strings.HasPrefix(e.id, r.repository()+"@"))
}

// readIndex reads index.json. None is an empty store.
func (d disk) readIndex() ([]entry, error) {
	b, err := os.ReadFile(d.index())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := parseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.index(), err)
	}
	return entries, nil
}

func parseIndex(b []byte) ([]entry, error) {
	m, err := v1.ParseIndexManifest(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("not an OCI image index: %w", err)
	}
	var out []entry
	for i, desc := range m.Manifests {
		e := entry{manifest: desc, ref: desc.Annotations[annotationRef], id: desc.Annotations[annotationID]}
		if err := checkDigest(desc.Digest.String()); err != nil {
			return nil, fmt.Errorf("manifests[%d]: %w", i, err)
		}
		if e.ref == "" || e.id == "" {
			continue // another tool's entry: not an image we can run, but not ours to judge
		}
		var err error
		if e.access, err = parseAccess(desc.Annotations[annotationAccess]); err != nil {
			return nil, fmt.Errorf("manifests[%d]: %w", i, err)
		}
		e.imported = desc.Annotations[annotationImported] == "true"
		if e.added, err = time.Parse(time.RFC3339Nano, desc.Annotations[annotationAdded]); err != nil {
			e.added = time.Time{}
		}
		out = append(out, e)
	}
	return out, nil
}

// writeIndex replaces index.json at once; what other tools wrote there is dropped. The caller holds the lock.
func (d disk) writeIndex(entries []entry) error {
	m := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.ref, b.ref) })
	for _, e := range entries {
		desc := e.manifest
		desc.Annotations = map[string]string{
			annotationRef: e.ref, annotationID: e.id, annotationAdded: e.added.UTC().Format(time.RFC3339Nano),
		}
		if e.imported {
			desc.Annotations[annotationImported] = "true"
		}
		if e.access != nil {
			text, err := e.access.encode()
			if err != nil {
				return err
			}
			desc.Annotations[annotationAccess] = text
		}
		m.Manifests = append(m.Manifests, desc)
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(d.index(), b, fileMode, renameio.WithTempDir(d.ingest()))
}

// record is record.json: what was found in an image, so that using it again needs no look at its manifest.
type record struct {
	Version  int      `json:"version"`
	Manifest string   `json:"manifest"`
	Blobs    []string `json:"blobs"` // manifest, config and layers
	Size     int64    `json:"size"`  // bytes of the layers
	Unpacked int64    `json:"unpacked,omitempty"`
	Format   Format   `json:"format"`
	// Module is the path of the module in the image's rootfs; empty when it is the blob ModuleDigest.
	Module       string   `json:"module,omitempty"`
	ModuleDigest string   `json:"moduleDigest"`
	ModuleSize   int64    `json:"moduleSize"`
	Name         string   `json:"name,omitempty"`
	Rootfs       bool     `json:"rootfs,omitempty"`
	Platform     string   `json:"platform,omitempty"`
	Entrypoint   []string `json:"entrypoint,omitempty"`
	Cmd          []string `json:"cmd,omitempty"`
	Env          []string `json:"env,omitempty"`
	WorkingDir   string   `json:"workingDir,omitempty"`
	Signals      string   `json:"signals,omitempty"`
}

// recordVersion is what this build reads and writes; an image with another is unpacked anew.
const recordVersion = 1

const (
	recordFile = "record.json"
	usedFile   = "used"
	rootfsDir  = "rootfs"
)

var errNoRecord = errors.New("not unpacked")

// readRecord reads an image's record and looks whether its module is still there.
func (d disk) readRecord(hexadecimal string) (record, error) {
	f, err := os.Open(d.image(hexadecimal) + "/" + recordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, errNoRecord
	}
	if err != nil {
		return record{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return record{}, err
	}
	r, err := parseRecord(b)
	if err != nil {
		return record{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	info, err := os.Lstat(d.modulePath(hexadecimal, r))
	if err != nil || !info.Mode().IsRegular() || info.Size() != r.ModuleSize {
		return record{}, errNoRecord
	}
	return r, nil
}

func parseRecord(b []byte) (record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, err
	}
	if r.Version != recordVersion {
		return record{}, errNoRecord
	}
	for _, s := range append(slices.Clone(r.Blobs), r.Manifest, r.ModuleDigest) {
		if err := checkDigest(s); err != nil {
			return record{}, err
		}
	}
	if r.Module != "" && !fs.ValidPath(r.Module) {
		return record{}, fmt.Errorf("module: %q leaves the image", r.Module)
	}
	return r, nil
}

// modulePath is the host path of a recorded module.
func (d disk) modulePath(hexadecimal string, r record) string {
	if r.Module == "" {
		return d.blob(r.ModuleDigest[len(digestPrefix):])
	}
	return d.image(hexadecimal) + "/" + rootfsDir + "/" + r.Module
}

// touch notes that an image was used; Collect deletes the least recently used first. The mark is advice, so that it
// cannot be written (a read-only store, an image that is just being deleted) is no error.
func (d disk) touch(hexadecimal string, now time.Time) {
	_ = os.Chtimes(d.image(hexadecimal)+"/"+usedFile, now, now)
}

// used is when the image was used last.
func (d disk) used(hexadecimal string) time.Time {
	info, err := os.Stat(d.image(hexadecimal) + "/" + usedFile)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// hasAll says whether everything a record names is there. The caller holds the lock.
func (d disk) hasAll(hexadecimal string) bool {
	r, err := d.readRecord(hexadecimal)
	if err != nil {
		return false
	}
	for _, b := range r.Blobs {
		if _, err := os.Lstat(d.blob(b[len(digestPrefix):])); err != nil {
			return false
		}
	}
	return true
}
