package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// leftoverAge is when a temporary file of the cache was left for sure: a compiler writes it in seconds, once it has
// compiled, and renames it.
const leftoverAge = time.Hour

// RemoveLeftovers removes what compilers and shims that were killed left in the compile cache. It may be called at any
// time.
func (r *Runtime) RemoveLeftovers() error {
	var errs []error
	err := filepath.WalkDir(r.cfg.CacheDir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && isTemporary(e.Name()) {
			err = r.removeOld(path, e)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // else somebody was faster
			errs = append(errs, err)
		}
		return nil
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("remove leftovers of compilers: %w", err)
	}
	return nil
}

func (r *Runtime) removeOld(path string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil || r.now().Sub(info.ModTime()) < leftoverAge {
		return err
	}
	return os.Remove(path)
}

// isTemporary knows the names that this package, the engine and wazero write to before they rename.
func isTemporary(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp")
}
