package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// Exit codes of commands that never ran, as a shell has them.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// maxExecModule bounds a module of a container's root file system. It is read into the memory that the container may use.
const maxExecModule = 64 << 20

// execCommand runs a command beside a container's guest: in the same sandbox, but with memory, argv and stdio of its own.
// Its result is the command's exit code; what else there is to say goes to stderr.
func execCommand(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := execution{cgroups: noCgroups, spec: anySpec, guest: engine.Guest{Stdin: stdin, Stdout: stdout, Stderr: stderr}}
	argv, err := parseFlags("exec", args, stderr, map[string]*string{"bundle": &e.dir, "cgroups": &e.cgroups, "spec": &e.spec})
	if err == nil && len(argv) == 0 {
		err = errors.New("no command")
	}
	if err != nil {
		fmt.Fprintln(stderr, "wazlet-shim exec:", err)
		return codeUsage
	}
	if err := dieWith(bundle.LifeFD); err != nil {
		fmt.Fprintln(stderr, "wazlet-shim exec:", err)
		return codeFailed
	}
	runtime.GOMAXPROCS(maxProcs)
	debug.SetGCPercent(gcPercent)
	unix.Umask(umask)
	// Those of a terminal keep their meaning: ^C ends this process, also while the guest computes.
	e.argv = argv
	res, err := e.run(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "exec: %q: %v\n", argv[0], err)
		if errors.Is(err, fs.ErrNotExist) {
			return codeNotFound
		}
		return codeNotExecutable
	}
	if res.Message != "" {
		fmt.Fprintln(stderr, res.Message)
	}
	if res.Reason == engine.StartError {
		return codeNotExecutable
	}
	return int(res.Code)
}

// execution is one command.
type execution struct {
	dir  string
	argv []string
	// cgroups are the directories of those to join besides the spec's, as a list.
	cgroups string
	// spec is the sum of the spec that the daemon has written.
	spec  string
	guest engine.Guest
}

const (
	// noCgroups says that there are none besides the spec's, anySpec that whatever is there is meant.
	noCgroups = "none"
	anySpec   = "any"
)

// readSpec reads the spec, which must be the daemon's.
func (e *execution) readSpec() (bundle.Spec, error) {
	spec, err := bundle.ReadSpec(e.dir)
	if err != nil || e.spec == anySpec {
		return spec, err
	}
	sum, err := spec.Sum()
	if err == nil && sum != e.spec {
		err = fmt.Errorf("%s is not what the daemon has written", bundle.SpecFile)
	}
	return spec, err
}

// run does everything up to the guest's end. An error says that there was no guest.
func (e *execution) run(ctx context.Context) (engine.Result, error) {
	spec, err := e.readSpec()
	if err != nil {
		return engine.Result{}, err
	}
	if e.cgroups != noCgroups {
		spec.Cgroups = append(spec.Cgroups, filepath.SplitList(e.cgroups)...)
	}
	if err := spec.JoinCgroups(); err != nil {
		return engine.Result{}, err
	}
	spec.Log = nil // is the guest's alone
	s := &shim{spec: spec, dir: e.dir, stderr: io.Discard}
	root, err := openRoot(e.dir, &spec)
	if err != nil {
		return engine.Result{}, err
	}
	source, err := e.source(spec, root)
	if err != nil {
		return engine.Result{}, err
	}
	if err := errors.Join(os.MkdirAll(s.cache(), 0o700), s.confine(root.Opened())); err != nil {
		return engine.Result{}, err
	}
	program, err := engine.Load(ctx, source)
	if err != nil {
		return engine.Result{}, err
	}
	e.guest.Args, e.guest.Env, e.guest.Root = e.argv, spec.Env, root
	limit(&e.guest, spec.GuestLimits)
	e.guest.OutputBytesPerSecond = 0 // it goes to the client, at the client's pace
	e.guest.Memory = memoryOf(spec)
	return program.Run(ctx, e.guest), nil
}

// source is the module that the command names: a file of the container whose name ends in .wasm, or else the container's
// own module, which may look at argv[0]. The code of a file is a copy, since the guest may write to the file, and is not
// cached: the cache is the node's, and a guest could fill it.
func (e *execution) source(spec bundle.Spec, root *rootfs.FS) (engine.Source, error) {
	if name := e.argv[0]; strings.HasSuffix(name, ".wasm") {
		code, err := root.ReadFile(path.Join(workingDir(spec.Env, name), name), maxExecModule)
		// An image whose module has such a name, which is argv[0], need not have it as a file.
		if err == nil || !errors.Is(err, fs.ErrNotExist) || path.Base(name) != path.Base(spec.Args[0]) {
			return engine.Source{Code: code, MaxTable: uint32(spec.GuestLimits.TableElements)}, reason(err)
		}
	}
	code, err := openModule(spec.Module)
	if err != nil {
		return engine.Source{}, err
	}
	return sourceOf(spec, code, spec.Shim != "" || spec.Handler != nil), nil // as it was compiled
}

// workingDir is what a relative name is relative to. WASI has no working directory; PWD stands for it.
func workingDir(env []string, name string) string {
	if path.IsAbs(name) {
		return "/"
	}
	for _, kv := range env {
		if dir, ok := strings.CutPrefix(kv, "PWD="); ok && path.IsAbs(dir) {
			return dir
		}
	}
	return "/"
}

// reason leaves out the path, which is one of the host or said already.
func reason(err error) error {
	switch cause, ok := errors.AsType[*fs.PathError](err); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w in the container", fs.ErrNotExist)
	case ok:
		return cause.Err
	default:
		return err
	}
}

// dieWith makes the kernel kill this process when nobody has the other end of the pipe any more. A goroutine that waits
// for that could wait for ever: while a guest computes nothing else of Go may run.
func dieWith(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return fmt.Errorf("fd %d: want the pipe of the daemon that runs this", fd)
	}
	unix.CloseOnExec(fd)
	if err := signalOnClose(fd); err != nil {
		return fmt.Errorf("watch the daemon's pipe: %w", err)
	}
	// It may have happened before.
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, 0); err == nil && n > 0 {
		return errors.New("the daemon is gone")
	}
	return nil
}
