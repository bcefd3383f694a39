package moduleactor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
)

// copyLimits bound one copy of a root file system.
type copyLimits struct {
	files int
	bytes int64
}

// defaultCopyLimits are far above any image for wasm; they keep one from filling the disk with every restart.
var defaultCopyLimits = copyLimits{files: 100_000, bytes: 4 << 30} //nolint:gochecknoglobals // a constant, if Go had them

// copyTree copies the directory src to dst, which it makes. Regular files and directories keep their permission bits,
// symlinks are copied as links and never followed, anything else is refused. Both sides are opened as roots, so no path
// leads out of them whatever the tree contains.
func copyTree(ctx context.Context, src, dst string, limits copyLimits) error {
	from, err := os.OpenRoot(src)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := os.Mkdir(dst, 0o750); err != nil {
		return err
	}
	to, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer to.Close()
	c := copier{from: from, to: to, left: limits, limits: limits}
	if err := fs.WalkDir(from.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		return c.entry(name, e)
	}); err != nil {
		return err
	}
	return c.restrict()
}

// copier is one copy.
type copier struct {
	from, to     *os.Root
	left, limits copyLimits
	dirs         []dirMode
}

// dirMode is a directory whose permissions are set last, because it may not permit writing.
type dirMode struct {
	name string
	mode fs.FileMode
}

func (c *copier) entry(name string, e fs.DirEntry) error {
	if name == "." {
		return nil
	}
	if c.left.files--; c.left.files < 0 {
		return fmt.Errorf("more than %d files", c.limits.files)
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		c.dirs = append(c.dirs, dirMode{name, info.Mode().Perm()})
		return c.to.Mkdir(name, 0o700)
	case mode.Type() == fs.ModeSymlink:
		target, err := c.from.Readlink(name)
		if err != nil {
			return err
		}
		return c.to.Symlink(target, name)
	case mode.IsRegular():
		return c.file(name, info.Mode().Perm())
	}
	return fmt.Errorf("%s: neither file, directory nor symlink (mode %s)", path.Join("/", name), info.Mode())
}

func (c *copier) file(name string, mode fs.FileMode) (err error) {
	in, err := c.from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := c.to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	n, err := io.Copy(out, io.LimitReader(in, c.left.bytes+1))
	if err != nil {
		return err
	}
	if c.left.bytes -= n; c.left.bytes < 0 {
		return fmt.Errorf("more than %d bytes", c.limits.bytes)
	}
	return out.Chmod(mode)
}

func (c *copier) restrict() error {
	for _, d := range slices.Backward(c.dirs) {
		if err := c.to.Chmod(d.name, d.mode); err != nil {
			return err
		}
	}
	return nil
}
