package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wazlet/wazlet/moduleactor/engine/meter"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// Exit codes that the engine gives; those of a shell and of Kubernetes for the same things.
const (
	CodeStartError = 128
	CodeTrap       = 134 // 128 + SIGABRT
	CodeOOMKilled  = 137 // 128 + SIGKILL
	CodeStopped    = 143 // 128 + SIGTERM
)

// Reason is why a guest ended, in the words of exit.json.
type Reason string

// The reasons that the engine gives.
const (
	Completed  Reason = "Completed"
	Error      Reason = "Error"
	Trap       Reason = "Trap"
	StartError Reason = "StartError"
	OOMKilled  Reason = "OOMKilled"
	Stopped    Reason = "Stopped"
)

// MaxMessage bounds Result.Message, in bytes.
const MaxMessage = 4096

// Guest is one run of a Program.
type Guest struct {
	// Args is argv, argv[0] included; Env holds K=V.
	Args, Env []string
	// Stdin is empty if nil; Stdout and Stderr are dropped if nil. An *os.File is waited for by Go's netpoller if it is a
	// pipe or a socket, or was opened nonblocking. Any other Stdin is read by a goroutine of its own; any other Stdout and
	// Stderr must not block for long, and get slices of the guest's memory: they must not keep them.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Root is the guest's /; nil: it has no files.
	Root *rootfs.FS
	// Preopens are listeners and connections that the guest finds open. Their descriptors follow that of Root, which is 3;
	// the guest's environment has LISTEN_FDS and LISTEN_FDNAMES, and their first number in WAZLET_LISTEN_FDS_START.
	Preopens []wasi.Preopen
	// Signals, if set, gives the guest a descriptor, its number in WAZLET_SIGNAL_FD, that yields one byte for each signal
	// sent here. The channel should be buffered: a guest that does not look takes one.
	Signals <-chan byte
	// Drain, if set, can ask the guest to finish what its clients have begun.
	Drain *wasi.Drain
	// Network, if set, lets the guest open sockets itself, by WasmEdge's extension of WASI.
	Network *wasi.Network
	// MaxFiles limits the open descriptors; 0 means wasi.DefaultMaxFiles.
	MaxFiles int
	// OutputBytesPerSecond makes the guest wait when it prints more; 0 means no limit.
	OutputBytesPerSecond int64
	// DirectoryEntries is how many entries of a directory are in memory at a time; 0 means wasi.DefaultDirectoryEntries.
	DirectoryEntries int
	// MaxSubscriptions is how much one poll_oneoff can wait for; 0 means wasi.DefaultMaxSubscriptions.
	MaxSubscriptions int
	// MaxStack bounds the stack of a metered guest's calls, in bytes; 0 means DefaultMaxStack.
	MaxStack int64
	// Memory is the guest's memory; nil means NewMemory(0).
	Memory *Memory
	// CPU, if set, counts the CPU time of a metered guest. CPUMillicores holds a metered guest to so many thousandths of a
	// CPU; 0 is no limit.
	CPU           *CPU
	CPUMillicores int64
	// Entered, if set, is called right before _start is. An error is a StartError.
	Entered func() error
}

// Result is how a guest ended.
type Result struct {
	Code    int32
	Reason  Reason
	Message string
}

// Stop is a cause for the context of Run to end (context.WithCancelCause): it says how the guest is to have ended.
type Stop struct{ Result Result }

func (s *Stop) Error() string { return fmt.Sprintf("%s: %s", s.Result.Reason, s.Result.Message) }

// Run runs the program to its end, in this goroutine. When ctx ends, whatever the guest waits for ends at once, and so does
// the guest; one that computes without calling the host goes on, unless it is metered. The result is then that of the Stop which is the
// context's cause, otherwise CodeStopped and the reason Stopped. The guest's memory is given back when Run returns.
func (p *Program) Run(ctx context.Context, g Guest) Result {
	if g.Memory == nil {
		g.Memory = NewMemory(0)
	}
	res := startError("")
	if err := p.canRun(ctx, g.Memory); err != nil {
		res.Message = err.Error()
	} else {
		res = p.run(ctx, &g, nil)
	}
	if err := g.Memory.close(); err != nil && res.Message == "" {
		res.Message = err.Error()
	}
	res.Message = clip(res.Message)
	return res
}

// canRun looks for what makes every guest of the program impossible that has such a memory.
func (p *Program) canRun(ctx context.Context, m *Memory) error {
	if problems := p.module.Check(m.asked); len(problems) > 0 {
		return errors.New("the module cannot run here: " + strings.Join(problems, "; "))
	}
	return p.provide(ctx)
}

// run runs a guest in the instance, or in a new one if it is nil. What is in the frames from here to the guest's code is what
// a guest that waits has on its stack: a shared shim has thousands of these, so there is as little as possible.
func (p *Program) run(ctx context.Context, g *Guest, instance api.Module) Result {
	ctx, host, q, err := p.host(ctx, g)
	if q != nil {
		defer q.pause()
	}
	if err != nil {
		return startError(err.Error())
	}
	defer func() { _ = host.Close() }() // closes the guest's files; nothing is left to do with an error
	if instance == nil {
		if instance, err = p.instantiate(ctx, g.Memory); instance != nil {
			defer func() { _ = instance.Close(ctx) }()
		}
	}
	if err == nil && p.metered {
		_, err = call(ctx, instance.ExportedFunction(meter.StartExport))
	}
	if err != nil {
		// A module may have a start section, and code of it may exit or trap.
		return instantiationFailed(ctx, err, g.Memory)
	}
	return p.enter(ctx, g, instance)
}

// host makes the guest's host, and a context of it. wazero never looks at the context itself. The quota is that of a metered
// guest.
func (p *Program) host(ctx context.Context, g *Guest) (context.Context, *wasi.Instance, *quota, error) {
	cfg := wasi.Config{
		Args: g.Args, Env: g.Env, Stdin: g.Stdin, Stdout: g.Stdout, Stderr: g.Stderr, Root: g.Root,
		Preopens: g.Preopens, Signals: g.Signals, Drain: g.Drain, Network: g.Network, MaxFiles: g.MaxFiles, OutputBytesPerSecond: g.OutputBytesPerSecond,
		DirectoryEntries: g.DirectoryEntries, MaxSubscriptions: g.MaxSubscriptions, NoMemory: len(p.module.Memories) == 0,
	}
	var q *quota
	if p.metered {
		q = newQuota(ctx, g.CPU, g.CPUMillicores)
		if q.maxStack = g.MaxStack; q.maxStack <= 0 {
			q.maxStack = DefaultMaxStack
		}
		ctx = context.WithValue(ctx, quotaKey{}, q)
		cfg.Pause, cfg.Resume = q.pause, q.resume
	}
	host, err := wasi.New(cfg)
	if err != nil {
		return ctx, nil, q, err
	}
	return host.Context(ctx), host, q, nil
}

// enter runs the guest's code.
func (p *Program) enter(ctx context.Context, g *Guest, instance api.Module) Result {
	if ctx.Err() != nil {
		return stopped(ctx)
	}
	if g.Entered != nil {
		if err := g.Entered(); err != nil {
			return startError(err.Error())
		}
	}
	called, err := call(ctx, instance.ExportedFunction(wasm.StartFunction))
	if !called {
		return startError(err.Error())
	}
	return ended(ctx, err, g.Memory)
}

// call calls a function of the guest, if there is one. Not called: its stack could not be limited.
func call(ctx context.Context, f api.Function) (called bool, err error) {
	if f == nil {
		return false, nil
	}
	if q, ok := ctx.Value(quotaKey{}).(*quota); ok {
		if q.stack, err = gaugeOf(f); err != nil {
			return false, err
		}
	}
	_, err = f.Call(ctx)
	return true, err
}

// provide instantiates the host's functions, once.
func (p *Program) provide(ctx context.Context) error {
	p.providing.Lock()
	defer p.providing.Unlock()
	if p.provided {
		return nil
	}
	if err := wasi.Provide(context.WithoutCancel(ctx), p.runtime, p.module.Imports); err != nil {
		return err
	}
	if p.metered {
		if err := p.provideTick(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	p.provided = true
	return nil
}

// instantiate turns wazero's panic for a refused initial memory into an error.
func (p *Program) instantiate(ctx context.Context, m *Memory) (instance api.Module, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("instantiate: %v", r)
			switch {
			case m.starved.Load():
				err = errors.New(outOfMemory(m))
			case m.initial != 0:
				err = errors.New(wasm.MemoryTooSmall(m.initial, m.asked))
			}
		}
	}()
	ctx = experimental.WithMemoryAllocator(ctx, m)
	return p.runtime.InstantiateModule(ctx, p.compiled,
		// Without a source wazero seeds one of its own for each instance, which takes as long as all the rest.
		wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(rand.Reader))
}

// instantiationFailed tells an exit or trap of a start section from a module that could not be instantiated.
func instantiationFailed(ctx context.Context, err error, m *Memory) Result {
	var exit wasi.Exit
	if errors.As(err, &exit) || errors.Is(err, wasi.Stopped{}) || strings.Contains(err.Error(), "wasm stack trace:") {
		return ended(ctx, err, m)
	}
	return startError("instantiate: " + strings.TrimPrefix(err.Error(), "instantiate: "))
}

// ended judges by our own exit status, never by wazero's: its ExitError with the code 0xffffffff, which is exit(-1), says
// that a context was cancelled.
func ended(ctx context.Context, err error, m *Memory) Result {
	var exit wasi.Exit
	var deep *stackOverflow
	switch {
	case err == nil:
		return Result{Reason: Completed}
	case errors.Is(err, wasi.Stopped{}):
		return stopped(ctx)
	case errors.As(err, &deep):
		return Result{Code: CodeTrap, Reason: Trap, Message: deep.Error()}
	case errors.As(err, &exit):
		code := int32(exit & 0xff)
		switch {
		case code == 0:
			return Result{Reason: Completed}
		case m.Exhausted():
			return Result{Code: code, Reason: OOMKilled, Message: outOfMemory(m)}
		default:
			return Result{Code: code, Reason: Error}
		}
	case m.Exhausted():
		return Result{Code: CodeOOMKilled, Reason: OOMKilled, Message: outOfMemory(m) + "\n" + err.Error()}
	case err.Error() == "stack overflow":
		// wazero has no frames left to tell of.
		return Result{Code: CodeTrap, Reason: Trap, Message: tooDeep("84 MB")}
	default:
		return Result{Code: CodeTrap, Reason: Trap, Message: err.Error()}
	}
}

// stopped is the result of a guest whose context has ended.
func stopped(ctx context.Context) Result {
	cause := context.Cause(ctx)
	if stop, ok := errors.AsType[*Stop](cause); ok {
		return stop.Result
	}
	return Result{Code: CodeStopped, Reason: Stopped, Message: cause.Error()}
}

func outOfMemory(m *Memory) string {
	if m.starved.Load() {
		return fmt.Sprintf("the memory of all instances reached its limit of %d bytes", m.budget.limit)
	}
	return fmt.Sprintf("the guest's memory reached its limit of %d bytes", m.asked)
}

func startError(text string) Result {
	return Result{Code: CodeStartError, Reason: StartError, Message: text}
}

// clip cuts s to MaxMessage bytes of valid UTF-8 without control characters: the names in a wasm stack are the guest's choice,
// and messages are printed on terminals.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= MaxMessage {
		return s
	}
	const mark = "\n..."
	return strings.ToValidUTF8(s[:MaxMessage-len(mark)], "") + mark
}
