package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
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

// ShimOverheadBytes is added to a container's memory limit for the cgroup of its shim: what the Go runtime, the engine
// and the compiled code take besides the guest's own memory.
const ShimOverheadBytes = 64 << 20

// InvalidModule is a module that can never be run here: the compiler refused it.
type InvalidModule struct{ Text string }

func (e *InvalidModule) Error() string { return e.Text }

// Clock is the part of k8s.io/utils/clock that is needed here; the shim does not link that.
type Clock interface{ Now() time.Time }

// Cgroups makes the cgroups of shims; *cgroup.Hierarchy does.
type Cgroups interface {
	// Dirs returns the directories of the cgroup called name ("a/b"), whether it exists or not.
	Dirs(name string) []string
	// Create makes the cgroup called name and sets its limits. It may exist.
	Create(name string, limits Limits) error
	// Usage reads what the processes of a cgroup have used so far; zero values where that cannot be known.
	Usage(dirs []string) Usage
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
	// LogsDir is the directory that all logs of shared shims' containers are below; empty: Root. A shared shim can write
	// nowhere but there, in Root and in CacheDir.
	LogsDir string
	// Heartbeat is how often shared shims are asked whether they live; 0 means 5 s. One that does not answer within four of
	// them is killed.
	Heartbeat time.Duration
	// SharedHostPaths are directories of the host that guests of shared shims can have volumes in, besides their Pods'.
	SharedHostPaths []string
	// SharedIdle is after how long without containers a shared shim is ended; 0 means 10 minutes.
	SharedIdle time.Duration
	// CompileTimeout bounds each compilation, from the compiler's start; 0 means no bound.
	CompileTimeout time.Duration
	// TableElements is what the GuestLimits of the specs will say: it is part of what is compiled.
	TableElements int
	// SharedMemoryBytes bounds the memory of each shared shim, where cgroups are writable; 0 means no bound.
	SharedMemoryBytes int64
	// CompileMemoryBytes bounds each compiler, where cgroups are writable; 0 means no bound.
	CompileMemoryBytes int64
	// Cgroups is nil where there are none: shims then run without limits of the kernel.
	Cgroups Cgroups
	// Clock is nil for the real one.
	Clock Clock
	// Warn is told of what went wrong without being anyone's failure: a *CgroupError (once), an exit.json that could not
	// be written. It is called from any goroutine and must not block. Nil: ignored.
	Warn func(error)
	// Refused is told of what was refused to a guest, once it runs: a connection, in the words of an Event. It is called
	// from any goroutine and must not block. Nil: ignored. What a shim had to say while there was no daemon comes once it is
	// adopted: the latest few.
	Refused func(spec Spec, text string)
	// Env is added to the environment of shims, which is otherwise all but empty.
	Env []string
}

func (c *Config) validate() error {
	var errs []error
	for _, p := range []struct{ field, path string }{
		{"root", c.Root}, {"shim", c.Shim}, {"cacheDir", c.CacheDir}, {"logsDir", cmp.Or(c.LogsDir, "/")},
	} {
		if err := validatePath(p.path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.field, err))
		}
	}
	for i, path := range c.SharedHostPaths {
		if err := validatePath(path); err != nil {
			errs = append(errs, fmt.Errorf("sharedHostPaths[%d]: %w", i, err))
		}
	}
	if c.MaxParallelCompiles < 0 {
		errs = append(errs, fmt.Errorf("maxParallelCompiles: want 0 or more (got %d)", c.MaxParallelCompiles))
	}
	if c.Heartbeat < 0 {
		errs = append(errs, fmt.Errorf("heartbeat: want 0 or more (got %s)", c.Heartbeat))
	}
	if c.SharedIdle < 0 {
		errs = append(errs, fmt.Errorf("sharedIdle: want 0 or more (got %s)", c.SharedIdle))
	}
	if c.CompileTimeout < 0 {
		errs = append(errs, fmt.Errorf("compileTimeout: want 0 or more (got %s)", c.CompileTimeout))
	}
	if c.TableElements < 0 || int64(c.TableElements) > math.MaxUint32 {
		errs = append(errs, fmt.Errorf("tableElements: want 0 to %d (got %d)", uint32(math.MaxUint32), c.TableElements))
	}
	if c.SharedMemoryBytes < 0 {
		errs = append(errs, fmt.Errorf("sharedMemoryBytes: want 0 or more (got %d)", c.SharedMemoryBytes))
	}
	if c.CompileMemoryBytes < 0 {
		errs = append(errs, fmt.Errorf("compileMemoryBytes: want 0 or more (got %d)", c.CompileMemoryBytes))
	}
	return errors.Join(errs...)
}

// CgroupError says that shims run without limits of the kernel, and why.
type CgroupError struct{ Err error }

func (e *CgroupError) Error() string { return "run shims without cgroup: " + e.Err.Error() }

func (e *CgroupError) Unwrap() error { return e.Err }

// ErrClosed is the answer of a Process whose Runtime was closed.
var ErrClosed = errors.New("runtime is closed")

// Runtime compiles modules and starts, adopts and watches shims. Its methods may be called from any goroutine.
type Runtime struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	compiles   chan struct{} // one token for each compiler that may run
	warnCgroup sync.Once

	mu       sync.Mutex
	live     map[ID]*Process
	shims    map[string]*shared // by name
	links    map[*link]struct{}
	flights  map[string]*flight // by marker
	identity shimIdentity

	// adoptFor is how long an attempt may be neither dead nor adoptable: a shim that is being started writes its pid first.
	adoptFor time.Duration
	// reached is told of each step of Start; tests kill the daemon there.
	reached func(step string)
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (r *Runtime) refused(p *Process, text string) {
	if r.cfg.Refused != nil && text != "" {
		r.cfg.Refused(p.spec, text)
	}
}

// New checks the configuration, makes the directories and clears what an interrupted removal left. The Runtime must be
// closed. It is an error on anything but Linux.
func New(cfg Config) (*Runtime, error) {
	if err := platform(); err != nil {
		return nil, err
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("runtime: %w", err)
	}
	if cfg.Clock == nil {
		cfg.Clock = realClock{}
	}
	cfg.LogsDir = cmp.Or(cfg.LogsDir, cfg.Root)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, defaultHeartbeat)
	cfg.SharedIdle = cmp.Or(cfg.SharedIdle, defaultSharedIdle)
	for _, d := range []string{PodsDir(cfg.Root), cfg.CacheDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if err := RemoveTree(trashDir(cfg.Root)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Runtime{
		cfg: cfg, ctx: ctx, cancel: cancel,
		compiles: make(chan struct{}, max(1, cfg.MaxParallelCompiles)),
		live:     map[ID]*Process{}, flights: map[string]*flight{},
		shims: map[string]*shared{}, links: map[*link]struct{}{},
		adoptFor: 30 * time.Second, reached: func(string) {},
	}
	r.wg.Go(r.findShims)
	return r, nil
}

// Close stops watching shims and ends compilers. Shims go on running. Processes answer with ErrClosed.
func (r *Runtime) Close() error {
	r.mu.Lock()
	r.cancel()
	for _, p := range r.live {
		p.release()
	}
	for l := range r.links {
		l.release()
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

// Adopt opens the bundle of an attempt, started by this daemon or by an earlier one, alive or not. An attempt found dead
// without an exit.json gets one. It may block for moments while the shim is just being started, and obeys ctx.
// fs.ErrNotExist: there is no such attempt. ErrBusy: nothing could be done with it for half a minute, which is also a warning,
// since somebody else holds its lock.
func (r *Runtime) Adopt(ctx context.Context, id ID) (*Process, error) {
	dir, err := Dir(r.cfg.Root, id)
	if err != nil {
		return nil, err
	}
	t, late := time.NewTicker(pollEvery), time.NewTimer(r.adoptFor)
	defer t.Stop()
	defer late.Stop()
	for {
		p, err := r.adopt(dir, id)
		if !errors.Is(err, ErrBusy) {
			return p, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("adopt %s: %w: %w", id, err, context.Cause(ctx))
		case <-late.C:
			err = fmt.Errorf("adopt %s: %w; for %s some process has held %s without being its shim", id, err, r.adoptFor, filepath.Join(dir, LockFile))
			r.warn(err)
			return nil, err
		case <-t.C:
		}
	}
}

// adopt is one try. ErrBusy: the attempt is between life and death, or between fork and pid file.
func (r *Runtime) adopt(dir string, id ID) (*Process, error) {
	if p := r.lookup(id); p != nil {
		return p, nil
	}
	spec, err := readOwnSpec(dir, id)
	if spec.Version == 0 {
		return nil, fmt.Errorf("adopt %s: %w", id, err)
	}
	if err != nil {
		r.warn(fmt.Errorf("adopt %s: %w", id, err))
	}
	lock, err := takeLock(dir)
	if err == nil {
		defer lock.Close()
		e := r.settleFound(dir, spec)
		return endedProcess(r, dir, spec, e), nil
	}
	if !errors.Is(err, ErrBusy) {
		return nil, fmt.Errorf("adopt %s: %w", id, err)
	}
	if spec.Shim == "" { // or spec.json is damaged
		if st, err := ReadState(dir); err == nil {
			spec.Shim = st.Shim
		}
	}
	if spec.Shim != "" {
		return r.adoptShared(newProcess(r, dir, spec))
	}
	who, err := readPID(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	pidfd, err := openPidfd(who)
	if err != nil {
		return nil, fmt.Errorf("%w: process %d: %w", ErrBusy, who.pid, err)
	}
	p := newProcess(r, dir, spec)
	p.pid, p.pidfd = who.pid, pidfd
	p.loadState()
	return r.watch(p)
}

// settleFound is settle for an attempt that was found dead; the caller holds its lock.
func (r *Runtime) settleFound(dir string, spec Spec) Exit {
	e, err := settle(dir, death{usage: r.usage(spec.Cgroups), at: r.now()})
	if err != nil {
		r.warn(fmt.Errorf("record the end of %s: %w", spec.ID(), err))
	}
	r.removeCgroups(r.cgroupsOf(spec))
	return e
}

// readOwnSpec reads the spec of an attempt. A damaged one, reported as error, must not strand a running guest: it is
// replaced by one that has the ID alone. Version is 0 only when there is no spec.json.
func readOwnSpec(dir string, id ID) (Spec, error) {
	s, err := ReadSpec(dir)
	if err == nil && s.ID() != id {
		err = fmt.Errorf("%s: is of attempt %s", filepath.Join(dir, SpecFile), s.ID())
	}
	if err == nil {
		return s, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return Spec{}, err
	}
	return Spec{Version: SpecVersion, PodUID: id.PodUID, Container: id.Container, Attempt: id.Attempt}, err
}

// watch registers a live process and starts its goroutine. Who came second gets the process of who came first.
func (r *Runtime) watch(p *Process) (*Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first := r.live[p.id]; first != nil || r.ctx.Err() != nil {
		p.closeFiles()
		if first == nil {
			return nil, ErrClosed
		}
		return first, nil
	}
	r.live[p.id] = p
	r.wg.Go(p.run)
	return p, nil
}

func (r *Runtime) lookup(id ID) *Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[id]
}

func (r *Runtime) forget(p *Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, p.id)
}

func (r *Runtime) unlink(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.links, l)
}

// lockDead takes the lock of an attempt whose shim is dead. Someone else may hold it for moments: a Scan, or a child
// between fork and exec that inherited it.
func (r *Runtime) lockDead(dir string) (*os.File, error) {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for {
		lock, err := takeLock(dir)
		if !errors.Is(err, ErrBusy) {
			return lock, err
		}
		select {
		case <-r.ctx.Done():
			return nil, ErrClosed
		case <-t.C:
		}
	}
}

// now is the time as it will be read back from a file.
func (r *Runtime) now() time.Time { return r.cfg.Clock.Now().UTC().Round(0) }

func (r *Runtime) usage(dirs []string) Usage {
	if r.cfg.Cgroups == nil || len(dirs) == 0 {
		return Usage{}
	}
	return r.cfg.Cgroups.Usage(dirs)
}

// cgroupsOf are the cgroups of an attempt: its process's, or those of the commands that ran beside its guest, of which a
// daemon that was killed may have left an empty one.
func (r *Runtime) cgroupsOf(s Spec) []string {
	if s.Shim != "" && r.cfg.Cgroups != nil {
		return r.cfg.Cgroups.Dirs(cgroupName(s.ID()))
	}
	return s.Cgroups
}

func (r *Runtime) removeCgroups(dirs []string) {
	if r.cfg.Cgroups == nil || len(dirs) == 0 {
		return
	}
	if err := r.cfg.Cgroups.Remove(dirs); err != nil {
		r.warn(fmt.Errorf("remove cgroup: %w", err))
	}
}

func (r *Runtime) warn(err error) {
	if r.cfg.Warn != nil {
		r.cfg.Warn(err)
	}
}
