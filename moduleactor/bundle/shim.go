package bundle

import (
	"errors"
	"os"
	"time"
)

// Attempt is the shim's own side of a bundle. One goroutine uses it.
type Attempt struct {
	dir   string
	spec  Spec
	lock  *os.File
	ready *os.File
}

// Attach is the first thing a shim does: it makes sure that this process is the one incarnation of the attempt in dir
// (fd 3 is its locked lock file, or, when the shim was started by hand, the lock can be taken), refuses an attempt that
// has an exit.json, writes the pid file, keeps fds 3 and 4 from leaking further, and reads the spec. ErrBusy and
// ErrExists can be matched. After an error nothing was changed and the shim should exit with a message on stderr.
func Attach(dir string) (*Attempt, error) { return nil, errors.New("not yet") }

// Spec is the attempt's spec.
func (a *Attempt) Spec() Spec { return a.spec }

// JoinCgroups moves this process into the cgroups of the spec.
func (a *Attempt) JoinCgroups() error { return errors.New("not yet") }

// Started writes state.json and then tells the daemon that _start is about to be entered.
func (a *Attempt) Started(at time.Time) error { return errors.New("not yet") }

// End writes exit.json, filling in the process's CPU time when it is 0. The lock stays held until the process exits.
func (a *Attempt) End(e Exit) error { return errors.New("not yet") }
