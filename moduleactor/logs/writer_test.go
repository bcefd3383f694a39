package logs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ticker is a clock that goes on by one second each time it is looked at.
func ticker() func() time.Time {
	t := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		t = t.Add(time.Second)
		return t
	}
}

func fixed() time.Time { return time.Date(2026, 11, 21, 20, 0, 0, 5, time.UTC) }

const stamp = "2026-11-21T20:00:00.000000005Z"

func newWriter(t *testing.T, o WriterOptions) *Writer {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "0.log")
	}
	if o.Now == nil {
		o.Now = fixed
	}
	w, err := NewWriter(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func put(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if n, err := io.WriteString(w, s); n != len(s) || err != nil {
		t.Fatalf("Write = %d, %v; a guest's write must never fail", n, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWriterFormat(t *testing.T) {
	full := strings.Repeat("x", maxLine)
	tests := []struct {
		name string
		// writes alternate between the streams as their first byte (o or e) says.
		writes []string
		want   []string
	}{
		{"line", []string{"ohello\n"}, []string{"stdout F hello"}},
		{"several lines in a write", []string{"oa\nb\n"}, []string{"stdout F a", "stdout F b"}},
		{"a line in several writes", []string{"oa", "ob", "oc\n"}, []string{"stdout F abc"}},
		{"empty line", []string{"o\n"}, []string{"stdout F "}},
		{"two streams", []string{"oout\n", "eerr\n"}, []string{"stdout F out", "stderr F err"}},
		{"streams do not mix in a line", []string{"oou", "eerr\n", "ot\n"}, []string{"stderr F err", "stdout F out"}},
		{"last line without newline", []string{"oend"}, []string{"stdout F end"}},
		{"nothing", nil, nil},
		{"just fits", []string{"o" + full + "\n"}, []string{"stdout F " + full}},
		{"just fits in two writes", []string{"o" + full, "o\n"}, []string{"stdout F " + full}},
		{"one byte too long", []string{"o" + full + "y\n"}, []string{"stdout P " + full, "stdout F y"}},
		{"long without newline", []string{"o" + full + full + "y"}, []string{"stdout P " + full, "stdout P " + full, "stdout F y"}},
		{"carriage return and binary stay", []string{"oa\r\n\x00\xff\n"}, []string{"stdout F a\r", "stdout F \x00\xff"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWriter(t, WriterOptions{})
			for _, s := range tt.writes {
				to := w.Stdout()
				if s[0] == 'e' {
					to = w.Stderr()
				}
				put(t, to, s[1:])
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			var want strings.Builder
			for _, l := range tt.want {
				want.WriteString(stamp + " " + l + "\n")
			}
			if diff := cmp.Diff(want.String(), read(t, w.opt.Path)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWriterIsPrompt(t *testing.T) {
	w := newWriter(t, WriterOptions{})
	put(t, w.Stdout(), "a\nb")
	if got, want := read(t, w.opt.Path), stamp+" stdout F a\n"; got != want {
		t.Errorf("after Write the file has %q, want %q", got, want)
	}
}

func TestWriterContinues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c", "0.log")
	w := newWriter(t, WriterOptions{Path: path})
	put(t, w.Stdout(), "one\n")
	_ = w.Close()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("2026-11-21T20") // the writer was killed here
	_ = f.Close()
	w = newWriter(t, WriterOptions{Path: path})
	put(t, w.Stdout(), "two\n")
	want := stamp + " stdout F one\n2026-11-21T20\n" + stamp + " stdout F two\n"
	if diff := cmp.Diff(want, read(t, path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWriterRejects(t *testing.T) {
	for _, o := range []WriterOptions{{MaxBytes: -1}, {MaxFiles: -1}} {
		o.Path = filepath.Join(t.TempDir(), "0.log")
		if _, err := NewWriter(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewWriter(WriterOptions{Path: filepath.Join(file, "0.log")}); err == nil {
		t.Error("a path below a file was accepted")
	}
}

// TestRotation checks that no line is lost or written twice, that no file is too large, how many there are, and that all
// rotated ones but the newest are compressed.
func TestRotation(t *testing.T) {
	w := newWriter(t, WriterOptions{MaxBytes: 1000, MaxFiles: 4, Now: ticker()})
	const lines = 100
	for i := range lines {
		put(t, w.Stdout(), fmt.Sprintf("line %03d\n", i))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := rotatedFiles(w.opt.Path)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Fatalf("%d rotated files, want 3: %v", len(files), files)
	}
	var all strings.Builder
	for i, f := range append(files, w.opt.Path) {
		compressed := strings.HasSuffix(f, ".gz")
		if want := i < len(files)-1; compressed != want {
			t.Errorf("%s: compressed %t, want %t", f, compressed, want)
		}
		data := read(t, f)
		if compressed {
			data = gunzip(t, data)
		}
		if len(data) > 1000 {
			t.Errorf("%s has %d bytes", f, len(data))
		}
		all.WriteString(data)
	}
	got := strings.Count(all.String(), "\n")
	var last strings.Builder
	for i := lines - got; i < lines; i++ {
		fmt.Fprintf(&last, "stdout F line %03d\n", i)
	}
	if diff := cmp.Diff(last.String(), cutTimes(all.String())); diff != "" {
		t.Errorf("the last %d lines (-want +got):\n%s", got, diff)
	}
	if w.Dropped() != 0 {
		t.Errorf("dropped %d", w.Dropped())
	}
}

func gunzip(t *testing.T, data string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func cutTimes(s string) string {
	var b strings.Builder
	for l := range strings.Lines(s) {
		_, l, _ = strings.Cut(l, " ")
		b.WriteString(l)
	}
	return b.String()
}

func TestRotationNames(t *testing.T) {
	w := newWriter(t, WriterOptions{MaxBytes: 60, MaxFiles: 9}) // the clock stands
	for range 4 {
		put(t, w.Stdout(), "0123456789\n")
	}
	_ = w.Close()
	files, err := rotatedFiles(w.opt.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	want := []string{"0.log.20261121-200000.gz", "0.log.20261121-200001.gz", "0.log.20261121-200002"}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRotationInsideOneWrite(t *testing.T) {
	w := newWriter(t, WriterOptions{MaxBytes: 200, MaxFiles: 50})
	put(t, w.Stdout(), strings.Repeat("0123456789\n", 20))
	_ = w.Close()
	files, err := rotatedFiles(w.opt.Path)
	if err != nil {
		t.Fatal(err)
	}
	perFile := 200 / len(stamp+" stdout F 0123456789\n")
	if want := (20 - 1) / perFile; len(files) != want {
		t.Errorf("%d rotated files, want %d with %d entries in each", len(files), want, perFile)
	}
	if st, err := os.Stat(w.opt.Path); err != nil || st.Size() > 200 {
		t.Errorf("current file: %v, %v", st, err)
	}
}

func TestRotationIsRetried(t *testing.T) {
	dir := t.TempDir()
	// The name of a rotated file is 16 bytes longer, which is too long here.
	w := newWriter(t, WriterOptions{Path: filepath.Join(dir, strings.Repeat("0", 245)), MaxBytes: 60})
	put(t, w.Stdout(), "0123456789\n")
	put(t, w.Stdout(), "lost\n")
	if got := w.Dropped(); got != 1 {
		t.Fatalf("dropped %d, want 1", got)
	}
	if got := cutTimes(read(t, w.opt.Path)); got != "stdout F 0123456789\n" {
		t.Errorf("the log is not bounded: %q", got)
	}
	w.archiver.path = filepath.Join(dir, "short")
	put(t, w.Stdout(), "kept\n")
	got := cutTimes(read(t, w.opt.Path))
	if !strings.HasPrefix(got, "stderr F wazlet: 1 log entries lost: rotate log: ") || !strings.HasSuffix(got, "stdout F kept\n") {
		t.Errorf("the new file has %q", got)
	}
	if got := cutTimes(read(t, filepath.Join(dir, "short.20261121-200000"))); got != "stdout F 0123456789\n" {
		t.Errorf("the rotated file has %q", got)
	}
}

func TestDirectoryVanished(t *testing.T) {
	w := newWriter(t, WriterOptions{Path: filepath.Join(t.TempDir(), "c", "0.log"), MaxBytes: 100})
	put(t, w.Stdout(), "before\n")
	dir := filepath.Dir(w.opt.Path)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		put(t, w.Stdout(), "after the Pod was deleted\n")
	}
	if w.Dropped() == 0 {
		t.Error("nothing was dropped: the log grows where nobody sees it")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is back: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestFileVanished(t *testing.T) {
	w := newWriter(t, WriterOptions{MaxBytes: 100})
	put(t, w.Stdout(), "before\n")
	if err := os.Remove(w.opt.Path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		put(t, w.Stdout(), "after the file was removed\n")
	}
	if got := cutTimes(read(t, w.opt.Path)); !strings.HasSuffix(got, "stdout F after the file was removed\n") {
		t.Errorf("got %q", got)
	}
}

func TestWriteAfterClose(t *testing.T) {
	w := newWriter(t, WriterOptions{})
	_ = w.Close()
	put(t, w.Stdout(), "late\n")
	if got := w.Dropped(); got != 1 {
		t.Errorf("dropped %d, want 1", got)
	}
	if err := w.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

func TestDiskFull(t *testing.T) {
	w := newWriter(t, WriterOptions{})
	put(t, w.Stdout(), "one\n")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	real := w.f
	w.f = full
	put(t, w.Stdout(), "two\nthree\n")
	put(t, w.Stderr(), "four\n")
	w.f = real
	_ = full.Close()
	put(t, w.Stdout(), "five\n")
	put(t, w.Stdout(), "six\n")
	want := "stdout F one\nstderr F wazlet: 3 log entries lost: write /dev/full: no space left on device\nstdout F five\nstdout F six\n"
	if diff := cmp.Diff(want, cutTimes(read(t, w.opt.Path))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := w.Dropped(); got != 3 {
		t.Errorf("dropped %d, want 3", got)
	}
}

// TestDiskFullHalfWritten fills a real file system, which takes the begin of a write and refuses the rest.
func TestDiskFullHalfWritten(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	w := newWriter(t, WriterOptions{Path: filepath.Join(dir, "0.log")})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 5000) + "\n"
	written := 0
	for ; w.Dropped() == 0 && written < 100; written++ {
		put(t, w.Stdout(), line)
	}
	if w.Dropped() == 0 {
		t.Fatal("the disk never filled")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	put(t, w.Stdout(), line)
	got := cutTimes(read(t, w.opt.Path))
	want := strings.Repeat("stdout F "+line, written-1) + "stderr F wazlet: 1 log entries lost: write " + w.opt.Path +
		": no space left on device\nstdout F " + line
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWriterConcurrent(t *testing.T) {
	w := newWriter(t, WriterOptions{MaxBytes: 4 << 10, MaxFiles: 1000, Now: time.Now})
	var wg sync.WaitGroup
	for i, to := range []io.Writer{w.Stdout(), w.Stderr()} {
		wg.Go(func() {
			for n := range 300 {
				_, _ = fmt.Fprintf(to, "%d %d\n", i, n)
			}
		})
	}
	wg.Wait()
	_ = w.Close()
	files, err := rotatedFiles(w.opt.Path)
	if err != nil {
		t.Fatal(err)
	}
	next := [2]int{}
	for _, f := range append(files, w.opt.Path) {
		data := read(t, f)
		if strings.HasSuffix(f, ".gz") {
			data = gunzip(t, data)
		}
		for l := range strings.Lines(cutTimes(data)) {
			var name string
			var stream, n int
			if _, err := fmt.Sscanf(l, "%s F %d %d\n", &name, &stream, &n); err != nil {
				t.Fatalf("%q: %v", l, err)
			}
			if n != next[stream] {
				t.Fatalf("stream %d: line %d, want %d", stream, n, next[stream])
			}
			next[stream]++
		}
	}
	if next != [2]int{300, 300} {
		t.Errorf("lines %v", next)
	}
}

func TestWriteDoesNotAllocate(t *testing.T) {
	w := newWriter(t, WriterOptions{Now: time.Now})
	line := bytes.Repeat([]byte("x"), 99)
	line = append(line, '\n')
	out := w.Stdout()
	if n := testing.AllocsPerRun(1000, func() { _, _ = out.Write(line) }); n != 0 {
		t.Errorf("%v allocations for a line", n)
	}
}

func BenchmarkWriter(b *testing.B) {
	for _, bb := range []struct {
		name  string
		lines int
	}{{"line", 1}, {"64 lines", 64}} {
		b.Run(bb.name, func(b *testing.B) {
			w, err := NewWriter(WriterOptions{Path: filepath.Join(b.TempDir(), "0.log"), MaxBytes: 10 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			p := bytes.Repeat(append(bytes.Repeat([]byte("x"), 99), '\n'), bb.lines)
			out := w.Stdout()
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = out.Write(p)
			}
		})
	}
}
