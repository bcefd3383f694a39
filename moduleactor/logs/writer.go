package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Stream is an output stream of a guest.
type Stream uint8

// The streams. The zero Stream means both.
const (
	Stdout Stream = iota + 1
	Stderr
)

const (
	// maxLine is the most bytes of output in one entry; a longer line is split, as containerd does it.
	maxLine = 16 << 10
	// flushBytes bounds what is gathered of one Write before it goes to the file.
	flushBytes = 64 << 10
	// timeFormat is RFC 3339 with all nine digits, so that times have one length and sort as text.
	timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

	// keepLine is the most room for unfinished lines that an idle stream keeps.
	keepLine = 512

	defaultMaxFiles = 5
)

// WriterOptions say where a Writer writes and when it rotates.
type WriterOptions struct {
	// Path is the current file. Its directory is created.
	Path string
	// MaxBytes rotates the file when it would become larger; 0 never.
	MaxBytes int64
	// MaxFiles bounds the files of this log, the current one included; 0 means 5, less than 2 means 2.
	MaxFiles int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Files bounds how many of many Writers have their file open; nil: this one keeps it open.
	Files *Files
}

// Writer writes two streams into one CRI log file and rotates it. Its methods may be called from any goroutine. It never
// fails a guest: what cannot be written (full disk, directory removed) is dropped, counted, and marked in the log.
type Writer struct {
	mu  sync.Mutex
	opt WriterOptions
	// f is nil while Files has closed it. ended is set once the log is closed or its directory was removed.
	f     *os.File
	ended bool
	size  int64

	streams [2]stream
	out     []byte // entries not yet in the file; nil between two writes
	pending uint64 // their number
	dropped uint64
	// unmarked counts the dropped ones that the log does not tell of yet; cause is why the last was.
	unmarked uint64
	cause    error

	archiver archiver
}

// stream is one output stream with its unfinished line.
type stream struct {
	w    *Writer
	name string
	line []byte
}

// NewWriter opens the log; an existing file is continued.
func NewWriter(o WriterOptions) (*Writer, error) {
	if o.MaxBytes < 0 || o.MaxFiles < 0 {
		return nil, fmt.Errorf("log: maxBytes and maxFiles: want 0 or more (got %d and %d)", o.MaxBytes, o.MaxFiles)
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = defaultMaxFiles
	}
	o.MaxFiles = max(2, o.MaxFiles)
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o750); err != nil {
		return nil, err
	}
	w := &Writer{opt: o}
	for i, name := range []string{"stdout", "stderr"} {
		w.streams[i] = stream{w: w, name: name}
	}
	w.archiver.path, w.archiver.keep = o.Path, o.MaxFiles-1
	if err := w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

// open opens the current file and ends a line that whoever wrote it before did not live to end.
func (w *Writer) open() error {
	//nolint:gosec // log collectors of the node read it through its group, as they do the kubelet's
	f, err := os.OpenFile(w.opt.Path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	size, err := endLine(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.size = f, size
	w.opt.Files.opened(w)
	return nil
}

func endLine(f *os.File) (size int64, err error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], st.Size()-1); err != nil || last[0] == '\n' {
		return st.Size(), err
	}
	_, err = f.WriteString("\n")
	return st.Size() + 1, err
}

// Stdout is the guest's stdout. Its Write never fails.
func (w *Writer) Stdout() io.Writer { return &w.streams[0] }

// Stderr is the guest's stderr. Its Write never fails.
func (w *Writer) Stderr() io.Writer { return &w.streams[1] }

// Dropped counts the entries that could not be written.
func (w *Writer) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Close writes what is left of unfinished lines, closes the file and waits for the compression of rotated ones. Writes
// after it are dropped.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.streams {
		if s := &w.streams[i]; len(s.line) > 0 {
			w.entry(s, 'F', s.line)
			s.line = nil
		}
	}
	w.flush()
	err := w.close()
	w.ended = true
	w.archiver.wait()
	return err
}

// close closes the file; the next write opens it again.
func (w *Writer) close() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	w.opt.Files.closed(w)
	return err
}

// Write takes output of the guest. What ends in a newline is in the file when it returns.
func (s *stream) Write(p []byte) (int, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	b := takeBuffer()
	w.out = (*b)[:0]
	defer func() {
		w.out = nil
		buffers.Put(b)
	}()
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.unfinished(p)
			break
		}
		s.finish(p[:i])
		p = p[i+1:]
	}
	w.flush()
	return n, nil
}

// buffers are *[]byte for what is gathered of one write. Nothing of them is kept between two, since there may be thousands
// of Writers.
var buffers sync.Pool //nolint:gochecknoglobals // as sync.Pool is meant

func takeBuffer() *[]byte {
	if b, ok := buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, flushBytes+2*maxLine)
	return &b
}

// unfinished keeps the begin of a line, or more of it.
func (s *stream) unfinished(p []byte) {
	for len(s.line)+len(p) > maxLine {
		k := maxLine - len(s.line)
		s.line = append(s.line, p[:k]...)
		p = p[k:]
		s.w.entry(s, 'P', s.line)
		s.line = s.line[:0]
	}
	s.line = append(s.line, p...)
}

// finish writes a line of which p is the end.
func (s *stream) finish(p []byte) {
	if len(s.line) == 0 && len(p) <= maxLine { // the common case spares the copy
		s.w.entry(s, 'F', p)
		return
	}
	s.unfinished(p)
	s.w.entry(s, 'F', s.line)
	s.line = s.line[:0]
	if cap(s.line) > keepLine {
		s.line = nil
	}
}

// entry adds one entry to what will be written.
func (w *Writer) entry(s *stream, tag byte, text []byte) {
	if w.ended {
		w.dropped++
		return
	}
	const head = len(timeFormat) + len(" stdout F ") // UTC's Z is shorter than the format's zone
	if more := len(w.out) + head + len(text) + 1; len(w.out) > 0 && (more > flushBytes || w.over(more)) {
		w.flush()
	}
	w.out = appendEntry(w.out, w.opt.Now(), s.name, tag, text)
	w.pending++
}

func appendEntry(b []byte, now time.Time, name string, tag byte, text []byte) []byte {
	b = now.UTC().AppendFormat(b, timeFormat)
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, ' ', tag, ' ')
	b = append(b, text...)
	return append(b, '\n')
}

// over says that so many bytes more make the current file too large.
func (w *Writer) over(more int) bool {
	return w.opt.MaxBytes > 0 && w.size+int64(more) > w.opt.MaxBytes
}

// flush writes the gathered entries, or drops them.
func (w *Writer) flush() {
	if len(w.out) == 0 {
		return
	}
	err := w.tryFlush()
	if err != nil {
		w.dropped += w.pending
		w.unmarked += w.pending
		w.cause = err
	}
	w.out, w.pending = w.out[:0], 0
}

func (w *Writer) tryFlush() error {
	if w.ended {
		return os.ErrClosed
	}
	if err := w.reopen(); err != nil {
		return err
	}
	if w.size > 0 && w.over(len(w.out)) { // one entry may be larger than a file
		if err := w.rotate(); err != nil {
			return err
		}
	}
	if w.unmarked > 0 {
		if err := w.mark(); err != nil {
			return err
		}
	}
	return w.write(w.out)
}

// reopen opens the file again if Files has closed it.
func (w *Writer) reopen() error {
	if w.f == nil {
		return w.open()
	}
	w.opt.Files.used(w)
	return nil
}

// write writes all or nothing: half an entry would corrupt the one after it.
func (w *Writer) write(b []byte) error {
	n, err := w.f.Write(b)
	if err != nil && n > 0 {
		if terr := w.f.Truncate(w.size); terr != nil {
			w.size += int64(n)
			return errors.Join(err, terr)
		}
		return err
	}
	w.size += int64(n)
	return err
}

// mark tells in the log how much is missing at this place.
func (w *Writer) mark() error {
	text := fmt.Appendf(nil, "wazlet: %d log entries lost: %v", w.unmarked, w.cause)
	if err := w.write(appendEntry(nil, w.opt.Now(), "stderr", 'F', text)); err != nil {
		return err
	}
	w.unmarked, w.cause = 0, nil
	return nil
}

// rotate renames the current file and opens a new one. Readers keep what they have open. Where it fails, the current
// file stays and takes no more, so that a log is bounded in any case; the next Write tries again.
func (w *Writer) rotate() error {
	rotated, err := w.archiver.rotatedName(w.opt.Now())
	if err == nil {
		err = os.Rename(w.opt.Path, rotated)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, derr := os.Stat(filepath.Dir(w.opt.Path)); errors.Is(derr, fs.ErrNotExist) {
			// The Pod was deleted: nobody can read this log any more.
			_ = w.close()
			w.ended = true
			return err
		}
		err = nil // someone removed or renamed the file alone
	}
	if err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	old := w.f
	if err := w.open(); err != nil {
		w.f = old
		_ = os.Rename(rotated, w.opt.Path)
		return fmt.Errorf("rotate log: %w", err)
	}
	_ = old.Close()
	w.archiver.tidy()
	return nil
}
