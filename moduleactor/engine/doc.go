// Package engine compiles and runs WebAssembly modules with WASI preview 1 under wazero. Only wazlet-shim links it: a guest
// that spins stops every goroutine of its process at the next garbage collection, so no daemon may run one.
//
// Load compiles a module, or takes it from the cache of compiled modules. Program.Run runs it once, from _start to its
// end, and says how it ended. The end of its context stops a guest that calls the host, and above all one that waits.
//
//	Load ──► Program ──Run──► Result
//	  │                         Completed   _start returned or proc_exit(0)
//	  │                         Error       proc_exit(n), n != 0: code n & 0xff
//	  │                         Trap        134, the trap's text and the wasm stack
//	  │                         OOMKilled   a trap (137) or proc_exit(n) (n) while memory.grow was refused at the limit
//	  │                         Stopped     143, or what the Stop says which ended the context
//	  └─► *InvalidModule        StartError  128: no _start, unknown imports, memory above the limit, ...
package engine
