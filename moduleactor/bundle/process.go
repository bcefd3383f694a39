package bundle

import (
	"context"
	"errors"
)

// Process is one attempt, running or ended. Its methods may be called from any goroutine.
type Process struct {
	spec Spec
}

// Started blocks until the guest's _start is entered or the attempt has ended; ok is false when it ended without having
// entered it.
func (p *Process) Started(ctx context.Context) (state State, ok bool, err error) {
	return State{}, false, errors.New("not yet")
}

// Wait blocks until the attempt has ended. Called again it returns the same. Giving up (ctx) does not end the guest.
func (p *Process) Wait(ctx context.Context) (Exit, error) { return Exit{}, errors.New("not yet") }

// Signal sends SIGTERM, or SIGKILL when kill. To a process that has ended it does nothing.
func (p *Process) Signal(kill bool) error { return errors.New("not yet") }

// Spec is the attempt's spec as it was started.
func (p *Process) Spec() Spec { return p.spec }

// PID is the shim's process ID; 0 when the attempt had ended before it was adopted.
func (p *Process) PID() int { return 0 }
