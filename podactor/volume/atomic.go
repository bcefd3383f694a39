package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// payload is what a volume shows: files by their path, which has slashes.
type payload map[string]file

type file struct {
	data []byte
	mode fs.FileMode
}

// A volume that is replaced as a whole looks like this, as with the kubelet, so that programs that watch ..data find it:
//
//	app.conf -> ..data/app.conf     one link for each first element of a path
//	..data   -> ..7                 swapped by rename: readers see all of the old content or all of the new
//	..7/app.conf                    the files; ..6 is removed after the swap
//
// All links are relative: a guest resolves them inside its mount.
const (
	dataLink = "..data"
	dataTmp  = "..data_tmp"
)

// write makes the volume show the payload and nothing else. If it does already nothing is touched. Everything goes
// through an os.Root: what a link in the volume points to, whoever put it there, is never followed out of it.
func write(root, podUID, name string, p payload) error {
	v, err := openVolume(root, podUID, name)
	if err != nil {
		return fmt.Errorf("write files: %w", err)
	}
	defer v.Close()
	current := currentDir(v)
	if current == "" || !shows(v, current, p) {
		if current, err = replace(v, current, p); err != nil {
			return fmt.Errorf("write files: %w", err)
		}
	}
	if err := tidy(v, current, p); err != nil {
		return fmt.Errorf("write files: %w", err)
	}
	return nil
}

// openVolume makes the volume's directory. Something else in its place is removed, a link in particular.
func openVolume(root, podUID, name string) (*os.Root, error) {
	podDir, err := bundle.PodDir(root, podUID)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(podDir, 0o700); err != nil {
		return nil, err
	}
	r, err := os.OpenRoot(podDir)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	dir := filepath.Join(dirName, name)
	if info, err := r.Lstat(dir); err == nil && !info.IsDir() {
		if err := r.Remove(dir); err != nil {
			return nil, err
		}
	}
	if err := r.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := r.Chmod(dir, 0o755); err != nil { // MkdirAll is subject to the umask
		return nil, err
	}
	return r.OpenRoot(dir)
}

// currentDir is what ..data points to; empty when it is not one of our directories.
func currentDir(v *os.Root) string {
	target, err := v.Readlink(dataLink)
	if err != nil || number(target) == 0 {
		return ""
	}
	if info, err := v.Lstat(target); err != nil || !info.IsDir() {
		return ""
	}
	return target
}

// number is N of ..N, zero for any other name.
func number(name string) uint64 {
	digits, ok := strings.CutPrefix(name, "..")
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil {
		return 0
	}
	return n
}

// shows tells whether the directory holds exactly the payload.
func shows(v *os.Root, dir string, p payload) bool {
	d, err := v.OpenRoot(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	found := 0
	err = fs.WalkDir(d.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		want, ok := p[name]
		if !ok || !e.Type().IsRegular() {
			return fs.ErrInvalid
		}
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != want.mode || info.Size() != int64(len(want.data)) {
			return fs.ErrInvalid
		}
		data, err := d.ReadFile(name)
		if err != nil || !bytes.Equal(data, want.data) {
			return fs.ErrInvalid
		}
		found++
		return nil
	})
	return err == nil && found == len(p)
}

// replace writes a new directory and swaps it in.
func replace(v *os.Root, current string, p payload) (string, error) {
	next := ".." + strconv.FormatUint(number(current)+1, 10)
	if err := v.RemoveAll(next); err != nil { // what a crash left
		return "", err
	}
	if err := makeDir(v, next); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if err := writeFile(v, path.Join(next, name), p[name]); err != nil {
			return "", err
		}
	}
	if err := v.RemoveAll(dataTmp); err != nil {
		return "", err
	}
	if err := v.Symlink(next, dataTmp); err != nil {
		return "", err
	}
	if info, err := v.Lstat(dataLink); err == nil && info.Mode().Type() != fs.ModeSymlink {
		if err := v.RemoveAll(dataLink); err != nil {
			return "", err
		}
	}
	return next, v.Rename(dataTmp, dataLink)
}

func makeDir(v *os.Root, name string) error {
	if err := v.Mkdir(name, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return v.Chmod(name, 0o755)
}

// writeFile writes one file; its first path element exists. Its mode may keep even its owner from it, so it comes last.
func writeFile(v *os.Root, name string, f file) error {
	for i, c := range name {
		if c == '/' {
			if err := makeDir(v, name[:i]); err != nil {
				return err
			}
		}
	}
	out, err := v.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(f.data)
	return errors.Join(err, out.Chmod(f.mode), out.Close())
}

// tidy makes the links that users see and removes everything else.
func tidy(v *os.Root, current string, p payload) error {
	keep := map[string]bool{dataLink: true, current: true}
	for name := range p {
		first, _, _ := strings.Cut(name, "/")
		if keep[first] {
			continue
		}
		keep[first] = true
		target := dataLink + "/" + first
		if got, err := v.Readlink(first); err == nil && got == target {
			continue
		}
		if err := v.RemoveAll(first); err != nil {
			return err
		}
		if err := v.Symlink(target, first); err != nil {
			return err
		}
	}
	entries, err := fs.ReadDir(v.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !keep[e.Name()] {
			if err := v.RemoveAll(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFilePath refuses what would be outside of the volume, or in the way of its own names.
func checkFilePath(name string) error {
	switch {
	case name == "" || name == ".":
		return errors.New("path: must not be empty")
	case path.IsAbs(name):
		return fmt.Errorf("path: must be a relative path (got %q)", name)
	case path.Clean(name) != name || !filepath.IsLocal(name) || strings.ContainsRune(name, 0):
		return fmt.Errorf("path: must be without '.', '..' and empty elements (got %q)", name)
	case strings.HasPrefix(name, ".."):
		return fmt.Errorf("path: must not start with '..' (got %q)", name)
	}
	return nil
}
