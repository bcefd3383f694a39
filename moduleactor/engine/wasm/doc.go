// Package wasm reads the outside of a WebAssembly binary: what it is, what it imports and exports, how much memory it
// wants, and whether this node can run it. It does not look into function bodies; only `wazlet-shim compile` does. It
// links no engine, so that the CLI and the image store may use it.
package wasm
