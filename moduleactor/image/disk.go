package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Images of private registries are nobody else's business: the store is not readable for everyone.
const (
	dirMode  = 0o750
	blobMode = 0o440
	fileMode = 0o640
)

// disk is the store's directory: where things are, and how they get there in one step.
type disk struct{ dir string }

func (d disk) blob(hexadecimal string) string {
	return filepath.Join(d.dir, "blobs", "sha256", hexadecimal)
}

func (d disk) image(hexadecimal string) string { return filepath.Join(d.dir, "images", hexadecimal) }
func (d disk) ingest() string                  { return filepath.Join(d.dir, "ingest") }
func (d disk) index() string                   { return filepath.Join(d.dir, "index.json") }

// create makes the directories and the file that marks an OCI image layout.
func (d disk) create() error {
	for _, sub := range []string{filepath.Join("blobs", "sha256"), "images", "ingest"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), dirMode); err != nil {
			return err
		}
	}
	marker := filepath.Join(d.dir, "oci-layout")
	if _, err := os.Stat(marker); err == nil {
		return nil
	}
	return renameio.WriteFile(marker, []byte(`{"imageLayoutVersion":"1.0.0"}`), fileMode, renameio.WithTempDir(d.ingest()))
}

// hasBlob says whether the blob is there. What has a blob's name was verified before it got it; the size is looked at
// again because it costs nothing.
func (d disk) hasBlob(hexadecimal string, size int64) bool {
	info, err := os.Lstat(d.blob(hexadecimal))
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// putBlob writes a small blob whose digest the caller has computed.
func (d disk) putBlob(hexadecimal string, b []byte) error {
	if d.hasBlob(hexadecimal, int64(len(b))) {
		return nil
	}
	return renameio.WriteFile(d.blob(hexadecimal), b, blobMode, renameio.WithTempDir(d.ingest()))
}

// putFile copies a file into the blobs and returns its digest. Content decides the name, so a file that changes while it
// is read is stored as what was read.
func (d disk) putFile(path string, limit int64) (digest string, size int64, err error) {
	src, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer src.Close() //nolint:errcheck // only read
	p, err := d.openPartial("import")
	if err != nil {
		return "", 0, err
	}
	defer p.close()
	if err := p.restart(); err != nil {
		return "", 0, err
	}
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(p.f, h), io.LimitReader(src, limit+1))
	if err != nil {
		return "", 0, fmt.Errorf("copy %s: %w", path, err)
	}
	if size > limit {
		return "", 0, fmt.Errorf("%s: larger than %d bytes, the most an image may have", path, limit)
	}
	digest = digestSum(h)
	return digest, size, p.commit(d, digest[len(digestPrefix):])
}

// lock takes the store's lock, which other processes respect too, and returns its release. It is held for short times.
func (d disk) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(d.dir, "lock"), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

// partFile is a file in ingest that this process alone writes.
type partFile struct {
	f    *os.File
	done bool
}

// openPartial opens what an earlier attempt left under that name, or a new file. When another process is writing it, the
// caller gets a file of its own: two downloads of one blob are wasteful but right.
func (d disk) openPartial(name string) (*partFile, error) {
	path := filepath.Join(d.ingest(), name+".part")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return nil, err
	}
	if locked(f) && linked(f, path) {
		return &partFile{f: f}, nil
	}
	_ = f.Close()
	if f, err = os.CreateTemp(d.ingest(), name+"-*.part"); err != nil {
		return nil, err
	}
	if !locked(f) {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: somebody else has it", f.Name())
	}
	return &partFile{f: f}, nil
}

// locked takes a file's lock if it is free. It goes with the file descriptor.
func locked(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// linked says whether path still names f: its last owner may have renamed it between our open and our lock.
func linked(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}

// restart empties the file.
func (p *partFile) restart() error {
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	_, err := p.f.Seek(0, io.SeekStart)
	return err
}

// commit gives the file its name among the blobs. The caller has verified its content.
func (p *partFile) commit(d disk, hexadecimal string) error {
	if err := p.f.Chmod(blobMode); err != nil {
		return err
	}
	if err := p.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(p.f.Name(), d.blob(hexadecimal)); err != nil {
		return err
	}
	p.done = true
	return syncDir(filepath.Dir(d.blob(hexadecimal)))
}

// close lets go of the file; unless committed it stays for the next attempt.
func (p *partFile) close() { _ = p.f.Close() }

// discard removes the file.
func (p *partFile) discard() {
	if !p.done {
		_ = os.Remove(p.f.Name())
	}
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only synced
	return f.Sync()
}

// tempDir makes a directory in ingest that no sweep takes away while the returned file is open.
func (d disk) tempDir(prefix string) (path string, hold *os.File, err error) {
	path, err = os.MkdirTemp(d.ingest(), prefix)
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(path, dirMode); err != nil { //nolint:gosec // a directory needs x
		return "", nil, err
	}
	hold, err = os.Open(path)
	if err != nil {
		return "", nil, err
	}
	if !locked(hold) {
		_ = hold.Close()
		return "", nil, fmt.Errorf("lock %s: somebody else has it", path)
	}
	return path, hold, nil
}

// removeTree deletes a directory even where its own permissions forbid it.
func removeTree(path string) error {
	err := os.RemoveAll(path)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return os.Chmod(p, 0o700) //nolint:gosec // a directory needs x
		}
		return nil
	})
	return os.RemoveAll(path)
}

// canceled returns why ctx ended, for loops that do not block on anything that obeys it.
func canceled(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// readBlob reads a small blob.
func (d disk) readBlob(hexadecimal string, limit int64) ([]byte, error) {
	f, err := os.Open(d.blob(hexadecimal))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(f, limit))
}
