package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ages after which leftovers of interrupted work go. They are generous, because a pull in another process may be about
// to use what looks forgotten; a pull that loses something all the same gets it again.
const (
	orphanAge  = time.Hour
	tempAge    = 10 * time.Minute
	partialAge = 24 * time.Hour
)

// Collected is what Collect deleted: references and the bytes of their files.
type Collected struct {
	Images []string
	Bytes  int64
}

// Collect deletes images, least recently used first, when at least high percent of the file system is used, until only
// low percent are. An image is spared when inUse says so for its manifest's or its module's digest, when it was used
// within MinAge, and when it was imported from a file, because it could not be pulled again. An error with a Collected
// that is not empty says that too little could be deleted.
func (s *Store) Collect(ctx context.Context, inUse func(digest string) bool, high, low int) (Collected, error) {
	if high < 0 || high > 100 || low < 0 || low > high {
		return Collected{}, fmt.Errorf("collect images: need 0 <= lowPercent <= highPercent <= 100 (got %d and %d)", low, high)
	}
	now := s.cfg.Clock.Now()
	if err := s.disk.sweep(now); err != nil {
		return Collected{}, fmt.Errorf("collect images: %w", err)
	}
	total, free, err := s.cfg.Statfs(s.disk.dir)
	if err != nil {
		return Collected{}, fmt.Errorf("collect images: %w", err)
	}
	if total == 0 || (total-min(free, total))*100 < total*uint64(high) { //nolint:gosec // 0..100
		return Collected{}, nil
	}
	if err := s.disk.sweepIngest(now, 0); err != nil { // a download that could be resumed is a luxury now
		return Collected{}, fmt.Errorf("collect images: %w", err)
	}
	want := int64(total*uint64(100-low)/100) - int64(free) //nolint:gosec // 0..100
	victims, err := s.victims(inUse, now)
	if err != nil {
		return Collected{}, fmt.Errorf("collect images: %w", err)
	}
	var c Collected
	for _, v := range victims {
		if c.Bytes >= want || ctx.Err() != nil {
			break
		}
		if err := s.collectOne(v, &c); err != nil {
			return c, fmt.Errorf("collect image %s: %w", v.refs[0], err)
		}
	}
	if err := ctx.Err(); err != nil {
		return c, err
	}
	if c.Bytes < want {
		return c, fmt.Errorf("wanted to free %d bytes, but only found %d bytes eligible to free", want, c.Bytes)
	}
	return c, nil
}

// victim is an image with all its references.
type victim struct {
	hexadecimal string
	refs        []string
	used        time.Time
}

// victims are the images that may go, least recently used first.
func (s *Store) victims(inUse func(string) bool, now time.Time) ([]victim, error) {
	entries, err := s.disk.readIndex()
	if err != nil {
		return nil, err
	}
	byImage := map[string]*victim{}
	spared := map[string]bool{}
	for _, e := range entries {
		h := e.hex()
		if byImage[h] == nil {
			byImage[h] = &victim{hexadecimal: h, used: s.disk.used(h)}
		}
		byImage[h].refs = append(byImage[h].refs, e.ref)
		rec, err := s.disk.readRecord(h)
		module := err == nil && inUse(rec.ModuleDigest)
		if e.imported || module || inUse(e.manifest.Digest.String()) {
			spared[h] = true
		}
	}
	var out []victim
	for h, v := range byImage {
		if !spared[h] && now.Sub(v.used) >= s.cfg.MinAge {
			out = append(out, *v)
		}
	}
	slices.SortFunc(out, func(a, b victim) int {
		if c := a.used.Compare(b.used); c != 0 {
			return c
		}
		return strings.Compare(a.hexadecimal, b.hexadecimal)
	})
	return out, nil
}

func (s *Store) collectOne(v victim, c *Collected) error {
	unlock, err := s.disk.lock()
	if err != nil {
		return err
	}
	if !s.disk.used(v.hexadecimal).Equal(v.used) { // used since: spare it
		unlock()
		return nil
	}
	n, err := s.disk.forget(func(e entry) bool { return e.hex() == v.hexadecimal })
	unlock()
	if err != nil {
		return err
	}
	if n > 0 {
		c.Images = append(c.Images, v.refs...)
	}
	freed, err := s.disk.emptyTrash()
	c.Bytes += freed
	return err
}

// forget drops entries and moves what only they needed to the trash. It returns how many entries went. The caller holds
// the lock. Killed between the two steps, it leaves orphans, which a later sweep finds.
func (d disk) forget(which func(entry) bool) (int, error) {
	entries, err := d.readIndex()
	if err != nil {
		return 0, err
	}
	var keep, gone []entry
	for _, e := range entries {
		if which(e) {
			gone = append(gone, e)
		} else {
			keep = append(keep, e)
		}
	}
	if len(gone) == 0 {
		return 0, nil
	}
	if err := d.writeIndex(slices.Clone(keep)); err != nil {
		return 0, err
	}
	needed := d.needed(keep)
	for _, e := range gone {
		if err := d.drop(e.hex(), needed); err != nil {
			return len(gone), err
		}
	}
	return len(gone), nil
}

// needed are the hex digests of images and blobs that the entries refer to.
func (d disk) needed(entries []entry) map[string]bool {
	out := map[string]bool{}
	for _, e := range entries {
		out[e.hex()] = true
		rec, err := d.readRecord(e.hex())
		if err != nil {
			continue // nobody can use this image before it is pulled again
		}
		for _, b := range rec.Blobs {
			out[b[len(digestPrefix):]] = true
		}
	}
	return out
}

// drop moves one image and its blobs to the trash, but for what is needed.
func (d disk) drop(hexadecimal string, needed map[string]bool) error {
	if needed[hexadecimal] {
		return nil
	}
	rec, err := d.readRecord(hexadecimal)
	if err != nil {
		rec.Blobs = nil // the sweep will find its blobs
	}
	if err := d.trash(d.image(hexadecimal)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, b := range rec.Blobs {
		h := b[len(digestPrefix):]
		if needed[h] {
			continue
		}
		if err := d.trash(d.blob(h)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// sweep deletes what nobody refers to and nobody is working on.
func (d disk) sweep(now time.Time) error {
	if err := d.sweepOrphans(now); err != nil {
		return err
	}
	if err := d.sweepIngest(now, partialAge); err != nil {
		return err
	}
	_, err := d.emptyTrash()
	return err
}

// sweepOrphans moves blobs and images that no reference needs to the trash, once they are old.
func (d disk) sweepOrphans(now time.Time) error {
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := d.readIndex()
	if err != nil {
		return err
	}
	needed := d.needed(entries)
	for _, dir := range []string{filepath.Dir(d.blob("x")), filepath.Dir(d.image("x"))} {
		names, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, n := range names {
			path := filepath.Join(dir, n.Name())
			if needed[n.Name()] || !older(path, now, orphanAge) {
				continue
			}
			if err := d.trash(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// sweepIngest deletes abandoned temporary files, downloads among them only when they are as old as resumable says.
func (d disk) sweepIngest(now time.Time, resumable time.Duration) error {
	names, err := os.ReadDir(d.ingest())
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n.Name(), trashPrefix) {
			continue
		}
		age := tempAge
		if strings.HasSuffix(n.Name(), ".part") {
			age = resumable
		}
		path := filepath.Join(d.ingest(), n.Name())
		if !older(path, now, age) || !d.abandoned(path) {
			continue
		}
		if err := removeTree(path); err != nil {
			return err
		}
	}
	return nil
}

// abandoned says whether no process holds the lock of a temporary file.
func (d disk) abandoned(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // only a lock
	return locked(f)
}

func older(path string, now time.Time, age time.Duration) bool {
	info, err := os.Lstat(path)
	return err == nil && now.Sub(info.ModTime()) >= age
}

// emptyTrash deletes what was moved aside, outside the lock because that can take long.
func (d disk) emptyTrash() (int64, error) {
	names, err := os.ReadDir(d.ingest())
	if err != nil {
		return 0, err
	}
	var freed int64
	for _, n := range names {
		if !strings.HasPrefix(n.Name(), trashPrefix) {
			continue
		}
		path := filepath.Join(d.ingest(), n.Name())
		freed += treeSize(path)
		if err := removeTree(path); err != nil {
			return freed, err
		}
	}
	return freed, nil
}

// treeSize adds up the regular files below a path.
func treeSize(path string) int64 {
	var n int64
	_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read is not counted
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// statfs asks the kernel; free is what a process without privileges may use, as the kubelet counts it.
func statfs(path string) (total, free uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", path, err)
	}
	size := uint64(st.Bsize) //nolint:gosec // a block size
	return st.Blocks * size, st.Bavail * size, nil
}
