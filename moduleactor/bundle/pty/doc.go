// Package pty opens pseudo-terminals. A guest that has one gets the kernel's line discipline: echo, editing, CRLF, ^C
// and ^D.
package pty

// Size is a terminal's size in characters.
type Size struct{ Columns, Rows uint16 }
