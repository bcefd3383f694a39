// Package rootfs is the file system of a guest: a directory of the host as /, with other directories and files mounted
// into it, each read-only or not. Whatever the guest does, it stays inside: every path is resolved by os.Root below the
// directory that it starts at, so that symbolic links (those that are there and those that the guest makes), "..", and
// renames that race with a lookup cannot lead out. wazero's own directory mounts give no such promise; the tests of
// package engine show how a guest leaves them.
//
//	FS ──Root──► Dir ──Open──► File, Dir      a Dir is what a guest's descriptor of a directory refers to: paths are
//	                                          relative to it, follow it when it is renamed, and do not lead out of it
//
// What is not a regular file or a directory (FIFO, device, socket) can be listed but not opened. Symbolic links do not
// lead from one mount into another, and absolute ones lead nowhere. Errors are those of the system calls, syscall.Errno;
// any other is os.Root's "path escapes from parent".
package rootfs
