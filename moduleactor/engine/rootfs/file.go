package rootfs

import (
	"io"
	"os"

	wasys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
	"golang.org/x/sys/unix"
)

// file is an open regular file or directory. A guest has one thread, so one goroutine uses it.
type file struct {
	wasys.UnimplementedFile
	f        *os.File
	fd       int
	stat     sys.Stat_t // as it was opened: dev, ino and type do not change
	readOnly bool       // the mount is
	append   bool
}

// newFile takes over f, or closes it when it is not a file that a guest may use.
func newFile(f *os.File, readOnly bool, flag wasys.Oflag) (wasys.File, wasys.Errno) {
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, toErrno(err)
	}
	w := &file{f: f, fd: int(f.Fd()), stat: sys.NewStat_t(info), readOnly: readOnly}
	var errno wasys.Errno
	switch mode := info.Mode(); {
	case !mode.IsRegular() && !mode.IsDir():
		errno = wasys.ENOTSUP
	case flag&wasys.O_APPEND != 0:
		errno = w.SetAppend(true)
	}
	if errno != 0 {
		_ = f.Close()
		return nil, errno
	}
	return w, 0
}

// Dev implements File.
func (f *file) Dev() (uint64, wasys.Errno) { return f.stat.Dev, 0 }

// Ino implements File.
func (f *file) Ino() (sys.Inode, wasys.Errno) { return f.stat.Ino, 0 }

// IsDir implements File.
func (f *file) IsDir() (bool, wasys.Errno) { return f.stat.Mode.IsDir(), 0 }

// IsAppend implements File.
func (f *file) IsAppend() bool { return f.append }

// SetAppend implements File.
func (f *file) SetAppend(enable bool) wasys.Errno {
	flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err != nil {
		return toErrno(err)
	}
	flags &^= unix.O_APPEND
	if enable {
		flags |= unix.O_APPEND
	}
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, flags); err != nil {
		return toErrno(err)
	}
	f.append = enable
	return 0
}

// Stat implements File.
func (f *file) Stat() (sys.Stat_t, wasys.Errno) {
	info, err := f.f.Stat()
	return stat(info, err)
}

// Read implements File.
func (f *file) Read(buf []byte) (int, wasys.Errno) {
	if f.stat.Mode.IsDir() {
		return 0, wasys.EISDIR
	}
	n, err := f.f.Read(buf)
	return n, toErrno(err)
}

// Pread implements File.
func (f *file) Pread(buf []byte, off int64) (int, wasys.Errno) {
	switch {
	case f.stat.Mode.IsDir():
		return 0, wasys.EISDIR
	case off < 0:
		return 0, wasys.EINVAL
	}
	n, err := f.f.ReadAt(buf, off)
	return n, toErrno(err)
}

// fileOffset keeps vet from taking Seek, whose result is wazero's, for that of io.Seeker.
type fileOffset = int64

// Seek implements File.
func (f *file) Seek(offset fileOffset, whence int) (int64, wasys.Errno) {
	// A directory can only be rewound, and nothing has a negative place or a fourth way to count.
	if whence < io.SeekStart || whence > io.SeekEnd || (f.stat.Mode.IsDir() && (offset != 0 || whence != io.SeekStart)) {
		return 0, wasys.EINVAL
	}
	at, err := f.f.Seek(offset, whence)
	return at, toErrno(err)
}

// Readdir implements File.
func (f *file) Readdir(n int) ([]wasys.Dirent, wasys.Errno) {
	if !f.stat.Mode.IsDir() {
		return nil, wasys.EBADF
	}
	entries, err := f.f.ReadDir(n)
	out := make([]wasys.Dirent, 0, len(entries))
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Fstatat(f.fd, e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue // it was removed meanwhile
		}
		out = append(out, wasys.Dirent{Name: e.Name(), Ino: st.Ino, Type: e.Type()})
	}
	if n > 0 && len(out) < n && err == nil {
		// Fewer than asked for would mean the end.
		more, errno := f.Readdir(n - len(out))
		return append(out, more...), errno
	}
	return out, toErrno(err)
}

// Write implements File.
func (f *file) Write(buf []byte) (int, wasys.Errno) {
	if f.stat.Mode.IsDir() {
		return 0, wasys.EBADF
	}
	n, err := f.f.Write(buf)
	return n, toErrno(err)
}

// Pwrite implements File. Linux appends with pwrite to a file in append mode, against POSIX and WASI.
func (f *file) Pwrite(buf []byte, off int64) (int, wasys.Errno) {
	switch {
	case f.stat.Mode.IsDir():
		return 0, wasys.EISDIR
	case off < 0:
		return 0, wasys.EINVAL
	}
	if f.append {
		return f.pwriteAppending(buf, off)
	}
	n, err := f.f.WriteAt(buf, off)
	return n, toErrno(err)
}

func (f *file) pwriteAppending(buf []byte, off int64) (int, wasys.Errno) {
	if errno := f.SetAppend(false); errno != 0 {
		return 0, errno
	}
	n, err := f.f.WriteAt(buf, off)
	if errno := f.SetAppend(true); err == nil {
		return n, errno
	}
	return n, toErrno(err)
}

// Truncate implements File.
func (f *file) Truncate(size int64) wasys.Errno {
	switch {
	case f.stat.Mode.IsDir():
		return wasys.EISDIR
	case f.readOnly:
		return wasys.EROFS
	case size < 0:
		return wasys.EINVAL
	default:
		return toErrno(f.f.Truncate(size))
	}
}

// Sync implements File.
func (f *file) Sync() wasys.Errno { return toErrno(f.f.Sync()) }

// Datasync implements File.
func (f *file) Datasync() wasys.Errno {
	return toErrno(retry(func() error { return fdatasync(f.fd) }))
}

// Utimens implements File.
func (f *file) Utimens(atim, mtim int64) wasys.Errno {
	if f.readOnly {
		return wasys.EROFS
	}
	return toErrno(futimens(f.fd, atim, mtim))
}

// Close implements File.
func (f *file) Close() wasys.Errno { return toErrno(f.f.Close()) }
