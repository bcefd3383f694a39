package stats

import (
	"context"
	"io/fs"
	"os"
	"syscall"
)

// DirUsage is what a directory and all below it take.
type DirUsage struct {
	Bytes, Inodes uint64
	// Cut says that there is more than was counted: too many files, or too deep.
	Cut bool
}

const (
	// maxDepth bounds nesting: each level keeps two files open.
	maxDepth = 64
	// dirBatch is how many names are read at once, so that a directory of millions takes no memory.
	dirBatch = 256
)

// Walk counts what is in a directory: the blocks of files, holes not included, and a file with several names once. Guests
// may change everything meanwhile; nothing outside of the directory is ever looked at.
func Walk(ctx context.Context, dir string, maxEntries int) (DirUsage, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return DirUsage{}, err
	}
	defer root.Close()
	info, err := root.Lstat(".")
	if err != nil {
		return DirUsage{}, err
	}
	c := counter{ctx: ctx, left: maxEntries, seen: map[uint64]bool{}}
	c.add(info)
	c.dir(root, 1)
	return c.DirUsage, ctx.Err()
}

// A counter is one walk.
type counter struct {
	DirUsage

	ctx  context.Context //nolint:containedctx // it lives as long as the call
	left int
	seen map[uint64]bool // inodes of files with several names
}

// dir counts what is in a directory; what vanishes meanwhile, or may not be read, is left out.
func (c *counter) dir(root *os.Root, depth int) {
	f, err := root.Open(".")
	if err != nil {
		return
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(dirBatch)
		for _, e := range entries {
			if c.left--; c.left < 0 || c.ctx.Err() != nil {
				c.Cut = true
				return
			}
			c.entry(root, e.Name(), depth)
		}
		if err != nil {
			return
		}
	}
}

func (c *counter) entry(root *os.Root, name string, depth int) {
	info, err := root.Lstat(name)
	if err != nil {
		return
	}
	c.add(info)
	switch {
	case !info.IsDir():
	case depth >= maxDepth:
		c.Cut = true
	default:
		below, err := root.OpenRoot(name)
		if err != nil {
			return
		}
		defer below.Close()
		c.dir(below, depth+1)
	}
}

func (c *counter) add(info fs.FileInfo) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		c.Bytes += uint64(max(0, info.Size()))
		c.Inodes++
		return
	}
	if !info.IsDir() && st.Nlink > 1 {
		if c.seen[st.Ino] {
			return
		}
		c.seen[st.Ino] = true
	}
	c.Bytes += uint64(st.Blocks) * 512
	c.Inodes++
}
