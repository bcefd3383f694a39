package actors

import "time"

// Exit is how one attempt to run a module ended. Every ending, exit code 0 included, reaches the pod actor's
// HandleFailure as an Exit (ADR D6); nothing else does, except a Crash.
//
// It carries everything that the pod must know of the attempt, because a failure overtakes messages that its sender
// sent before it (notes/protoactor.md §3, pitfall 16).
type Exit struct {
	// Reason is one of the terminated reasons, or a waiting reason when NotStarted.
	Reason Reason
	// Code is the guest's exit code: proc_exit's argument & 0xff, 134 for a trap, 137 for SIGKILL, 143 for SIGTERM,
	// 128 for a module that cannot be instantiated. Undefined when NotStarted.
	Code int32
	// Message is for people: the trap with its wasm stack, or the error of the pull.
	Message string
	// NotStarted says that the guest never ran: the pull or the creation failed. Such an ending is retried whatever
	// the restart policy says, and does not count as a restart.
	NotStarted bool
	// Attempt is the number of the attempt that ended, which is the container's restartCount.
	Attempt int
	// StartedAt is zero when NotStarted.
	StartedAt, FinishedAt time.Time
	// ContainerID and ImageID are as in a container status; empty when unknown.
	ContainerID, ImageID string
	// PeakMemory is in bytes, CPUTime the guest's whole consumption; zero when unknown.
	PeakMemory uint64
	CPUTime    time.Duration
}

// Failed tells whether a Transient child must be restarted after x.
func (x Exit) Failed() bool { return x.NotStarted || x.Code != 0 }

// Crash is a panic of an actor, that is a bug of ours; Guard makes it. It is never an outcome of a guest.
type Crash struct {
	// Value is what was panicked with, Message the type of the message being handled, Stack the goroutine's.
	Value   any
	Message string
	Stack   string
}
