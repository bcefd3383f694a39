package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// Bounds on what a layer may contain.
const (
	maxEntries  = 100_000
	maxPath     = 4096
	maxDepth    = 200
	maxSymlink  = 4096
	whiteout    = ".wh."
	opaque      = ".wh..wh..opq"
	defaultMode = 0o755
	maxSyncs    = 50
)

// untar unpacks layers, one over the other, into a directory. Entries are hostile: nothing is ever written through a
// symbolic link, nor outside the directory (os.Root), and what is unpacked is bounded in number and size. Owners,
// setuid bits and devices are left out: a guest has no users, and what it can open as a device its sandbox decides.
type untar struct {
	root    *os.Root
	entries int             // that may still come
	synced  int             // files that were written, the first maxSyncs of which were synced one by one
	left    int64           // bytes that may still be unpacked
	dirs    map[string]bool // known to be directories, not links to one
	fresh   map[string]bool // written by the layer at hand, which an opaque whiteout spares
	cleared map[string]bool // opaque in the layer at hand
}

func newUntar(root *os.Root, maxBytes int64) *untar {
	return &untar{root: root, entries: maxEntries, left: maxBytes, dirs: map[string]bool{}}
}

// layer unpacks one layer, uncompressed, and returns the digest of all its bytes.
func (u *untar) layer(ctx context.Context, r io.Reader) (diffID string, err error) {
	u.fresh, u.cleared = map[string]bool{}, map[string]bool{}
	h := sha256.New()
	bounded := &boundedReader{r: io.TeeReader(r, h), left: u.left + maxEntries*1024, ctx: ctx}
	tr := tar.NewReader(bounded)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read tar: %w", err)
		}
		if err := u.entry(hdr, tr); err != nil {
			return "", fmt.Errorf("tar entry %q: %w", clip(hdr.Name, 200), err)
		}
	}
	// What follows the end mark belongs to the digest too.
	if _, err := io.Copy(io.Discard, bounded); err != nil {
		return "", fmt.Errorf("read tar: %w", err)
	}
	return digestSum(h), nil
}

func (u *untar) entry(hdr *tar.Header, content io.Reader) error {
	if u.entries--; u.entries < 0 {
		return refuse("", "the image has more than %d files", maxEntries)
	}
	name, err := entryName(hdr.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return nil // the root directory itself
	}
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	if strings.HasPrefix(base, whiteout) {
		return u.whiteout(dir, base)
	}
	if err := u.mkdirAll(dir); err != nil {
		return err
	}
	u.wrote(name)
	switch hdr.Typeflag {
	case tar.TypeDir:
		return u.mkdir(name, hdr.FileInfo().Mode().Perm())
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(name, hdr, content)
	case tar.TypeSymlink:
		return u.symlink(name, hdr.Linkname)
	case tar.TypeLink:
		return u.link(name, hdr.Linkname)
	default:
		return nil // devices, fifos and what other tars know
	}
}

// entryName makes a path relative to the root directory. A leading slash is common and harmless; what climbs out is not.
func entryName(s string) (string, error) {
	if len(s) > maxPath {
		return "", refuse("", "the path has more than %d bytes", maxPath)
	}
	if strings.ContainsRune(s, 0) {
		return "", refuse("", "the path has a NUL byte")
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == ".." {
			return "", refuse("", "the path leaves the image")
		}
	}
	name := path.Clean(strings.TrimLeft(s, "/"))
	if strings.Count(name, "/") >= maxDepth {
		return "", refuse("", "the path is deeper than %d directories", maxDepth)
	}
	return name, nil
}

// mkdirAll makes the parents that a layer did not list. A parent that is a link is an error: where a write would end up
// must not depend on what an earlier entry says.
func (u *untar) mkdirAll(dir string) error {
	if dir == "." || u.dirs[dir] {
		return nil
	}
	if err := u.mkdirAll(path.Dir(dir)); err != nil {
		return err
	}
	info, err := u.root.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := u.root.Mkdir(dir, defaultMode); err != nil {
			return err
		}
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return refuse("", "its directory %q is a symbolic link", clip(dir, 200))
	case !info.IsDir():
		return refuse("", "its directory %q is a file", clip(dir, 200))
	}
	u.dirs[dir] = true
	return nil
}

func (u *untar) mkdir(name string, perm fs.FileMode) error {
	info, err := u.root.Lstat(name)
	if err == nil && !info.IsDir() {
		if err := u.remove(name); err != nil {
			return err
		}
	}
	if err != nil || !info.IsDir() {
		if err := u.root.Mkdir(name, defaultMode); err != nil {
			return err
		}
	}
	u.dirs[name] = true
	return u.root.Chmod(name, perm|0o700) // we have to be able to fill and delete it
}

// remove makes room for an entry.
func (u *untar) remove(name string) error {
	info, err := u.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return u.root.Remove(name)
	}
	clear(u.dirs)
	return u.root.RemoveAll(name)
}

func (u *untar) file(name string, hdr *tar.Header, content io.Reader) error {
	if hdr.Size > u.left {
		return errTooLarge()
	}
	if err := u.remove(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, content)
	u.left -= n
	if err == nil {
		err = f.Chmod(hdr.FileInfo().Mode().Perm() | 0o400)
	}
	if u.synced++; err == nil && u.synced <= maxSyncs {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return u.mtime(name, hdr.ModTime)
}

// sync makes everything that was unpacked durable. Of many files it is quicker to sync the whole file system.
func (u *untar) sync() error {
	if u.synced <= maxSyncs {
		return nil
	}
	f, err := u.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(syncFS(f), f.Close())
}

// mtime keeps modification times, as programs compare them. Nonsense times are not kept.
func (u *untar) mtime(name string, t time.Time) error {
	if t.Unix() < 0 || t.Unix() > 1<<33 {
		return nil
	}
	return u.root.Chtimes(name, t, t)
}

func (u *untar) symlink(name, target string) error {
	if target == "" || len(target) > maxSymlink || strings.ContainsRune(target, 0) {
		return refuse("", "the symbolic link's target is empty, too long or has a NUL byte")
	}
	if err := u.remove(name); err != nil {
		return err
	}
	return u.root.Symlink(target, name) // kept as it is, wherever it points to; nothing here follows it
}

// link makes a hard link to a file of the image. Its size counts as if it were a copy, because to a guest with files of
// its own it becomes one.
func (u *untar) link(name, target string) error {
	old, err := entryName(target)
	if err != nil {
		return err
	}
	if err := u.realParent(old); err != nil {
		return err
	}
	info, err := u.root.Lstat(old)
	if err != nil {
		return refuse("", "the hard link's target %q is not in the image", clip(target, 200))
	}
	if !info.Mode().IsRegular() {
		return refuse("", "the hard link's target %q is not a regular file", clip(target, 200))
	}
	if u.left -= info.Size(); u.left < 0 {
		return errTooLarge()
	}
	if old == name {
		return nil
	}
	if err := u.remove(name); err != nil {
		return err
	}
	return u.root.Link(old, name)
}

// realParent refuses a path that goes through a link.
func (u *untar) realParent(name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if info, err := u.root.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return refuse("", "the directory %q is a symbolic link", clip(dir, 200))
		}
	}
	return nil
}

// whiteout deletes what a lower layer brought.
func (u *untar) whiteout(dir, base string) error {
	if err := u.realParent(path.Join(dir, base)); err != nil {
		return err
	}
	if base == opaque {
		return u.clear(dir)
	}
	victim := strings.TrimPrefix(base, whiteout)
	if victim == "" || victim == "." || victim == ".." {
		return refuse("", "a whiteout without a name")
	}
	return u.remove(path.Join(dir, victim))
}

// clear empties a directory of what lower layers brought.
func (u *untar) clear(dir string) error {
	if u.cleared[dir] {
		return nil
	}
	u.cleared[dir] = true
	f, err := u.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	_ = f.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		switch {
		case u.fresh[p] && e.IsDir():
			err = u.clear(p)
		case u.fresh[p]:
		default:
			err = u.remove(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wrote notes what this layer brought, with the directories above it.
func (u *untar) wrote(name string) {
	for ; name != "." && !u.fresh[name]; name = path.Dir(name) {
		u.fresh[name] = true
	}
}

func errTooLarge() error {
	return refuse("", "the image is too large when unpacked")
}

// boundedReader ends with a refusal instead of reading on for ever, and obeys a context.
type boundedReader struct {
	ctx  context.Context // io.Reader has no room for it; lives for one call
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if err := canceled(b.ctx); err != nil {
		return 0, err
	}
	if b.left <= 0 {
		return 0, errTooLarge()
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}
