package wasi

import (
	"encoding/binary"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// dir is an open directory. What it lists comes in windows, of which the last is kept: the memory of the host does not
// grow with the directory.
type dir struct {
	dir    *rootfs.Dir
	window []rootfs.Entry
	first  uint64 // the number of the first entry in the window, "." and ".." not counted
	end    bool   // nothing comes after the window
	dev    bool   // it is /dev
}

func newDir(d *rootfs.Dir) *dir {
	name, root := d.Name(".")
	return &dir{dir: d, dev: root && name == "dev"}
}

func (d *dir) filetype() filetype { return directory }
func (d *dir) rights() Rights     { return dirRights }
func (d *dir) close() error       { return d.dir.Close() }

func (d *dir) stat() (filestat, Errno) {
	st, err := d.dir.Stat(".", false)
	if err != nil {
		return filestat{}, toErrno(err)
	}
	return statOf(&st), esuccess
}

func (d *dir) rewind() Errno {
	d.window, d.first, d.end = nil, 0, false
	return toErrno(d.dir.Rewind())
}

// entry is the entry with the number. Both "." and ".." have the directory's own inode: what is above is none of the guest's business.
func (d *dir) entry(in *Instance, n uint64) (e rootfs.Entry, ok bool, errno Errno) {
	if n < 2 {
		st, errno := d.stat()
		return rootfs.Entry{Name: ".."[:n+1], Ino: st.ino, Mode: dirMode}, true, errno
	}
	n -= 2
	if n < d.first {
		if errno := d.rewind(); errno != esuccess {
			return e, false, errno
		}
	}
	for n >= d.first+uint64(len(d.window)) {
		in.check()
		if d.end {
			return e, false, esuccess
		}
		more, err := d.dir.ReadDir(in.window)
		if err != nil {
			return e, false, toErrno(err)
		}
		if d.end = len(more) == 0; !d.end {
			d.first, d.window = d.first+uint64(len(d.window)), more
		}
	}
	return d.window[n-d.first], true, esuccess
}

const direntSize = 24

// dirMode is S_IFDIR.
const dirMode = 0o040000

// fdReaddir writes entries until the buffer is full; the last may be cut off, which tells the guest that there are more.
// The cookie of an entry is its number.
func (c call) fdReaddir() Errno {
	d, errno := c.dir(c.a[0], rightReaddir)
	if errno != esuccess {
		return errno
	}
	buf, errno := c.mem.bytes(c.a[1], c.a[2])
	if errno != esuccess {
		return errno
	}
	n := c.a[3]
	if n == 0 { // a new look
		if errno := d.rewind(); errno != esuccess {
			return errno
		}
	}
	used := 0
	for ; used < len(buf); n++ {
		e, ok, errno := d.entry(c.Instance, n)
		if errno != esuccess {
			return errno
		}
		if !ok {
			break
		}
		var head [direntSize]byte
		binary.LittleEndian.PutUint64(head[:], n+1)
		binary.LittleEndian.PutUint64(head[8:], e.Ino)
		binary.LittleEndian.PutUint32(head[16:], uint32(len(e.Name)))
		head[20] = byte(kindOf(e.Mode))
		used += copy(buf[used:], head[:])
		used += copy(buf[used:], e.Name)
	}
	return c.mem.putU32(c.a[4], uint32(used))
}
