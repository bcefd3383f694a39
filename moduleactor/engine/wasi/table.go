package wasi

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// filetype is WASI's type of a file.
type filetype uint8

const (
	unknownFile filetype = iota
	blockDevice
	characterDevice
	directory
	regularFile
	socketDgram
	socketStream
	symbolicLink
)

// fdflags are WASI's flags of a descriptor.
type fdflags uint16

const (
	flagAppend fdflags = 1 << iota
	flagDsync
	flagNonblock
	flagRsync
	flagSync

	flagsAll = flagAppend | flagDsync | flagNonblock | flagRsync | flagSync
)

// object is what a descriptor refers to. What a kind cannot do, it does not implement: see the interfaces below.
type object interface {
	filetype() filetype
	// rights are those that a descriptor of the object has at first.
	rights() Rights
	stat() (filestat, Errno)
	close() error
}

// mover moves bytes at the current place. It never waits: eagain says that the guest would have to.
type mover interface {
	read(p []byte) (int, Errno)
	write(p []byte) (int, Errno)
}

// waiter is what may have to be waited for. Nothing else ever lets anybody wait.
type waiter interface {
	// ready says how many bytes can be read, or written, without waiting: a guess, but for 0. hangup is that no more will come.
	ready(write bool) (n uint64, hangup, ok bool)
	// watch calls wake once ready may have changed, until the function that it returns has been called. The call of ready
	// after that of watch sees every change before.
	watch(write bool, wake func()) (end func())
}

// descriptor is an entry of the table.
type descriptor struct {
	object
	base, inheriting Rights
	flags            fdflags
	preopen          string // the name, of a directory that was open from the start
	// unseen is that the guest has not looked at the flags of what was handed to it. They say nonblocking, as Go's runtime
	// wants it that does look; a guest that just calls accept or read means to wait.
	unseen bool
}

// waits tells whether a call waits for what is not ready.
func (d *descriptor) waits() bool { return d.unseen || d.flags&flagNonblock == 0 }

func (d *descriptor) can(need Rights) bool { return d.base&need == need }

// table is the guest's descriptors by number. A free one is nil.
type table struct {
	list  []*descriptor
	limit int
	stdio [3]object // what /dev/stdin, /dev/stdout and /dev/stderr are
}

// get returns the descriptor if it has the rights.
func (t *table) get(fd uint64, need Rights) (*descriptor, Errno) {
	n := uint32(fd)
	if uint64(n) >= uint64(len(t.list)) || t.list[n] == nil {
		return nil, ebadf
	}
	d := t.list[n]
	if !d.can(need) {
		return nil, enotcapable
	}
	return d, esuccess
}

// add takes the lowest free number for what the host opens.
func (t *table) add(o object) { t.list = append(t.list, &descriptor{object: o, base: o.rights()}) }

// hand is add for what the guest may wait for in either way.
func (t *table) hand(o object) {
	t.list = append(t.list, &descriptor{object: o, base: o.rights(), flags: flagNonblock, unseen: true})
}

// full tells, before anything is opened, that there is no room.
func (t *table) full() bool { return len(t.list) >= t.limit && !slices.Contains(t.list, nil) }

// insert takes the lowest free number; the caller has asked full.
func (t *table) insert(d *descriptor) uint32 {
	if n := slices.Index(t.list, nil); n >= 0 {
		t.list[n] = d
		return uint32(n)
	}
	t.list = append(t.list, d)
	return uint32(len(t.list) - 1)
}

// isStdio tells whether an object outlives its descriptors.
func (t *table) isStdio(o object) bool {
	return o == t.stdio[0] || o == t.stdio[1] || o == t.stdio[2]
}

func (t *table) release(fd uint32) Errno {
	d := t.list[fd]
	t.list[fd] = nil
	if t.isStdio(d.object) {
		return esuccess
	}
	return toErrno(d.close())
}

func (t *table) close() error {
	var errs []error
	for _, d := range t.list {
		if d != nil && !t.isStdio(d.object) {
			errs = append(errs, d.close())
		}
	}
	for i, o := range t.stdio {
		if o != nil && !slices.Contains(t.stdio[:i], o) {
			errs = append(errs, o.close())
		}
	}
	t.list, t.stdio = nil, [3]object{}
	return errors.Join(errs...)
}

// filestat is WASI's structure without its layout.
type filestat struct {
	dev, ino, nlink, size uint64
	kind                  filetype
	atim, mtim, ctim      uint64
}

func statOf(st *unix.Stat_t) filestat {
	nano := func(ts unix.Timespec) uint64 { return uint64(max(ts.Nano(), 0)) }
	return filestat{
		dev: uint64(st.Dev), ino: st.Ino, nlink: uint64(st.Nlink), size: uint64(st.Size), kind: kindOf(uint32(st.Mode)), //nolint:unconvert // differs by platform
		atim: nano(st.Atim), mtim: nano(st.Mtim), ctim: nano(st.Ctim),
	}
}

// kindOf maps the type in a mode. Neither a FIFO nor a socket that is not ours has a type in WASI.
func kindOf(mode uint32) filetype {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return regularFile
	case unix.S_IFDIR:
		return directory
	case unix.S_IFLNK:
		return symbolicLink
	case unix.S_IFCHR:
		return characterDevice
	case unix.S_IFBLK:
		return blockDevice
	default:
		return unknownFile
	}
}

// now is what "set it to the present" means.
func now() int64 { return time.Now().UnixNano() }
