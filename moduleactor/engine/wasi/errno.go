package wasi

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// Errno is an error number of WASI, as a function returns it to the guest.
type Errno uint16

// The error numbers that this host gives.
const (
	esuccess      Errno = 0
	eacces        Errno = 2
	eaddrnotavail Errno = 4
	eafnosupport  Errno = 5
	eagain        Errno = 6
	ebadf         Errno = 8
	eexist        Errno = 20
	efault        Errno = 21
	efbig         Errno = 22
	eilseq        Errno = 25
	einval        Errno = 28
	eio           Errno = 29
	eisdir        Errno = 31
	emfile        Errno = 33
	enametoolong  Errno = 37
	enoent        Errno = 44
	enosys        Errno = 52
	enoprotoopt   Errno = 50
	enospc        Errno = 51
	enotconn      Errno = 53
	enotdir       Errno = 54
	enotsock      Errno = 57
	enotsup       Errno = 58
	eoverflow     Errno = 61
	eperm         Errno = 63
	erofs         Errno = 69
	espipe        Errno = 70
	enotcapable   Errno = 76
)

// errnos are those of the host's that have a meaning for a guest.
var errnos = map[syscall.Errno]Errno{ //nolint:gochecknoglobals // a constant
	syscall.E2BIG: 1, syscall.EACCES: eacces, syscall.EADDRINUSE: 3, syscall.EADDRNOTAVAIL: eaddrnotavail, syscall.EAFNOSUPPORT: eafnosupport,
	syscall.EAGAIN: eagain, syscall.EALREADY: 7, syscall.EBADF: ebadf, syscall.EBADMSG: 9, syscall.EBUSY: 10,
	syscall.ECANCELED: 11, syscall.ECHILD: 12, syscall.ECONNABORTED: 13, syscall.ECONNREFUSED: 14,
	syscall.ECONNRESET: 15, syscall.EDEADLK: 16, syscall.EDESTADDRREQ: 17, syscall.EDOM: 18, syscall.EDQUOT: 19,
	syscall.EEXIST: eexist, syscall.EFAULT: efault, syscall.EFBIG: efbig, syscall.EHOSTUNREACH: 23, syscall.EIDRM: 24,
	syscall.EILSEQ: eilseq, syscall.EINPROGRESS: 26, syscall.EINTR: 27, syscall.EINVAL: einval, syscall.EIO: eio,
	syscall.EISCONN: 30, syscall.EISDIR: eisdir, syscall.ELOOP: 32, syscall.EMFILE: emfile, syscall.EMLINK: 34,
	syscall.EMSGSIZE: 35, syscall.EMULTIHOP: 36, syscall.ENAMETOOLONG: enametoolong, syscall.ENETDOWN: 38,
	syscall.ENETRESET: 39, syscall.ENETUNREACH: 40, syscall.ENFILE: 41, syscall.ENOBUFS: 42, syscall.ENODEV: 43,
	syscall.ENOENT: enoent, syscall.ENOEXEC: 45, syscall.ENOLCK: 46, syscall.ENOLINK: 47, syscall.ENOMEM: 48,
	syscall.ENOMSG: 49, syscall.ENOPROTOOPT: enoprotoopt, syscall.ENOSPC: enospc, syscall.ENOSYS: enosys,
	syscall.ENOTCONN: enotconn, syscall.ENOTDIR: enotdir, syscall.ENOTEMPTY: 55, syscall.ENOTRECOVERABLE: 56,
	syscall.ENOTSOCK: enotsock, syscall.ENOTSUP: enotsup, syscall.ENOTTY: 59, syscall.ENXIO: enotsup,
	syscall.EOVERFLOW: eoverflow, syscall.EOWNERDEAD: 62, syscall.EPERM: eperm, syscall.EPIPE: 64, syscall.EPROTO: 65,
	syscall.EPROTONOSUPPORT: 66, syscall.EPROTOTYPE: 67, syscall.ERANGE: 68, syscall.EROFS: erofs,
	syscall.ESPIPE: espipe, syscall.ESRCH: 71, syscall.ESTALE: 72, syscall.ETIMEDOUT: 73, syscall.ETXTBSY: 74,
	syscall.EXDEV: 75,
}

// toErrno maps an error of the host. The end of a file is no error in WASI. ENXIO is what a FIFO without a reader, a
// socket or a device without a driver say when they are opened.
func toErrno(err error) Errno {
	if err == nil || errors.Is(err, io.EOF) {
		return esuccess
	}
	if host, ok := errors.AsType[syscall.Errno](err); ok {
		if n, ok := errnos[host]; ok {
			return n
		}
		return eio
	}
	switch {
	case errors.Is(err, fs.ErrClosed):
		return ebadf
	case errors.Is(err, fs.ErrNotExist):
		return enoent
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return eperm // os.Root's "path escapes from parent", which has no name
	}
	return eio
}
