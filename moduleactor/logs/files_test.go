package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Many writers share few open files, and nobody can tell from the logs.
func TestFilesBoundsOpenFiles(t *testing.T) {
	const writers, most, lines = 40, 4, 50
	files, dir := NewFiles(most), t.TempDir()
	all := make([]*Writer, writers)
	for i := range all {
		w, err := NewWriter(WriterOptions{Path: filepath.Join(dir, strconv.Itoa(i), "0.log"), MaxBytes: 1500, MaxFiles: 2, Files: files})
		if err != nil {
			t.Fatal(err)
		}
		all[i] = w
	}
	if n := len(files.at); n != most || files.recent.Len() != most {
		t.Errorf("%d files are open, %d listed; want %d", n, files.recent.Len(), most)
	}
	var wg sync.WaitGroup
	for i, w := range all {
		wg.Go(func() {
			for n := range lines {
				fmt.Fprintf(w.Stdout(), "line %d ", n) // finished by the next write
				fmt.Fprintf(w.Stdout(), "of %d\n", i)
			}
		})
	}
	wg.Wait()
	for i, w := range all {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if n := w.Dropped(); n != 0 {
			t.Errorf("%d entries dropped", n)
		}
		text, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i), "0.log"))
		if err != nil {
			t.Fatal(err)
		}
		if last := fmt.Sprintf(" stdout F line %d of %d\n", lines-1, i); !strings.HasSuffix(string(text), last) {
			t.Errorf("log ends with %.80q, want %q", text[max(0, len(text)-80):], last)
		}
	}
	if len(files.at) != 0 {
		t.Errorf("%d files are open after all were closed", len(files.at))
	}
}

// A directory that is removed while a file is closed ends the log, as it does while it is open.
func TestFilesDirectoryRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	files := NewFiles(1)
	w, err := NewWriter(WriterOptions{Path: filepath.Join(dir, "0.log"), Files: files})
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewWriter(WriterOptions{Path: filepath.Join(t.TempDir(), "0.log"), Files: files})
	if err != nil {
		t.Fatal(err)
	}
	if w.f != nil || other.f == nil {
		t.Fatal("the first file stayed open, or the second is not")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(w.Stdout(), "nobody reads this")
	if n := w.Dropped(); n != 1 {
		t.Errorf("%d entries dropped, want 1", n)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}
