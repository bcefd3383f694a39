// Package moduleactor pulls, compiles and runs the wasm module of one container.
package moduleactor
