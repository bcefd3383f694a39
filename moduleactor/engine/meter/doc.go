// Package meter rewrites a wasm module so that the node stays its master. wazero's machine code cannot be preempted: a
// guest that computes without end would stop the garbage collector, and with it every goroutine of the process, and no
// context could end it. So a rewritten guest counts down wherever it might go on without end, and calls the host when it
// reaches zero. There the host ends it, lets it wait, or looks at the CPU time that it used.
//
//	loop header, function entry     -1, and 1 more for each 128 instructions of the loop or function
//	function entry                  or for each 64 bytes that its stack frame may have, if that is more
//	call of an imported function,   -64: the time is spent in the host
//	memory.grow, table.grow
//	memory.fill, copy, init, ...    -1 for each 32 bytes or elements
//
//	countdown < 0  ──► a function of ours ──► import wazlet.tick, which returns the next countdown
//
// A light function is not charged when it is entered: it has at most 128 instructions outside of loops and calls no function
// of the module, so that its caller is charged for it like for instructions of its own, and there is one on the stack at most.
//
// The countdown is a global of the module, appended to its own; the imported function is the last import, which moves the
// index of every function of the module by one. The guest can name neither: indices that it did not have are refused here,
// since they would mean something after the rewriting.
//
// So the host sees a guest whose calls are nested too deeply before it has put more than some 4 MB on the stack since the
// last look.
//
// Besides, Rewrite caps the tables, which no memory limit counts, and merges data segments: a Go program has 25,000, each
// of which costs time and memory at every start.
//
// The result is valid if the module was: Rewrite does not check types, wazero does when it compiles the result. It decodes
// instructions exactly as wazero 1.12 does, and refuses what the two might read differently. What it writes is at most
// some fifteen times as large as what it read, and it takes time in proportion.
package meter
