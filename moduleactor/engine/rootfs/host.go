package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Opened is a directory or file of the host that Open has opened.
type Opened struct {
	// Path leads to what was opened, whatever the mount's Host has become since, until the FS is closed.
	Path          string
	Dir, ReadOnly bool
}

// Opened lists what of the host the guest may use.
func (f *FS) Opened() []Opened {
	out := make([]Opened, 0, len(f.mounts))
	for _, m := range f.mounts {
		if m.text != nil { // Landlock restricts nothing that is in no directory
			continue
		}
		out = append(out, Opened{Path: descriptor(m.host), Dir: m.file == "", ReadOnly: m.readOnly})
	}
	return out
}

// openMount opens what m names, once. All that follows is done with what was opened and never with the name: another
// guest may own the directory that the name is in.
func openMount(m Mount) (_ *mount, err error) {
	n := &mount{name: strings.TrimPrefix(path.Clean("/"+m.Guest), "/"), readOnly: m.ReadOnly}
	if !filepath.IsAbs(m.Host) {
		return nil, fmt.Errorf("want an absolute path (got %s)", m.Host)
	}
	parent, host, err := openHost(filepath.Clean(m.Host))
	if err != nil {
		return nil, err
	}
	n.host = host
	defer func() {
		if err = errors.Join(err, parent.Close()); err != nil {
			_ = n.close()
		}
	}()
	info, err := host.Stat()
	if err != nil {
		return nil, err
	}
	dir := host
	switch {
	case info.IsDir():
	case info.Mode().IsRegular() && n.name != "":
		dir, n.file = parent, filepath.Base(host.Name())
	default:
		return nil, fmt.Errorf("%s is neither a directory nor a regular file (got %s)", m.Host, info.Mode().Type())
	}
	if n.root, err = os.OpenRoot(descriptor(dir)); err != nil {
		if cause, ok := errors.AsType[*fs.PathError](err); ok {
			err = cause.Err // its path is that of a descriptor
		}
		return nil, fmt.Errorf("open %s: %w", dir.Name(), err)
	}
	return n, nil
}

func (m *mount) close() error {
	if m.text != nil {
		return m.text.close()
	}
	err := m.host.Close()
	if m.root != nil {
		err = errors.Join(err, m.root.Close())
	}
	return err
}
