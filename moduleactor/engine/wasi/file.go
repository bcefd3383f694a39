package wasi

import (
	"io"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// file is a regular file.
type file struct {
	*rootfs.File
	append   bool
	borrowed bool // it is not ours to close
}

func (f *file) filetype() filetype { return regularFile }
func (f *file) rights() Rights     { return fileRights }

func (f *file) stat() (filestat, Errno) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(f.FD, &st) }); err != nil {
		return filestat{}, toErrno(err)
	}
	return statOf(&st), esuccess
}

func (f *file) close() error {
	if f.borrowed {
		return nil
	}
	return f.Close()
}

func (f *file) read(p []byte) (int, Errno)  { return transferred(unix.Read(f.FD, p)) }
func (f *file) write(p []byte) (int, Errno) { return transferred(unix.Write(f.FD, p)) }

// transferred is what a system call that moves bytes says; one that was interrupted has moved none, and is repeated by
// the guest if it wants.
func transferred(n int, err error) (int, Errno) {
	if err != nil {
		return 0, toErrno(err)
	}
	return n, esuccess
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR { //nolint:errorlint // system calls return it as it is
			return err
		}
	}
}

// setAppend implements flagged.
func (f *file) setAppend(on bool) Errno {
	flags, err := unix.FcntlInt(uintptr(f.FD), unix.F_GETFL, 0)
	if err != nil {
		return toErrno(err)
	}
	if flags &^= unix.O_APPEND; on {
		flags |= unix.O_APPEND
	}
	if _, err := unix.FcntlInt(uintptr(f.FD), unix.F_SETFL, flags); err != nil {
		return toErrno(err)
	}
	f.append = on
	return esuccess
}

// pwrite writes at a place. Linux appends with pwrite to a file in append mode, against POSIX and WASI.
func (f *file) pwrite(p []byte, at int64) (int, Errno) {
	if !f.append {
		return transferred(unix.Pwrite(f.FD, p, at))
	}
	if errno := f.setAppend(false); errno != esuccess {
		return 0, errno
	}
	n, errno := transferred(unix.Pwrite(f.FD, p, at))
	if again := f.setAppend(true); errno == esuccess {
		errno = again
	}
	return n, errno
}

// available is how much is left to read.
func (f *file) available() uint64 {
	st, errno := f.stat()
	at, err := unix.Seek(f.FD, 0, io.SeekCurrent)
	if errno != esuccess || err != nil {
		return 0
	}
	return st.size - min(uint64(at), st.size)
}

// file returns the regular file behind a descriptor; none other has places.
func (c call) file(need Rights) (*file, Errno) {
	d, errno := c.table.get(c.a[0], 0)
	if errno != esuccess {
		return nil, errno
	}
	f, ok := d.object.(*file)
	switch {
	case !ok && d.filetype() == directory:
		return nil, ebadf
	case !ok:
		return nil, espipe
	case !d.can(need):
		return nil, enotcapable
	}
	return f, esuccess
}

func (c call) fdPread() Errno {
	return c.place(rightRead|rightSeek, func(f *file, p []byte, at int64) (int, Errno) {
		return transferred(unix.Pread(f.FD, p, at))
	})
}

func (c call) fdPwrite() Errno { return c.place(rightWrite|rightSeek, (*file).pwrite) }

// place moves bytes at a place of a file.
func (c call) place(need Rights, move func(f *file, p []byte, at int64) (int, Errno)) Errno {
	f, errno := c.file(need)
	if errno != esuccess {
		return errno
	}
	v, errno := c.mem.vectors(c.a[1], c.a[2])
	if errno != esuccess {
		return errno
	}
	at, total := int64(c.a[3]), uint32(0)
	if at < 0 {
		return einval
	}
	p, errno := v.next()
	for p != nil && errno == esuccess {
		var n int
		n, errno = move(f, p, at)
		total, at = total+uint32(n), at+int64(n)
		if n < len(p) || errno != esuccess {
			break
		}
		p, errno = v.next()
	}
	if errno != esuccess && total == 0 {
		return errno
	}
	return c.mem.putU32(c.a[4], total)
}

// fdSeek moves the place. wasi_unstable counts from cur, end, set where preview 1 has set, cur, end.
func (c call) fdSeek(unstable bool) Errno {
	need, whence := rightSeek|rightTell, uint32(c.a[2])
	if whence > 2 {
		return einval
	}
	if unstable {
		whence = (whence + 1) % 3
	}
	if whence == io.SeekCurrent && c.a[1] == 0 {
		need = rightTell
	}
	return c.seek(need, int64(c.a[1]), int(whence), c.a[3])
}

func (c call) fdTell() Errno { return c.seek(rightTell, 0, io.SeekCurrent, c.a[1]) }

func (c call) seek(need Rights, offset int64, whence int, result uint64) Errno {
	f, errno := c.file(need)
	if errno != esuccess {
		return errno
	}
	at, err := unix.Seek(f.FD, offset, whence)
	if err != nil {
		return toErrno(err)
	}
	return c.mem.putU64(result, uint64(at))
}

// fdAdvise only judges its arguments: the host's kernel knows better.
func (c call) fdAdvise() Errno {
	_, errno := c.file(rightAdvise)
	switch {
	case errno != esuccess:
		return errno
	case int64(c.a[1]) < 0, int64(c.a[2]) < 0, uint32(c.a[3]) > 5:
		return einval
	default:
		return esuccess
	}
}

func (c call) fdAllocate() Errno {
	f, errno := c.file(rightAllocate)
	switch {
	case errno != esuccess:
		return errno
	case int64(c.a[1]) < 0, int64(c.a[2]) <= 0:
		return einval
	case int64(c.a[1])+int64(c.a[2]) < 0:
		return efbig
	}
	return toErrno(retry(func() error { return allocate(f.FD, int64(c.a[1]), int64(c.a[2])) }))
}

func (c call) fdFilestatSetSize() Errno {
	f, errno := c.file(rightFilestatSetSize)
	switch {
	case errno != esuccess:
		return errno
	case f.ReadOnly:
		return erofs
	case int64(c.a[1]) < 0:
		return einval
	}
	return toErrno(retry(func() error { return unix.Ftruncate(f.FD, int64(c.a[1])) }))
}

// fdSync writes a file or a directory to the disk.
func (c call) fdSync(need Rights, data bool) Errno {
	d, errno := c.table.get(c.a[0], need)
	if errno != esuccess {
		return errno
	}
	switch o := d.object.(type) {
	case *dir:
		return toErrno(o.dir.Sync())
	case *file:
		if data {
			return toErrno(retry(func() error { return datasync(o.FD) }))
		}
		return toErrno(retry(func() error { return unix.Fsync(o.FD) }))
	default:
		return einval
	}
}

func (c call) fdFilestatSetTimes() Errno {
	d, errno := c.table.get(c.a[0], rightFilestatSetTimes)
	if errno != esuccess {
		return errno
	}
	atim, mtim, errno := times(c.a[1], c.a[2], c.a[3])
	if errno != esuccess {
		return errno
	}
	switch o := d.object.(type) {
	case *dir:
		return toErrno(o.dir.SetTimes(".", false, atim, mtim))
	case *file:
		return toErrno(o.SetTimes(atim, mtim))
	default:
		return einval
	}
}

// times are the times to set, as package rootfs wants them.
func times(atim, mtim, flags uint64) (a, m int64, errno Errno) {
	const (
		setAtim = 1 << iota
		nowAtim
		setMtim
		nowMtim
	)
	one := func(given, set, present uint64) int64 {
		switch {
		case flags&set != 0 && flags&present != 0, int64(given) < 0 && flags&set != 0:
			errno = einval
			return 0
		case flags&set != 0:
			return int64(given)
		case flags&present != 0:
			return now()
		default:
			return rootfs.Omit
		}
	}
	if flags = uint64(uint32(flags)); flags > setAtim|nowAtim|setMtim|nowMtim {
		return 0, 0, einval
	}
	a, m = one(atim, setAtim, nowAtim), one(mtim, setMtim, nowMtim)
	return a, m, errno
}
