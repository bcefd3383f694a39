package bundle

import (
	"context"
	"errors"
	"time"
)

// ID names one attempt.
type ID struct {
	PodUID, Container string
	Attempt           int
}

// Limits are what the kernel enforces on a shim.
type Limits struct {
	// MemoryBytes and CPUMillicores are the container's limits; 0 is none.
	MemoryBytes, CPUMillicores int64
}

// InvalidModule is a module that can never be run here: the compiler refused it.
type InvalidModule struct{ Text string }

func (e *InvalidModule) Error() string { return e.Text }

// Clock is the part of k8s.io/utils/clock that is needed here; the shim does not link that.
type Clock interface{ Now() time.Time }

// Cgroups makes the cgroups of shims; *cgroup.Hierarchy does.
type Cgroups interface {
	// Create makes the cgroup called name ("a/b") with limits as given and returns its directories.
	Create(name string, limits Limits) ([]string, error)
	// Usage reads what the processes of a cgroup have used so far.
	Usage(dirs []string) (Usage, error)
	// Remove removes an empty cgroup. One that is gone is no error.
	Remove(dirs []string) error
}

// Usage is what a cgroup counted.
type Usage struct {
	OOMKills        uint64
	PeakMemoryBytes uint64
	CPUTime         time.Duration
}

// Config is what a Runtime needs.
type Config struct {
	// Root is the node's state directory; bundles are below Root/pods.
	Root string
	// Shim is the path of wazlet-shim.
	Shim string
	// CacheDir is where compiled modules are kept.
	CacheDir string
	// MaxParallelCompiles bounds the compilers that run at once; 0 means 1.
	MaxParallelCompiles int
	// CompileMemoryBytes bounds each compiler, where cgroups are writable; 0 means no bound.
	CompileMemoryBytes int64
	// Cgroups is nil where there are none: shims then run without limits of the kernel.
	Cgroups Cgroups
	// Clock is nil for the real one.
	Clock Clock
	// Warn is told of what went wrong without being anyone's failure: a *CgroupError (once), an exit.json that could not
	// be written. It must not block. Nil: ignored.
	Warn func(error)
	// Env is added to the environment of shims, which is otherwise all but empty.
	Env []string
}

// CgroupError says that shims run without limits of the kernel, and why.
type CgroupError struct{ Err error }

func (e *CgroupError) Error() string { return "run shims without cgroup: " + e.Err.Error() }

func (e *CgroupError) Unwrap() error { return e.Err }

// Runtime compiles modules and starts, adopts and watches shims. Its methods may be called from any goroutine.
type Runtime struct {
	cfg Config
}

// New checks the configuration and clears what an interrupted removal left. The Runtime must be closed.
func New(cfg Config) (*Runtime, error) { return &Runtime{cfg: cfg}, nil }

// Close stops watching shims and ends compilers. Shims go on running. Processes answer with ErrClosed.
func (r *Runtime) Close() error { return errors.New("not yet") }

// ErrClosed is the answer of a Process whose Runtime was closed.
var ErrClosed = errors.New("runtime is closed")

// Compile fills the compile cache for a module in a process of its own, unless it was done before: one at a time for
// each digest, bounded in number. It blocks and obeys ctx. An *InvalidModule is the module's fault.
func (r *Runtime) Compile(ctx context.Context, module, digest string) error {
	return errors.New("not yet")
}

// Start writes the attempt's bundle and starts its shim. The directory may exist (its rootfs is made before); ErrExists
// says that the attempt was started already, ErrBusy that another attempt of the container still runs. After an error
// there is no spec.json, so the attempt can be started again.
func (r *Runtime) Start(ctx context.Context, spec Spec, limits Limits) (*Process, error) {
	return nil, errors.New("not yet")
}

// Adopt opens the bundle of an attempt, started by this daemon or by an earlier one, alive or not. An attempt found dead
// without an exit.json gets one. fs.ErrNotExist: there is no such attempt.
func (r *Runtime) Adopt(ctx context.Context, id ID) (*Process, error) {
	return nil, errors.New("not yet")
}
