package rootfs

import (
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Text is a small file of the guest that the host has only in memory, once the guest looks at it. The guest cannot change it.
type Text struct{ Guest, Data string }

// text is one of an FS, which several guests may have.
type text struct {
	name, data string
	mu         sync.Mutex
	file       *os.File
}

func newText(t Text) *mount {
	name := path.Clean("/" + t.Guest)[1:]
	m := &mount{name: name, file: path.Base(name), readOnly: true}
	m.text = &text{name: m.file, data: t.Data}
	return m
}

// get returns the file, which is not the caller's to close.
func (t *text) get() (_ *os.File, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		t.file, err = memoryFile(t.name, t.data)
	}
	return t.file, err
}

// open opens it anew: each descriptor of the guest has a place of its own in it.
func (t *text) open(flags int) (*os.File, error) {
	f, err := t.get()
	if err != nil {
		return nil, err
	}
	return os.OpenFile(descriptor(f), flags&^unix.O_NOFOLLOW, 0)
}

func (t *text) stat() (st unix.Stat_t, err error) {
	f, err := t.get()
	if err != nil {
		return st, err
	}
	err = retry(func() error { return unix.Fstat(int(f.Fd()), &st) })
	return st, err
}

func (t *text) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}

// texts are the entries of this directory that the host's does not have.
func (d *Dir) texts() ([]Entry, error) {
	var out []Entry
	for _, m := range d.fs.mounts {
		dir, name := path.Split(m.name)
		if m.text == nil || strings.TrimSuffix(dir, "/") != d.name {
			continue
		}
		var st unix.Stat_t
		if unix.Fstatat(int(d.list.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			continue // listed already
		}
		st, err := m.text.stat()
		if err != nil {
			return nil, err
		}
		out = append(out, Entry{Name: name, Ino: st.Ino, Mode: unix.S_IFREG})
	}
	return out, nil
}
