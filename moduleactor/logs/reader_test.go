package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func logFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// at is an entry of second sec.
func at(sec int, rest string) string {
	return fmt.Sprintf("2026-11-21T20:00:%02d.000000000Z %s\n", sec, rest)
}

func TestReadLogs(t *testing.T) {
	since := time.Date(2026, 11, 21, 20, 0, 2, 0, time.UTC)
	both := []string{at(1, "stdout F one"), at(2, "stderr F two"), at(3, "stdout F three")}
	split := []string{at(1, "stdout F zero"), at(2, "stdout P on"), at(3, "stdout P e"), at(4, "stdout F !"), at(5, "stdout F two")}
	tests := []struct {
		name  string
		lines []string
		opt   Options
		// want is stdout and stderr merged, as kubectl shows it; skips is how many entries are skipped.
		want  string
		skips int
	}{
		{"all", both, Options{}, "one\ntwo\nthree\n", 0},
		{"empty", nil, Options{}, "", 0},
		{"timestamps", both[:2], Options{Timestamps: true}, "2026-11-21T20:00:01.000000000Z one\n2026-11-21T20:00:02.000000000Z two\n", 0},
		{"short times are written out", []string{"2026-11-21T20:00:01.5+01:00 stdout F a\n"}, Options{Timestamps: true}, "2026-11-21T20:00:01.500000000+01:00 a\n", 0},
		{"stdout", both, Options{Stream: Stdout}, "one\nthree\n", 0},
		{"stderr", both, Options{Stream: Stderr}, "two\n", 0},
		{"since", both, Options{SinceTime: since}, "two\nthree\n", 0},
		{"since the future", both, Options{SinceTime: since.Add(time.Hour)}, "", 0},
		{"tail 1", both, Options{Tail: new(int64(1))}, "three\n", 0},
		{"tail 2", both, Options{Tail: new(int64(2))}, "two\nthree\n", 0},
		{"tail all", both, Options{Tail: new(int64(3))}, "one\ntwo\nthree\n", 0},
		{"tail more", both, Options{Tail: new(int64(99))}, "one\ntwo\nthree\n", 0},
		{"tail 0", both, Options{Tail: new(int64(0))}, "", 0},
		{"tail, then since", both, Options{Tail: new(int64(1)), SinceTime: since.Add(time.Hour)}, "", 0},
		{"tail of a stream", both, Options{Tail: new(int64(1)), Stream: Stderr}, "two\n", 0},
		{"limit", both, Options{LimitBytes: new(int64(6))}, "one\ntw", 0},
		{"limit counts times", both, Options{LimitBytes: new(int64(4)), Timestamps: true}, "2026", 0},
		{"limit 0", both, Options{LimitBytes: new(int64(0))}, "", 0},
		{"limit does not count the other stream", both, Options{LimitBytes: new(int64(4)), Stream: Stderr}, "two\n", 0},
		{"partials are joined", split, Options{}, "zero\none!\ntwo\n", 0},
		{"partials have one time", split, Options{Timestamps: true, Tail: new(int64(2))}, "2026-11-21T20:00:02.000000000Z one!\n2026-11-21T20:00:05.000000000Z two\n", 0},
		{"partials count as one line", split, Options{Tail: new(int64(2))}, "one!\ntwo\n", 0},
		{"unfinished line counts", []string{at(1, "stdout F a"), at(2, "stdout P b"), at(3, "stdout P c")}, Options{Tail: new(int64(1))}, "bc", 0},
		{"further tags", []string{at(1, "stdout F:x:y a")}, Options{}, "a\n", 0},
		{"empty text", []string{at(1, "stdout F "), at(2, "stdout F")}, Options{}, "\n\n", 0},
		{"corrupt entries", []string{at(1, "stdout F a"), "\n", "garbage\n", "x stdout F b\n", at(2, "stdin F c"), at(3, "stdout X d"), at(4, "stdout F e")}, Options{}, "a\ne\n", 5},
		{"corrupt entries are no lines", []string{at(1, "stdout F a"), "garbage\n", at(2, "stdout F b"), "garbage\n"}, Options{Tail: new(int64(2))}, "a\nb\n", 2},
		{"corrupt and endless", []string{strings.Repeat("x", 3*blockBytes) + "\n", at(1, "stdout F a")}, Options{}, "a\n", 1},
		{"cut off within an entry", []string{at(1, "stdout F a"), strings.TrimSuffix(at(2, "stdout F b"), "\n")}, Options{}, "a\nb", 0},
		{"cut off within a header", []string{at(1, "stdout F a"), "2026-11-21T20"}, Options{}, "a\n", 1},
		{"long line", []string{at(1, "stdout F "+strings.Repeat("long", blockBytes)), at(2, "stdout F b")}, Options{}, strings.Repeat("long", blockBytes) + "\nb\n", 0},
		{"tail with long lines", []string{at(1, "stdout F "+strings.Repeat("a", 100_000)), at(2, "stdout F "+strings.Repeat("b", 200_000))}, Options{Tail: new(int64(1))}, strings.Repeat("b", 200_000) + "\n", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			skips := 0
			tt.opt.OnSkip = func(error) { skips++ }
			if err := ReadLogs(t.Context(), logFile(t, tt.lines...), tt.opt, nil, &out, &out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if skips != tt.skips {
				t.Errorf("%d skipped, want %d", skips, tt.skips)
			}
		})
	}
}

func TestReadLogsStreams(t *testing.T) {
	path := logFile(t, at(1, "stdout F one"), at(2, "stderr F two"))
	var stdout, stderr bytes.Buffer
	if err := ReadLogs(t.Context(), path, Options{}, nil, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "one\n" || stderr.String() != "two\n" {
		t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
	}
	stdout.Reset()
	if err := ReadLogs(t.Context(), path, Options{}, nil, &stdout, nil); err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "one\n" {
		t.Errorf("with a nil stderr: stdout %q", &stdout)
	}
}

func TestReadLogsErrors(t *testing.T) {
	path := logFile(t, at(1, "stdout F one"))
	if err := ReadLogs(t.Context(), path+".not", Options{}, nil, io.Discard, io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
	gone := errors.New("client went away")
	if err := ReadLogs(t.Context(), path, Options{}, nil, iotest.TruncateWriter(errWriter{gone}, 0), nil); err != nil {
		t.Errorf("a writer that swallows: %v", err)
	}
	if err := ReadLogs(t.Context(), path, Options{}, nil, errWriter{gone}, nil); !errors.Is(err, gone) {
		t.Errorf("a writer that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ReadLogs(ctx, path, Options{}, nil, io.Discard, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

// lineChan hands over what is written.
type lineChan chan string

func (c lineChan) Write(p []byte) (int, error) {
	c <- string(p)
	return len(p), nil
}

func (c lineChan) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-c:
		return s
	case <-time.After(30 * time.Second):
		t.Fatal("no line came")
		return ""
	}
}

func TestFollow(t *testing.T) {
	w := newWriter(t, WriterOptions{MaxBytes: 200, Now: ticker()})
	put(t, w.Stdout(), "old\nnew\n")
	got := make(lineChan, 100)
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- ReadLogs(t.Context(), w.opt.Path, Options{Follow: true, Tail: new(int64(1))}, ended, got, got)
	}()
	if s := got.next(t); s != "new\n" {
		t.Fatalf("got %q", s)
	}
	for i := range 30 { // each waits for the reader, so all rotations are seen by it
		line := fmt.Sprintf("line %d\n", i)
		put(t, w.Stderr(), line)
		if s := got.next(t); s != line {
			t.Fatalf("got %q, want %q", s, line)
		}
	}
	put(t, w.Stdout(), "last words")
	_ = w.Close()
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := got.next(t); s != "last words\n" {
		t.Errorf("got %q", s)
	}
}

func TestFollowEndsWithContext(t *testing.T) {
	path := logFile(t, at(1, "stdout F one"))
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(lineChan, 9), make(chan error, 1)
	go func() { done <- ReadLogs(ctx, path, Options{Follow: true}, nil, got, got) }()
	got.next(t)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowEndsWithLimit(t *testing.T) {
	path := logFile(t, at(1, "stdout F one"))
	var out bytes.Buffer
	if err := ReadLogs(t.Context(), path, Options{Follow: true, LimitBytes: new(int64(2))}, nil, &out, nil); err != nil {
		t.Fatal(err)
	}
	if out.String() != "on" {
		t.Errorf("got %q", &out)
	}
}

func TestFollowThroughSymlink(t *testing.T) {
	w := newWriter(t, WriterOptions{MaxBytes: 60, Now: ticker()})
	link := filepath.Join(t.TempDir(), "pod_ns_c.log")
	if err := os.Symlink(w.opt.Path, link); err != nil {
		t.Fatal(err)
	}
	got, ended, done := make(lineChan, 9), make(chan struct{}), make(chan error, 1)
	go func() { done <- ReadLogs(t.Context(), link, Options{Follow: true}, ended, got, nil) }()
	for i := range 5 {
		put(t, w.Stdout(), fmt.Sprintf("%d\n", i))
		if s := got.next(t); s != fmt.Sprintf("%d\n", i) {
			t.Fatalf("got %q", s)
		}
	}
	close(ended)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowHalfWrittenEntry(t *testing.T) {
	path := logFile(t, at(1, "stdout F one"), "2026-11-21T20:00:02.000000000Z std")
	got, ended, done := make(lineChan, 9), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- ReadLogs(t.Context(), path, Options{Follow: true, OnSkip: func(err error) { t.Error(err) }}, ended, got, got)
	}()
	got.next(t)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, _ = f.WriteString("out F two\n")
	if s := got.next(t); s != "two\n" {
		t.Errorf("got %q", s)
	}
	close(ended)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowOfRemovedLogEnds(t *testing.T) {
	path := logFile(t, at(1, "stdout F one"))
	got, ended, done := make(lineChan, 9), make(chan struct{}), make(chan error, 1)
	go func() { done <- ReadLogs(t.Context(), path, Options{Follow: true}, ended, got, got) }()
	got.next(t)
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	close(ended)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFollowLosesNothing has a writer that rotates while a reader follows at its own pace. Every line comes once and in
// order, unless the reader was told that it fell behind.
func TestFollowLosesNothing(t *testing.T) {
	w := newWriter(t, WriterOptions{MaxBytes: 8 << 10, MaxFiles: 300, Now: time.Now})
	out := firstWrite{done: make(chan struct{})}
	skips := 0
	ended, done := make(chan struct{}), make(chan error, 1)
	put(t, w.Stdout(), "0\n")
	go func() {
		done <- ReadLogs(t.Context(), w.opt.Path, Options{Follow: true, OnSkip: func(error) { skips++ }}, ended, &out, nil)
	}()
	<-out.done // a reader that comes after a rotation begins behind it
	const lines = 20_000
	for i := 1; i < lines; i++ {
		put(t, w.Stdout(), fmt.Sprintf("%d\n", i))
	}
	_ = w.Close()
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	last, n := -1, 0
	for l := range strings.Lines(out.String()) {
		var i int
		if _, err := fmt.Sscanf(l, "%d\n", &i); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if i <= last || skips == 0 && i != last+1 {
			t.Fatalf("line %d after %d, %d skips told", i, last, skips)
		}
		last = i
		n++
	}
	if last != lines-1 {
		t.Errorf("ended with line %d", last)
	}
	t.Logf("%d of %d lines, %d skips", n, lines, skips)
}

// firstWrite is a buffer that says when something came.
type firstWrite struct {
	bytes.Buffer
	once sync.Once
	done chan struct{}
}

func (w *firstWrite) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.done) })
	return w.Buffer.Write(p)
}

// TestNext is about a reader that is one file behind.
func TestNext(t *testing.T) {
	w := newWriter(t, WriterOptions{MaxBytes: 50, MaxFiles: 9, Now: ticker()})
	put(t, w.Stdout(), "0\n")
	r := &reader{path: w.opt.Path, sink: newSink(Options{}, io.Discard, io.Discard)}
	if err := r.openFile(r.path); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	put(t, w.Stdout(), "1\n")
	put(t, w.Stdout(), "2\n")
	w.archiver.wait()
	noted := 0
	r.opt.OnSkip = func(error) { noted++ }
	if err := r.next(); err != nil { // its own file is compressed by now
		t.Fatal(err)
	}
	if noted != 1 {
		t.Errorf("noted %d times that a file was missed", noted)
	}
}

// TestNextBesideItsCopy is about the moment in which a rotated file is compressed but not yet removed.
func TestNextBesideItsCopy(t *testing.T) {
	path := logFile(t)
	rotated := path + ".20260102-030405"
	for _, file := range []string{rotated, rotated + ".gz"} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &reader{path: path}
	if err := r.openFile(rotated); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.next(); err != nil {
		t.Fatal(err)
	}
	if got := r.f.Name(); got != path {
		t.Errorf("after %s comes %s, want %s", rotated, got, path)
	}
}

// TestNextBetweenRenameAndOpen: the reader's file is compressed, and of the current one there is only the rotated name.
func TestNextBetweenRenameAndOpen(t *testing.T) {
	path := logFile(t)
	r := &reader{path: path}
	if err := r.openFile(path); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	rotated := path + ".20260102-030405"
	if err := os.WriteFile(rotated, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := r.next(); err != nil {
		t.Fatal(err)
	}
	if got := r.f.Name(); got != rotated {
		t.Errorf("got %s, want %s", got, rotated)
	}
}

func TestTail(t *testing.T) {
	path := logFile(t, at(1, "stdout F one"), at(2, "stderr F two"), at(3, "stdout P thr"), at(4, "stdout F ee"))
	tests := []struct {
		path  string
		lines int
		bytes int64
		want  string
	}{
		{path, 80, 2048, "one\ntwo\nthree\n"},
		{path, 2, 2048, "two\nthree\n"},
		{path, 80, 8, "o\nthree\n"},
		{path, 0, 10, ""},
		{path, 10, 0, ""},
		{path + ".not", 80, 2048, ""},
		{logFile(t, at(1, "stdout F "+strings.Repeat("é", 5000))), 80, 6, "\uFFFDéé\n"},
	}
	for _, tt := range tests {
		got, err := Tail(tt.path, tt.lines, tt.bytes)
		if err != nil || got != tt.want {
			t.Errorf("Tail(%d, %d) = %q, %v; want %q", tt.lines, tt.bytes, got, err, tt.want)
		}
	}
}

// TestTailStart compares with the plain way, on files whose entries lie across the blocks in every manner.
func TestTailStart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		var file strings.Builder
		var starts []int64 // of lines
		inLine := false
		for range 1 + rng.IntN(60) {
			if !inLine {
				starts = append(starts, int64(file.Len()))
			}
			inLine = rng.IntN(3) == 0
			tag := "F"
			if inLine {
				tag = "P"
			}
			file.WriteString(at(1, "stdout "+tag+" "+strings.Repeat("x", rng.IntN(1<<rng.IntN(16)))))
		}
		for n := 0; n < len(starts)+2; n += 1 + rng.IntN(5) {
			want := int64(file.Len())
			if n > 0 {
				want = starts[max(0, len(starts)-n)]
			}
			got, err := tailStart(strings.NewReader(file.String()), int64(file.Len()), int64(n), 0)
			if err != nil || got != want {
				t.Fatalf("tail %d of %d lines in %d bytes: %d, %v; want %d", n, len(starts), file.Len(), got, err, want)
			}
		}
	}
}

func TestTailStartTruncated(t *testing.T) {
	if _, err := tailStart(strings.NewReader("short"), 100, 1, 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, s := range []string{at(1, "stdout F text"), at(1, "stderr P:x "), "  \n", "2026-11-21T20:00:01Z stdout F", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		if h.size <= 0 || h.size > len(b) || h.size > maxHeader || bytes.IndexByte(b[:h.size], '\n') >= 0 {
			t.Errorf("header of %d bytes in %q", h.size, b)
		}
		if h.stream != Stdout && h.stream != Stderr {
			t.Errorf("stream %d", h.stream)
		}
	})
}

// FuzzReadLogs reads anything, with every option.
func FuzzReadLogs(f *testing.F) {
	f.Add([]byte(at(1, "stdout F one")+at(2, "stderr P two")), int64(1), int64(3), byte(0))
	f.Add([]byte("garbage"), int64(-1), int64(-1), byte(7))
	f.Fuzz(func(t *testing.T, data []byte, lines, limit int64, bits byte) {
		path := filepath.Join(t.TempDir(), "0.log")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		o := Options{Timestamps: bits&1 != 0, Stream: Stream(bits >> 1 % 3)}
		if lines >= 0 {
			o.Tail = &lines
		}
		if limit >= 0 {
			o.LimitBytes = &limit
		}
		var out bytes.Buffer
		if err := ReadLogs(t.Context(), path, o, nil, &out, &out); err != nil {
			t.Fatal(err)
		}
		if limit >= 0 && int64(out.Len()) > limit {
			t.Errorf("%d bytes, limit %d", out.Len(), limit)
		}
		if !o.Timestamps && out.Len() > len(data) {
			t.Errorf("%d bytes out of %d", out.Len(), len(data))
		}
	})
}

// FuzzRoundTrip writes what a guest may print, in pieces, and reads it back.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello\nworld"), uint16(3))
	f.Add(bytes.Repeat([]byte("x"), 3*maxLine), uint16(5000))
	f.Fuzz(func(t *testing.T, data []byte, piece uint16) {
		w := newWriter(t, WriterOptions{})
		for p := data; len(p) > 0; {
			k := min(len(p), int(piece)+1)
			put(t, w.Stdout(), string(p[:k]))
			p = p[k:]
		}
		_ = w.Close()
		var out bytes.Buffer
		if err := ReadLogs(t.Context(), w.opt.Path, Options{OnSkip: func(err error) { t.Error(err) }}, nil, &out, nil); err != nil {
			t.Fatal(err)
		}
		want := data
		if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(bytes.Clone(want), '\n')
		}
		if !bytes.Equal(want, out.Bytes()) {
			t.Errorf("wrote %d bytes, read %d", len(want), out.Len())
		}
	})
}

func BenchmarkReadLogs(b *testing.B) {
	path := filepath.Join(b.TempDir(), "0.log")
	line := at(1, "stdout F "+strings.Repeat("x", 99))
	if err := os.WriteFile(path, []byte(strings.Repeat(line, 50_000)), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name string
		opt  Options
	}{{"all", Options{}}, {"tail", Options{Tail: new(int64(100))}}} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				if err := ReadLogs(b.Context(), path, bb.opt, nil, io.Discard, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
