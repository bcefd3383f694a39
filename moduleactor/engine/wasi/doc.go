// Package wasi is the host that guests of WASI preview 1 talk to: every function of wasi_snapshot_preview1, and of
// wasi_unstable, which preceded it. wazero only compiles; nothing of its own WASI is used.
//
//	Provide ──► host modules, once for each runtime       a call finds its guest in its context
//	New ──► Instance ──Context──► _start ──► Close        one guest: descriptors, arguments, clock
//
// An Instance has one thread, the guest's goroutine, which never blocks in a system call for long: whatever has to be waited
// for is waited for in Instance.wait, with Go's netpoller and timers, so that an idle guest costs neither a thread nor
// time. When the context ends, the call that waits, or the next call, leaves the guest by a panic with Stopped; wazero
// hands it to the caller of _start, like Exit.
//
// Descriptors (table.go) refer to objects of these kinds:
//
//	file      a regular file          file.go      listener  accepts connections          socket.go
//	dir       a directory             dir.go       stream    pipe, terminal, connection   stream.go
//	device    null, zero, full, ...   device.go    reader    any io.Reader, io.Writer     stdio.go
//
// They begin with 0, 1 and 2, then / (3, if there is one), then the listeners and connections that were handed in, then
// the signals.
package wasi
