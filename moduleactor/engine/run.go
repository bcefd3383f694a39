package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// Exit codes that the engine gives; those of a shell and of Kubernetes for the same things.
const (
	CodeStartError = 128
	CodeTrap       = 134 // 128 + SIGABRT
	CodeOOMKilled  = 137 // 128 + SIGKILL
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
)

// MaxMessage bounds Result.Message, in bytes.
const MaxMessage = 4096

// Guest is one run of a Program.
type Guest struct {
	// Args is argv, argv[0] included; Env holds K=V.
	Args, Env []string
	// Stdin is empty if nil; Stdout and Stderr are dropped if nil. They get slices of the guest's memory: they must not
	// keep them.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Root is the guest's /; nil: it has no files.
	Root sys.FS
	// Memory is the guest's memory; nil means NewMemory(0).
	Memory *Memory
	// Entered, if set, is called right before _start is. An error is a StartError.
	Entered func() error
}

// Result is how a guest ended.
type Result struct {
	Code    int32
	Reason  Reason
	Message string
}

// Run runs the program to its end, in this goroutine. It takes no cancellation: a guest ends by itself or with the
// process. The guest's memory is given back when Run returns.
func (p *Program) Run(ctx context.Context, g Guest) Result {
	if g.Memory == nil {
		g.Memory = NewMemory(0)
	}
	res := p.run(context.WithoutCancel(ctx), g)
	if err := g.Memory.close(); err != nil && res.Message == "" {
		res.Message = err.Error()
	}
	res.Message = clip(res.Message)
	return res
}

func (p *Program) run(ctx context.Context, g Guest) Result {
	if problems := p.module.Check(g.Memory.asked); len(problems) > 0 {
		return startError("the module cannot run here: " + strings.Join(problems, "; "))
	}
	if err := p.provide(ctx); err != nil {
		return startError(err.Error())
	}
	instance, err := p.instantiate(ctx, g)
	if instance != nil {
		defer func() { _ = instance.Close(ctx) }() // closes the guest's files; nothing is left to do with an error
	}
	if err != nil {
		// A module may have a start section, and code of it may exit or trap.
		return instantiationFailed(err, g.Memory)
	}
	if g.Entered != nil {
		if err := g.Entered(); err != nil {
			return startError(err.Error())
		}
	}
	_, err = instance.ExportedFunction(wasm.StartFunction).Call(ctx)
	return ended(err, g.Memory)
}

// instantiate turns wazero's panic for a refused initial memory into an error.
func (p *Program) instantiate(ctx context.Context, g Guest) (instance api.Module, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("instantiate: %v", r)
			if g.Memory.initial != 0 {
				err = errors.New(wasm.MemoryTooSmall(g.Memory.initial, g.Memory.asked))
			}
		}
	}()
	ctx = experimental.WithMemoryAllocator(ctx, g.Memory)
	return p.runtime.InstantiateModule(ctx, p.compiled, p.config(g))
}

func (p *Program) config(g Guest) wazero.ModuleConfig {
	c := wazero.NewModuleConfig().WithName("").WithStartFunctions().WithArgs(g.Args...).
		WithWalltime(p.clocks.wall, 1).WithNanotime(p.clocks.monotonic, 1).WithSysNanosleep().WithOsyield(runtime.Gosched).WithRandSource(rand.Reader)
	for _, kv := range g.Env {
		k, v, _ := strings.Cut(kv, "=")
		c = c.WithEnv(k, v)
	}
	if g.Stdin != nil {
		c = c.WithStdin(g.Stdin)
	}
	if g.Stdout != nil {
		c = c.WithStdout(g.Stdout)
	}
	if g.Stderr != nil {
		c = c.WithStderr(g.Stderr)
	}
	if g.Root != nil {
		if fs, ok := wazero.NewFSConfig().(sysfs.FSConfig); ok {
			c = c.WithFSConfig(fs.WithSysFSMount(g.Root, "/"))
		}
	}
	return c
}

// instantiationFailed tells an exit or trap of a start section from a module that could not be instantiated.
func instantiationFailed(err error, m *Memory) Result {
	var exit exitStatus
	if errors.As(err, &exit) || strings.Contains(err.Error(), "wasm stack trace:") {
		return ended(err, m)
	}
	return startError("instantiate: " + strings.TrimPrefix(err.Error(), "instantiate: "))
}

// ended judges by our own exit status, never by wazero's: its ExitError with the code 0xffffffff, which is exit(-1), says
// that a context was cancelled.
func ended(err error, m *Memory) Result {
	var exit exitStatus
	switch {
	case err == nil:
		return Result{Reason: Completed}
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
		return Result{Code: CodeTrap, Reason: Trap, Message: "wasm error: stack overflow: calls are nested too deeply (50 MB), or without end"}
	default:
		return Result{Code: CodeTrap, Reason: Trap, Message: err.Error()}
	}
}

func outOfMemory(m *Memory) string {
	return fmt.Sprintf("the guest's memory reached its limit of %d bytes", m.asked)
}

func startError(text string) Result {
	return Result{Code: CodeStartError, Reason: StartError, Message: text}
}

// clip cuts s to MaxMessage bytes of valid UTF-8; the names in a wasm stack are the guest's choice.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxMessage {
		return s
	}
	const mark = "\n..."
	return strings.ToValidUTF8(s[:MaxMessage-len(mark)], "") + mark
}
