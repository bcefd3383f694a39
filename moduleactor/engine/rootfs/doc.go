// Package rootfs is the file system of a guest: a directory of the host as /, with other directories and files mounted
// into it, each read-only or not. Whatever the guest does, it stays inside: every path is resolved by os.Root below the
// directory it is mounted from, so that symbolic links (those that are there and those that the guest makes), "..", and
// renames that race with a lookup cannot lead out. wazero's own directory mounts give no such promise; the tests of
// package engine show how a guest leaves them.
//
// What is not a regular file or a directory (FIFO, device, socket) can be listed but not opened. Symbolic links do not
// lead from one mount into another, and absolute ones lead nowhere.
package rootfs
