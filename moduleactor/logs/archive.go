package logs

import (
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// rotatedFormat is the end of a rotated file's name, as the kubelet has it.
const rotatedFormat = "20060102-150405"

// archiver keeps the rotated files of one log: their number, and all but the newest compressed. The newest stays as it
// is because readers may still be in it.
type archiver struct {
	path string
	keep int
	// wg is the compression in the background, one at a time.
	wg sync.WaitGroup
}

// rotatedName is a name that is not taken and sorts after all that are: two rotations may fall into one second.
func (a *archiver) rotatedName(now time.Time) (string, error) {
	files, err := rotatedFiles(a.path)
	if err != nil {
		return "", err
	}
	t := now.UTC().Truncate(time.Second)
	if len(files) > 0 {
		last := strings.TrimSuffix(strings.TrimPrefix(files[len(files)-1], a.path+"."), ".gz")
		if newest, err := time.Parse(rotatedFormat, last); err == nil && !t.After(newest) {
			t = newest.Add(time.Second)
		}
	}
	return a.path + "." + t.Format(rotatedFormat), nil
}

// isRotated: ^\.\d{8}-\d{6}(\.gz)?$ in a loop, as compiling a regular expression would cost every shim.
func isRotated(suffix string) bool {
	const digits = ".00000000-000000"
	suffix = strings.TrimSuffix(suffix, ".gz")
	if len(suffix) != len(digits) {
		return false
	}
	for i := range len(digits) {
		digit := suffix[i] >= '0' && suffix[i] <= '9'
		if digits[i] == '0' && !digit || digits[i] != '0' && suffix[i] != digits[i] {
			return false
		}
	}
	return true
}

// rotatedFiles lists the rotated files of the log at path, oldest first.
func rotatedFiles(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if suffix, ok := strings.CutPrefix(e.Name(), filepath.Base(path)); ok && isRotated(suffix) {
			files = append(files, path+suffix)
		}
	}
	slices.Sort(files)
	return files, nil
}

// tidy removes what is too much and compresses in the background. What fails is tried again with the next rotation.
func (a *archiver) tidy() {
	a.wg.Wait()
	files, err := rotatedFiles(a.path)
	if err != nil {
		return
	}
	if n := len(files) - a.keep; n > 0 {
		for _, f := range files[:n] {
			_ = os.Remove(f)
		}
		files = files[n:]
	}
	if len(files) < 2 {
		return
	}
	a.wg.Go(func() {
		for _, f := range files[:len(files)-1] {
			if !strings.HasSuffix(f, ".gz") {
				_ = compress(f)
			}
		}
	})
}

func (a *archiver) wait() { a.wg.Wait() }

// compress replaces a file by its .gz. A crash leaves the file, and at most a .tmp that the next try overwrites.
func compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := path + ".tmp"
	//nolint:gosec // as readable as the log itself
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err == nil {
		_, err = io.Copy(z, in)
		err = errors.Join(err, z.Close())
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path+".gz"); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
