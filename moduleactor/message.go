package moduleactor

import (
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// Spec is one container of one Pod, resolved as far as it can be without its image. It is immutable: a changed container
// is another Spec.
type Spec struct {
	Pod       actors.PodRef
	Container string
	FieldPath string // spec.containers{name}

	Image      string
	PullPolicy image.PullPolicy
	// Keys are the credentials of the Pod for registries. They are for the pull and go nowhere else.
	Keys image.Keys

	// Command and Args override the image's entrypoint and cmd as in Kubernetes, after $(VAR) expansion.
	Command, Args []string
	Env           []string // K=V, later ones win over the image's
	Hostname      string   // the value of HOSTNAME; empty: the Pod's name
	WorkingDir    string
	Mounts        []bundle.Mount
	Files         []bundle.File
	RootReadOnly  bool
	// Signals is SignalsFD or SignalsNone, whatever the image says; empty: as the image says.
	Signals string
	// Listeners are bound before the guest starts; one that cannot be is a RunContainerError.
	Listeners []bundle.Listener

	// Handler, if set, makes the container serve HTTP.
	Handler *bundle.Handler

	MemoryBytes   int64 // limit, 0 = none
	CPUMillicores int64 // limit, 0 = none

	// Shim is the shared shim that is to run it; empty: a process of its own.
	Shim string

	// LogDir is <podLogsDir>/<ns>_<pod>_<uid>/<container>; the attempt's file is <attempt>.log in it.
	LogDir string

	Stdin, StdinOnce, TTY bool // as in the container

	// Network is what the guest's own sockets may do; nil: there are none.
	Network *bundle.Network

	TerminationMessagePath   string
	TerminationMessagePolicy string // File or FallbackToLogsOnError
}

// Command is what a pod actor tells a module actor.
//
//sumtype:decl
type Command interface{ command() }

// Run starts an attempt; the first message a module actor acts on. A module actor that was just (re)started waits in
// Created for it.
type Run struct {
	Spec    Spec
	Attempt int
	// Adopt takes over the shim that already runs this attempt instead of starting one. If none runs any more, the
	// ending it left is reported as if it had been watched.
	Adopt bool
}

// Terminate ends the guest: SIGTERM to the shim, SIGKILL after Grace. A guest that can make no use of its grace
// (bundle.Spec.UsesGrace) has KillWait at most: a shim that is still there then is stuck. Before the guest runs it cancels
// the pull. Either way an Exit follows. Repeated, it can only shorten the grace. One that comes before Run is not for this
// attempt, and nothing follows.
type Terminate struct {
	Grace, KillWait time.Duration
}

func (Run) command()       {}
func (Terminate) command() {}

// Fact is what a module actor tells its pod actor. Endings are not facts: they come as actors.Exit to HandleFailure.
// Each names the container and the attempt, so that a late one is recognized.
//
//sumtype:decl
type Fact interface{ fact() }

// Pulling says that the image is being looked for, in a registry when Remote.
type Pulling struct {
	Container string
	Attempt   int
	Image     string
	Remote    bool
}

// Pulled says that the image is on this machine. ImageID is its digest reference, Size in bytes; Took is zero when it
// was present already. Waited is the part of Took that was spent waiting for a free slot.
type Pulled struct {
	Container      string
	Attempt        int
	Image, ImageID string
	Size           int64
	Present        bool
	Took, Waited   time.Duration
}

// Created says that the bundle is written and the module is compiled.
type Created struct {
	Container   string
	Attempt     int
	ContainerID string
}

// Started says that the guest's _start was entered.
type Started struct {
	Container            string
	Attempt              int
	ContainerID, ImageID string
	PID                  int
	StartedAt            time.Time
	Adopted              bool
}

func (Pulling) fact() {}
func (Pulled) fact()  {}
func (Created) fact() {}
func (Started) fact() {}
