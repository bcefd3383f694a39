// Package moduleactor pulls, compiles and runs the wasm module of one container.
//
// A module actor is the child of a pod actor. It waits in Created for a Run, carries one attempt through the states below,
// and then fails on purpose with an actors.Exit, so that every ending reaches its supervisor the same way (ADR D6). The
// supervisor restarts it for the next attempt, or stops it.
//
//	          Run                pulled              prepared
//	Created ----------> Pulling ----------> Preparing ----------> Starting --.
//	   |                   |                    |                  ^   |     | _start entered
//	   | Run{Adopt}        |                    |                  |   |     v
//	   '-------------------|--------------------|------------------'   |  Running
//	                       | no image,          | no module,           |     |
//	                       | Terminate          | no bundle, Terminate |     | process ended
//	                       v                    v                      v     v
//	Exited <-----------------------------------------------------------------'
//
// Created is also the state of an actor that was just restarted. Exited is final: it is left by a restart only.
//
// Work that blocks (pull, compile, copy, start, wait) runs in one worker at a time. A worker's result comes back as a
// message that carries the actor's epoch, so that nothing of an earlier incarnation is ever believed.
//
// Letting go and ending are different things. Stopping or restarting the actor lets go: the worker is cancelled, the guest
// lives on in its shim and can be adopted (ADR D3). Only Terminate ends a guest. While a shim is being started it cannot
// be signalled yet; a Terminate that arrives then is remembered and carried out as soon as the process exists.
package moduleactor
