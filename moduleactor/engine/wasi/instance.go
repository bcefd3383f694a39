package wasi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// Exit is what proc_exit panics with.
type Exit uint32

func (e Exit) Error() string { return fmt.Sprintf("exit status %d", uint32(e)) }

// Stopped is what a call panics with when the instance's context has ended.
type Stopped struct{}

func (Stopped) Error() string { return "stopped" }

// What a guest has without a limit of its own: the descriptors that it may have open, the entries of a directory that are
// in memory at a time, and what one poll_oneoff can wait for.
const (
	DefaultMaxFiles         = 1024
	DefaultDirectoryEntries = 128
	DefaultMaxSubscriptions = 4096
)

// Preopen is a listener or a connection that the guest finds open.
type Preopen struct {
	// Name tells it from others, in LISTEN_FDNAMES; it has no colon.
	Name string
	// File is a socket, listening or connected. The guest has its own copy of it; the caller closes this one.
	File *os.File
}

// Config is what an instance is made of.
type Config struct {
	// Args is argv; Env holds K=V.
	Args, Env []string
	// Stdin is empty if nil; Stdout and Stderr are dropped if nil. An *os.File that is a pipe, a socket, or was opened
	// nonblocking is waited for by Go's netpoller. Any other Stdin is read by one goroutine, from the guest's first attempt
	// on and until it returns an error; any other Stdout or Stderr must not block for long. None is closed.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Root is the guest's /; nil: it has no files. TerminationLog is opened as /dev/termination-log, unless something is
	// mounted there.
	Root *rootfs.FS
	// Preopens are the sockets that the guest finds open. Their descriptors follow those of the directories, which
	// libraries look for from 3 on. LISTEN_FDS and LISTEN_FDNAMES are set as systemd does it, and WAZLET_LISTEN_FDS_START
	// is the first, which is 3 without a root and 4 with it.
	Preopens []Preopen
	// Signals, if set, makes a descriptor, its number in WAZLET_SIGNAL_FD, that yields a byte for each signal.
	Signals <-chan byte
	// Network, if set, lets the guest open sockets itself, with the functions of WasmEdge's extension; nil: EACCES.
	Network *Network
	// Drain, if set, can ask the guest to finish. It is for this instance alone.
	Drain *Drain
	// MaxFiles limits the descriptors; 0 means DefaultMaxFiles.
	MaxFiles int
	// OutputBytesPerSecond makes the guest wait when it prints more, on Stdout and Stderr together; 0 means no limit.
	OutputBytesPerSecond int64
	// DirectoryEntries is how many entries of a directory are in memory at a time; 0 means DefaultDirectoryEntries.
	DirectoryEntries int
	// MaxSubscriptions is how much one poll_oneoff can wait for; 0 means DefaultMaxSubscriptions.
	MaxSubscriptions int
	// NoMemory is set for a module without a memory.
	NoMemory bool
	// Pause and Resume, if set, are called around each wait, by the guest's goroutine.
	Pause, Resume func()
}

// Instance is what one guest has open. Only its goroutine uses it, but for the stop.
type Instance struct {
	args, env [][]byte
	table     table
	// window is the configuration's DirectoryEntries, maxPoll its MaxSubscriptions.
	window, maxPoll int
	net             network
	drain           *Drain
	ctx             context.Context //nolint:containedctx // the guest's life, for what takes one
	start           time.Time
	done            <-chan struct{}
	stopped         atomic.Bool
	closed          chan struct{}
	wake            chan struct{}
	timer           *time.Timer
	noMemory        bool
	endWatch        func() bool
	// pause and resume are Config's.
	pause, resume func()
}

// New makes an instance. The error names what of the configuration it cannot use.
func New(cfg Config) (*Instance, error) {
	in := &Instance{
		// Some guests take a monotonic time of 0 for "not set".
		start: time.Now().Add(-time.Second), closed: make(chan struct{}), wake: make(chan struct{}, 1), noMemory: cfg.NoMemory,
		pause: cfg.Pause, resume: cfg.Resume,
		window: orDefault(cfg.DirectoryEntries, DefaultDirectoryEntries), maxPoll: orDefault(cfg.MaxSubscriptions, DefaultMaxSubscriptions),
	}
	in.table.limit = orDefault(cfg.MaxFiles, DefaultMaxFiles)
	if in.drain = cfg.Drain; in.drain == nil {
		in.drain = &Drain{}
	}
	in.drain.onBegin(in.wakeUp)
	if cfg.Network != nil {
		in.net = network{Network: *cfg.Network, there: true}
	}
	env, err := in.open(cfg)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	in.args, in.env = terminated(cfg.Args), terminated(slices.Concat(cfg.Env, env))
	return in, nil
}

func orDefault(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// open opens the first descriptors and returns the environment that tells of them.
func (in *Instance) open(cfg Config) (env []string, err error) {
	output := stdout
	if cfg.OutputBytesPerSecond > 0 {
		p := newPace(cfg.OutputBytesPerSecond)
		output = func(w io.Writer) (object, error) {
			o, err := stdout(w)
			return withPace(o, p), err
		}
	}
	for _, o := range []struct {
		name string
		open func() (object, error)
	}{
		{"stdin", func() (object, error) { return in.stdin(cfg.Stdin) }},
		{"stdout", func() (object, error) { return output(cfg.Stdout) }},
		{"stderr", func() (object, error) { return output(cfg.Stderr) }},
	} {
		obj, err := o.open()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
		in.table.add(obj)
	}
	in.table.stdio = [3]object{in.table.list[0].object, in.table.list[1].object, in.table.list[2].object}
	if cfg.Root != nil {
		root, err := cfg.Root.Root()
		if err != nil {
			return nil, fmt.Errorf("open the root: %w", err)
		}
		in.table.add(&dir{dir: root}) // which is not used here: it may be opened later
		d := in.table.list[len(in.table.list)-1]
		d.inheriting, d.preopen = dirRights|fileRights|socketRights|listenerRights, "/"
	}
	if env, err = in.preopen(cfg.Preopens); err != nil {
		return nil, err
	}
	if cfg.Signals != nil {
		env = append(env, "WAZLET_SIGNAL_FD="+strconv.Itoa(len(in.table.list)))
		in.table.hand(newPump(&signals{from: cfg.Signals, closed: in.closed}))
	}
	return env, nil
}

// Context returns a context for the guest's functions. When ctx ends, the guest's current or next call of the host ends it.
func (in *Instance) Context(ctx context.Context) context.Context {
	in.ctx, in.done = ctx, ctx.Done()
	in.endWatch = context.AfterFunc(ctx, func() { in.stopped.Store(true) })
	return &guestContext{Context: ctx, in: in}
}

// Close closes everything that the guest has open. It must have ended.
func (in *Instance) Close() error {
	if in.endWatch != nil {
		in.endWatch()
	}
	close(in.closed)
	return in.table.close()
}

// guestContext hands the instance to the host's functions.
type guestContext struct {
	context.Context //nolint:containedctx // it is one
	in              *Instance
}

type instanceKey struct{}

// Value implements context.Context.
func (c *guestContext) Value(key any) any {
	if _, ok := key.(instanceKey); ok {
		return c.in
	}
	return c.Context.Value(key)
}

// instanceOf finds the guest that calls; whoever has wrapped its context makes that a little slower.
func instanceOf(ctx context.Context) *Instance {
	if c, ok := ctx.(*guestContext); ok {
		return c.in
	}
	in, ok := ctx.Value(instanceKey{}).(*Instance)
	if !ok {
		panic(errors.New("a function of WASI was called outside Instance.Context"))
	}
	return in
}

// check leaves the guest if it is to stop.
func (in *Instance) check() {
	if in.stopped.Load() {
		panic(Stopped{})
	}
}

// terminated makes C strings: what follows a NUL is cut off.
func terminated(list []string) [][]byte {
	out := make([][]byte, len(list))
	for i, s := range list {
		s, _, _ = strings.Cut(s, "\x00")
		out[i] = append([]byte(s), 0)
	}
	return out
}
