package image

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// unpack makes images/HEX of an image whose blobs are all there. It builds aside and renames, and what is there already
// stays: content decides the name.
func (d disk) unpack(ctx context.Context, digest string, p plan, maxBytes int64) (record, error) {
	hexadecimal := digest[len(digestPrefix):]
	if r, err := d.readRecord(hexadecimal); err == nil {
		return r, nil
	}
	dir, hold, err := d.tempDir("unpack-")
	if err != nil {
		return record{}, err
	}
	defer hold.Close() //nolint:errcheck // only a lock
	defer func() { _ = removeTree(dir) }()
	r, err := d.fill(ctx, dir, p, maxBytes)
	r.Version, r.Manifest, r.Size, r.Format = recordVersion, digest, p.size(), p.format
	r.Blobs = p.blobs(digest)
	r.Platform = p.config.platform()
	c := p.config.Config
	r.Entrypoint, r.Cmd, r.Env, r.WorkingDir = c.Entrypoint, c.Cmd, c.Env, c.WorkingDir
	r.Signals = p.signals()
	if err != nil {
		return r, err
	}
	if err := writeRecord(dir, r); err != nil {
		return r, err
	}
	return r, d.publish(dir, hexadecimal)
}

func writeRecord(dir string, r record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{recordFile: b, usedFile: nil} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		if err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// publish gives the directory its final name. When another process was faster, its directory is as good as ours; when
// what is there is broken (no valid record), it is replaced.
func (d disk) publish(dir, hexadecimal string) error {
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	target := d.image(hexadecimal)
	if _, err := os.Lstat(target); err == nil {
		if _, err := d.readRecord(hexadecimal); err == nil {
			return nil
		}
		if err := d.trash(target); err != nil {
			return err
		}
	}
	if err := os.Rename(dir, target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

// trashPrefix marks what emptyTrash deletes.
const trashPrefix = "trash-"

// trash moves a file or directory out of the way, in one step; emptyTrash deletes it.
func (d disk) trash(path string) error {
	return os.Rename(path, filepath.Join(d.ingest(), trashPrefix+rand.Text()))
}

// fill unpacks the files of an image into dir/rootfs and finds the module. With a refusal it returns what it knows.
func (d disk) fill(ctx context.Context, dir string, p plan, maxBytes int64) (record, error) {
	var r record
	if len(p.tar) > 0 {
		r.Rootfs = true
		left, err := d.untarAll(ctx, filepath.Join(dir, rootfsDir), p, maxBytes)
		if err != nil {
			return r, err
		}
		r.Unpacked = maxBytes - left
	}
	if p.wasm != nil {
		r.ModuleDigest, r.ModuleSize, r.Name = p.wasm.Digest.String(), p.wasm.Size, p.title
		return r, sniffFile(d.blob(p.wasm.Digest.Hex))
	}
	root, err := os.OpenRoot(filepath.Join(dir, rootfsDir))
	if err != nil {
		return r, err
	}
	defer root.Close() //nolint:errcheck // only read
	module, err := findModule(root, p.config)
	if err != nil {
		return r, err
	}
	r.Module, r.Name = module, path.Base(module)
	file := filepath.Join(root.Name(), module)
	if r.ModuleDigest, r.ModuleSize, err = digestFile(file); err != nil {
		return r, err
	}
	if err := sniffFile(file); err != nil {
		return r, fmt.Errorf("file /%s: %w", clip(module, 200), err)
	}
	return r, nil
}

// untarAll unpacks all layers of files and returns how many more bytes would have been allowed.
func (d disk) untarAll(ctx context.Context, dir string, p plan, maxBytes int64) (left int64, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // the guest's root directory
		return 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close() //nolint:errcheck // files are synced one by one
	u := newUntar(root, maxBytes)
	diffIDs := p.config.RootFS.DiffIDs
	if len(diffIDs) != len(p.tar) {
		diffIDs = nil // other tools made such images; the layers themselves are verified
	}
	for i, l := range p.tar {
		got, err := d.untarOne(ctx, u, l)
		if err != nil {
			return 0, fmt.Errorf("layer %s: %w", short(l.Digest), err)
		}
		if diffIDs != nil && diffIDs[i] != got {
			return 0, refuse("build it again", "its layer %s has the uncompressed digest %s, but its config says %s",
				short(l.Digest), got, clip(diffIDs[i], 80))
		}
	}
	return u.left, u.sync()
}

func (d disk) untarOne(ctx context.Context, u *untar, l v1.Descriptor) (diffID string, err error) {
	r, err := d.uncompressed(l)
	if err != nil {
		return "", fmt.Errorf("uncompress: %w", err)
	}
	got, err := u.layer(ctx, r)
	return got, errors.Join(err, closeQuietly(r, err))
}

// uncompressed opens a layer that is gzip, zstd or neither, whatever its media type says.
func (d disk) uncompressed(l v1.Descriptor) (io.ReadCloser, error) {
	file := d.blob(l.Digest.Hex)
	if yes, err := isZstd(file); err != nil {
		return nil, err
	} else if yes {
		return openZstd(file)
	}
	layer, err := partial.CompressedToLayer(blobLayer{d, l})
	if err != nil {
		return nil, err
	}
	return layer.Uncompressed()
}

// closeQuietly reports a failed close only where nothing else failed.
func closeQuietly(c io.Closer, err error) error {
	if cerr := c.Close(); err == nil {
		return cerr
	}
	return nil
}

// blobs are the digests of everything an image consists of.
func (p *plan) blobs(manifest string) []string {
	out := []string{manifest, p.manifest.Config.Digest.String()}
	for _, l := range p.manifest.Layers {
		out = append(out, l.Digest.String())
	}
	return out
}

// blobLayer is a stored layer, in ggcr's terms.
type blobLayer struct {
	disk disk
	desc v1.Descriptor
}

func (l blobLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l blobLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l blobLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l blobLayer) Compressed() (io.ReadCloser, error) {
	return os.Open(l.disk.blob(l.desc.Digest.Hex))
}

func short(h v1.Hash) string { return h.Hex[:12] }
