// Package logs writes and reads container logs in CRI format: one line for each line of output,
//
//	2026-11-21T20:00:00.123456789Z stdout F hello
//
// with P instead of F when the line goes on in the next entry of its stream. The shim writes, the daemon reads; the file
// is all they share.
package logs
