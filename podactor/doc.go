// Package podactor supervises the containers of one Pod.
//
// A pod actor is the child of the node actor and the parent of one module actor for each container. It is its own
// supervisor strategy: every ending of a container's attempt comes to HandleFailure as an actors.Exit, and actors.Decide
// says what becomes of it.
//
//	Admitting ---------> Rejected ------------------------------------.
//	    |                                                             |
//	    v                                                             |
//	Preparing <--------- recovered after a crash or a new daemon      |
//	    |    \               ^        ^          ^                    |
//	    |     `-------.      |        |          |                    |
//	    v              v     |        |          |                    v
//	Initializing <-> Running-'        |      Terminating ---------> Ended
//	    |               |             |       ^    |   ^   deleted and
//	    `---------------+-------------'-------'    |   |   nothing left
//	      deleted, over, failed, too late          v   |
//	                                            Finished  over, and not deleted yet
//
// A container goes Idle, then through the module actor's own states (Created, Pulling, Preparing, Starting, Running), and
// from an ending to its next attempt at once, to BackOff, or to Exited for good.
//
// The decisions are a pure function, step(state, event, now) -> (state, effects), in machine.go and one file for each
// feature. The actor feeds it and carries the effects out: it spawns and restarts module actors, sets timers, runs what
// may block in workers, tells the node actor the derived status, and writes checkpoints.
//
// What it does with a guest is decided by these rules:
//
//   - Stopping a pod actor, or its crash, ends no guest. Whoever comes next, in this daemon or in the next one, finds the
//     attempts on disk and adopts what is alive. Only the effect kill ends a guest.
//   - Nothing is started once the Pod is deleted or has its outcome, whatever timer or worker comes late: timers and
//     workers carry generations.
//   - An attempt has a number, used once: the container's restartCount, the name of its bundle and of its log.
package podactor
