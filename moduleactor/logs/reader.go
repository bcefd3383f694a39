package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Options are those of `kubectl logs`, with the meaning that the kubelet gives them.
type Options struct {
	// Follow goes on until the container has ended.
	Follow bool
	// Tail is the number of last lines to begin with; nil means all. Only the current file is looked at.
	Tail *int64
	// SinceTime drops older entries; zero drops none.
	SinceTime time.Time
	// Timestamps puts the time before each line.
	Timestamps bool
	// LimitBytes ends the output, within a line if need be; nil means no limit.
	LimitBytes *int64
	// Stream selects one stream; zero means both.
	Stream Stream
	// OnSkip is told of what cannot be shown: entries that are not in CRI format, files that rotation removed before they
	// were read. Nil: skipped silently.
	OnSkip func(error)
}

// ReadLogs copies the log at path to stdout and stderr; what is for a nil writer is dropped. With Follow it goes on until
// ended is closed and the rest is read, or ctx is done, which is no error. A nil ended never closes. fs.ErrNotExist: there
// is no log.
func ReadLogs(ctx context.Context, path string, o Options, ended <-chan struct{}, stdout, stderr io.Writer) error {
	path, err := filepath.EvalSymlinks(path) // the directory is watched, so it must be the real one
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	r := &reader{path: path, opt: o, ended: ended, sink: newSink(o, stdout, stderr)}
	defer r.close()
	switch err := r.run(ctx); {
	case err == nil, errors.Is(err, errLimit):
		return nil
	case o.Follow && ctx.Err() != nil:
		return nil
	default:
		return fmt.Errorf("read log %s: %w", path, err)
	}
}

type reader struct {
	path  string
	opt   Options
	ended <-chan struct{}
	sink  *sink

	f       *os.File
	buf     *bufio.Reader
	watcher *fsnotify.Watcher

	// What the entry being read is; it may come in several chunks.
	inside  bool // its header was seen
	skip    bool // it is corrupt
	current header
}

func (r *reader) close() {
	if r.f != nil {
		_ = r.f.Close()
	}
	if r.watcher != nil {
		_ = r.watcher.Close()
	}
}

func (r *reader) run(ctx context.Context) error {
	if err := r.openFile(r.path); err != nil {
		return err
	}
	if err := r.seek(); err != nil {
		return err
	}
	if !r.opt.Follow {
		return r.drain(ctx, true)
	}
	return r.follow(ctx)
}

func (r *reader) openFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	r.use(f)
	return nil
}

// use makes f the file that is read.
func (r *reader) use(f *os.File) {
	if r.f != nil {
		_ = r.f.Close()
	}
	r.f = f
	if r.buf == nil {
		r.buf = bufio.NewReaderSize(f, blockBytes)
	} else {
		r.buf.Reset(f)
	}
}

func (r *reader) seek() error {
	if r.opt.Tail == nil {
		return nil
	}
	st, err := r.f.Stat()
	if err != nil {
		return err
	}
	at, err := tailStart(r.f, st.Size(), *r.opt.Tail, r.opt.Stream)
	if err != nil {
		return err
	}
	_, err = r.f.Seek(at, io.SeekStart)
	return err
}

// follow reads to the end again and again. A rotated file is read to its end once more before it is left: the writer may
// have added to it between our last read and the rotation, but not after that.
func (r *reader) follow(ctx context.Context) error {
	var rotated, last bool
	for {
		if err := r.drain(ctx, rotated); err != nil {
			return err
		}
		switch {
		case rotated:
			if err := r.next(); err != nil {
				return err
			}
			rotated = false
		case r.watcher == nil:
			if err := r.watch(); err != nil { // and look again: events before it are lost
				return err
			}
		case r.isRotated():
			rotated = true
		case last:
			return r.drain(ctx, true)
		default:
			var err error
			if last, err = r.wait(ctx); err != nil {
				return err
			}
		}
	}
}

func (r *reader) watch() error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	r.watcher = w
	err = w.Add(filepath.Dir(r.path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed with its Pod: nothing will happen but the end
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}

// wait blocks until something happened to the log or the container has ended.
func (r *reader) wait(ctx context.Context) (ended bool, err error) {
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-r.ended:
			return true, nil
		case e, ok := <-r.watcher.Events:
			if !ok {
				return false, fsnotify.ErrClosed
			}
			if e.Name == r.path {
				return false, nil
			}
		case err := <-r.watcher.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return false, fmt.Errorf("watch: %w", err)
			}
			return false, nil
		}
	}
}

// isRotated says that there is another file at path by now. A log that was removed is not: nothing follows.
func (r *reader) isRotated() bool {
	mine, err := r.f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(r.path)
	return err == nil && !os.SameFile(mine, there)
}

// next opens the file after the one that was read: usually the current one, but a slow reader may be behind. The writer
// may rotate between our look at the names and the opening; then the current file is one too far.
func (r *reader) next() error {
	mine, err := r.f.Stat()
	if err != nil {
		return err
	}
	name, err := r.after(mine)
	for err == nil && name != "" {
		f, openErr := os.Open(name)
		var again string
		if again, err = r.after(mine); err == nil && again == name && openErr == nil {
			r.use(f)
			return nil
		}
		if f != nil {
			_ = f.Close()
		}
		if err == nil && again == name {
			return openErr
		}
		name = again
	}
	if err != nil {
		return err
	}
	r.note(errors.New("log was rotated faster than it was read"))
	return r.openLatest()
}

// openLatest opens the current file or, while the writer has renamed it and not yet made another, the newest rotated one.
func (r *reader) openLatest() error {
	const tries = 10 // each lost to another rotation
	var err error
	for range tries {
		if err = r.openFile(r.path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		files, listErr := r.plainFiles()
		if listErr != nil || len(files) == 0 {
			return err
		}
		if err = r.openFile(files[len(files)-1]); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// plainFiles lists the rotated files that are not compressed, oldest first. For a moment a rotated file has a compressed
// copy beside it.
func (r *reader) plainFiles() ([]string, error) {
	files, err := rotatedFiles(r.path)
	return slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, ".gz") }), err
}

// after is the path of the file after a rotated one, empty if that is compressed or removed by now.
func (r *reader) after(mine fs.FileInfo) (string, error) {
	files, err := r.plainFiles()
	if err != nil {
		return "", err
	}
	files = append(files, r.path)
	for i, f := range files[:len(files)-1] {
		if st, err := os.Stat(f); err == nil && os.SameFile(mine, st) {
			return files[i+1], nil
		}
	}
	return "", nil
}

func (r *reader) note(err error) {
	if r.opt.OnSkip != nil {
		r.opt.OnSkip(err)
	}
}

// drain reads to the end of the file. An entry without its newline is left for later, unless this is the last time.
func (r *reader) drain(ctx context.Context, last bool) error {
	for ctx.Err() == nil {
		chunk, err := r.buf.ReadSlice('\n')
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
			if err := r.chunk(chunk); err != nil {
				return err
			}
		case !errors.Is(err, io.EOF):
			return err
		case last:
			err := r.chunk(chunk)
			r.inside = false
			return err
		default:
			_, err := r.f.Seek(-int64(len(chunk)), io.SeekCurrent)
			r.buf.Reset(r.f)
			return err
		}
	}
	return ctx.Err()
}

// chunk takes a piece of an entry: all of it, or its begin, or more of it.
func (r *reader) chunk(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	text := b
	if !r.inside {
		h, err := parseHeader(b)
		if r.skip = err != nil; r.skip {
			r.note(err)
		} else {
			text = b[min(h.size, len(b)):]
		}
		r.current = h
	}
	text, complete := bytes.CutSuffix(text, []byte("\n"))
	r.inside = !complete
	if r.skip {
		return nil
	}
	return r.sink.write(r.current, text, complete && !r.current.partial)
}

// Tail is the end of a log for a termination message: at most so many lines and bytes of both streams, without times. A
// log that does not exist is empty.
func Tail(path string, lines int, limit int64) (string, error) {
	if lines <= 0 || limit <= 0 {
		return "", nil
	}
	n := int64(lines)
	end := &tail{limit: int(limit)}
	err := ReadLogs(context.Background(), path, Options{Tail: &n}, nil, end, end)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return string(bytes.ToValidUTF8(end.bytes(), []byte("\uFFFD"))), err
}

// tail keeps the last bytes that are written to it.
type tail struct {
	limit int
	b     []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*t.limit {
		t.b = append(t.b[:0], t.b[len(t.b)-t.limit:]...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte { return t.b[max(0, len(t.b)-t.limit):] }
