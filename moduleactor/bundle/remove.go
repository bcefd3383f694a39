package bundle

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

const (
	// maxNesting is how many directories deep a tree is removed in place.
	maxNesting = 64
	// removeBatch is how many names are read at once.
	removeBatch = 256
)

// RemoveTree removes a directory with all that is in it. Guests can nest directories as deep as they have time for, each relative to the
// last; os.RemoveAll keeps a descriptor open for each level and would never get to the end. What is too deep is moved up to it,
// and removed there. No symbolic link is followed. What is not there is removed already.
func RemoveTree(dir string) error {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	name := filepath.Base(dir)
	err = parent.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if info, lerr := parent.Lstat(name); lerr != nil || !info.IsDir() {
		return err
	}
	top, err := parent.OpenRoot(name)
	if err != nil {
		return err
	}
	r := remover{top: top, prefix: ".removed-" + rand.Text() + "-"}
	if err := errors.Join(r.empty(top, ".", 1), top.Close()); err != nil {
		return err
	}
	return parent.Remove(name)
}

// remover removes what is in one directory.
type remover struct {
	// top is the directory, where what is too deep is moved to, as prefix and its number.
	top    *os.Root
	prefix string
	moved  int
}

// remove removes a name of a directory, which is at path below top.
func (r *remover) remove(dir *os.Root, path, name string, depth int) error {
	err := dir.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if info, lerr := dir.Lstat(name); lerr != nil || !info.IsDir() {
		return err
	}
	path = filepath.Join(path, name)
	if depth == maxNesting {
		r.moved++
		return r.top.Rename(path, r.prefix+strconv.Itoa(r.moved))
	}
	below, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	err = r.empty(below, path, depth+1)
	if err := errors.Join(err, below.Close()); err != nil {
		return err
	}
	return dir.Remove(name)
}

// empty removes what is in a directory, until nothing of it is left or can be removed.
func (r *remover) empty(dir *os.Root, path string, depth int) error {
	for {
		names, err := someNames(dir)
		if len(names) == 0 {
			return err
		}
		failed := 0
		for _, name := range names {
			if rerr := r.remove(dir, path, name, depth); rerr != nil {
				failed++
				err = rerr
			}
		}
		if failed == len(names) {
			return err
		}
	}
}

func someNames(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(removeBatch)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}
