package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Mount is a directory or file of the host inside the guest. Host is an absolute path. On Linux no part of it may be a
// symbolic link: whoever trusts one resolves it before.
type Mount struct {
	Host, Guest string
	ReadOnly    bool
}

// FS is a guest's file system. Only Root's Dir leads into it.
type FS struct {
	// mounts are ordered so that the first whose name is a prefix of a path is the one that has it; the last is /.
	mounts []*mount
	// later opens it, once it is used; nil after that.
	later func() (*FS, error)
}

// Later returns an FS that open opens when the guest first uses it, in the guest's goroutine: most small guests never do,
// and need no descriptors for it. A guest sees an error of open as EIO.
func Later(open func() (*FS, error)) *FS { return &FS{later: open} }

// ready opens what was left for later.
func (f *FS) ready() error {
	if f.later == nil {
		return nil
	}
	opened, err := f.later()
	if err != nil {
		return err
	}
	f.mounts, f.later = opened.mounts, nil
	return nil
}

type mount struct {
	// name is the guest path without the leading slash; "" is the root.
	name string
	// host is what is mounted. It is only referred to, by Opened.
	host *os.File
	root *os.Root
	// file is the only visible name of root, when a file is mounted.
	file string
	// text is a file without host and root.
	text     *text
	readOnly bool
}

// Open opens root as / and the mounts in it, each once, and creates their mount points. Root's ReadOnly binds the guest, not Open.
// Texts are files on top of all that.
func Open(root Mount, mounts []Mount, texts ...Text) (*FS, error) {
	f := &FS{}
	for _, m := range append([]Mount{{Host: root.Host, Guest: "/", ReadOnly: root.ReadOnly}}, mounts...) {
		n, err := openMount(m)
		if err == nil {
			err = f.add(n)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("mount %s: %w", m.Guest, err), f.Close())
		}
	}
	for _, t := range texts {
		if err := f.add(newText(t)); err != nil {
			return nil, errors.Join(fmt.Errorf("file %s: %w", t.Guest, err), f.Close())
		}
	}
	// Outer mount points first: inner ones are created in what is mounted outside of them.
	slices.SortStableFunc(f.mounts, func(a, b *mount) int { return depth(a.name) - depth(b.name) })
	for i, m := range f.mounts[1:] {
		if err := f.makePoint(f.mounts[:i+1], m); err != nil {
			return nil, errors.Join(fmt.Errorf("mount point /%s: %w", m.name, err), f.Close())
		}
	}
	slices.Reverse(f.mounts)
	return f, nil
}

func (f *FS) add(m *mount) error {
	if slices.ContainsFunc(f.mounts, func(o *mount) bool { return o.name == m.name }) {
		return errors.Join(errors.New("something is mounted there already"), m.close())
	}
	f.mounts = append(f.mounts, m)
	return nil
}

// makePoint makes the mount point of m visible in the innermost of the outer mounts that has it. A read-only volume of
// the host is not written to: a mount point that is not there stays invisible to directory listings.
func (f *FS) makePoint(outer []*mount, m *mount) error {
	for _, o := range slices.Backward(outer) {
		rel, ok := o.rel(m.name)
		if !ok {
			continue
		}
		if o.file != "" {
			return fmt.Errorf("/%s is a mounted file", o.name)
		}
		if m.text != nil {
			if o.name == "" { // so that it can be listed; where the image has something else, it can only be opened
				_ = o.root.MkdirAll(path.Dir(rel), 0o755)
			}
			return nil
		}
		if o.name != "" && o.readOnly {
			return nil
		}
		return makePoint(o.root, rel, m.file != "")
	}
	return nil
}

func makePoint(root *os.Root, name string, file bool) error {
	info, err := root.Stat(name)
	switch {
	case err == nil && info.IsDir() == file:
		return fmt.Errorf("the path exists and is a %s", map[bool]string{true: "directory", false: "file"}[file])
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !file:
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	created, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return created.Close()
}

// Root opens the guest's /.
func (f *FS) Root() (*Dir, error) {
	if f.later != nil {
		return &Dir{fs: f}, nil
	}
	return newDir(f, f.mounts[len(f.mounts)-1], f.mounts[len(f.mounts)-1].root, ".", "")
}

// Close closes the mounts. Files and directories that the guest has open stay usable, but lead to no other mount.
func (f *FS) Close() error {
	var errs []error
	for _, m := range f.mounts {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

func depth(name string) int {
	if name == "" {
		return 0
	}
	return 1 + strings.Count(name, "/")
}
