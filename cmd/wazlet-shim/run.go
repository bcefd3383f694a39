package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
	"github.com/wazlet/wazlet/moduleactor/logs"
)

const (
	// maxProcs lets signals be handled and garbage be collected beside the guest, which has one thread.
	maxProcs = 2
	// gcPercent trades time for memory: a shim's own heap is small and mostly still. With less the first collection, at
	// 2 MiB now, would come before a small guest begins: it takes a tenth of the start, and 0.5 MiB for itself.
	gcPercent = 50
	// largeModule is the size from which what was needed to load the code is worth a garbage collection. One costs a small
	// shim half of its start, and more memory than it gives back.
	largeModule = 1 << 20
	// umask gives the guest's files the mode 0644 and its directories 0755.
	umask = 0o022
)

// runCommand runs one attempt; its result is the guest's exit code.
func runCommand(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var dir string
	if err := parse("run", args, stderr, map[string]*string{"bundle": &dir}); err != nil {
		fmt.Fprintln(stderr, "wazlet-shim run:", err)
		return codeUsage
	}
	runtime.GOMAXPROCS(maxProcs)
	debug.SetGCPercent(gcPercent)
	unix.Umask(umask)
	terminated := watchTerminate()
	attempt, err := bundle.Attach(dir)
	if err != nil {
		fmt.Fprintln(stderr, "wazlet-shim run:", err)
		return codeFailed
	}
	s := &shim{
		attempt: attempt, spec: attempt.Spec(), dir: dir, stderr: stderr, herald: newHerald(attempt.Refused),
		guest: engine.Guest{Stdin: stdin, Stdout: stdout, Stderr: stderr, Memory: memoryOf(attempt.Spec()), Drain: &wasi.Drain{}},
	}
	if err := s.openLog(); err != nil {
		return s.end(startError(err))
	}
	if s.spec.Signals && s.spec.Handler == nil {
		s.passOn(terminated)
	} else {
		go s.endOn(ctx, terminated)
	}
	return s.end(s.run(ctx))
}

// shim is one attempt.
type shim struct {
	attempt *bundle.Attempt
	spec    bundle.Spec
	dir     string
	stderr  io.Writer
	guest   engine.Guest
	log     *logs.Writer // nil in the foreground
	stdio   stdio
	herald  *herald
	// entered says that the container runs.
	entered func() error
	// budget is the memory of an HTTP handler's instances.
	budget *engine.Budget
	ending
}

func startError(err error) engine.Result {
	return engine.Result{Code: engine.CodeStartError, Reason: engine.StartError, Message: err.Error()}
}

// openLog sends the guest's output to its log and takes the shim's stdin away. Without a log the guest has what the shim has.
func (s *shim) openLog() error {
	if s.spec.Log == nil {
		return nil
	}
	ignoreTerminal()
	log, err := logs.NewWriter(logs.WriterOptions{Path: s.spec.Log.Path, MaxBytes: s.spec.Log.MaxBytes, MaxFiles: s.spec.Log.MaxFiles})
	if err != nil {
		return err
	}
	s.log = log
	return s.openStdio()
}

// run does everything from the cgroup to the guest's end. Whatever goes wrong before _start is a StartError. All that
// needs the host's files is opened before the door is closed; the compiler runs behind it.
func (s *shim) run(ctx context.Context) engine.Result {
	if err := errors.Join(s.attempt.JoinCgroups(), s.takeListeners()); err != nil {
		return startError(err)
	}
	code, err := openModule(s.spec.Module)
	if err != nil {
		return startError(err)
	}
	root, err := openRoot(s.dir, &s.spec)
	if err != nil {
		return startError(err)
	}
	if err := errors.Join(os.MkdirAll(s.cache(), 0o700), s.confine(root.Opened())); err != nil {
		return startError(err)
	}
	// A request that spins must not stop the others.
	p, err := engine.Load(ctx, sourceOf(s.spec, code, s.spec.Handler != nil))
	if err != nil {
		return startError(err)
	}
	if err := p.CacheError(); err != nil {
		fmt.Fprintln(s.stderr, "wazlet-shim run:", err)
	}
	limit(&s.guest, s.spec.GuestLimits)
	s.guest.Args, s.guest.Env, s.guest.Root = s.spec.Args, s.spec.Env, root
	s.guest.Network = guestNetwork(&s.spec, s.herald.tell)
	s.entered = func() error {
		s.closeListeners() // the guest, or the server, has its own
		code.forget()
		if len(code.bytes) >= largeModule {
			debug.FreeOSMemory()
		}
		now := time.Now()
		s.startedAt.Store(&now)
		return s.attempt.Started(now)
	}
	if s.spec.Handler != nil {
		return s.serve(ctx, p)
	}
	s.guest.Entered = s.entered
	return p.Run(ctx, s.guest)
}

// takeListeners hands the inherited sockets to the guest.
func (s *shim) takeListeners() error {
	files, err := s.attempt.TakeListeners()
	for i, f := range files {
		s.guest.Preopens = append(s.guest.Preopens, wasi.Preopen{Name: s.spec.Listeners[i].Name, File: f})
	}
	return err
}

func (s *shim) closeListeners() {
	for _, p := range s.guest.Preopens {
		_ = p.File.Close()
	}
}

// cache is the part of the cache that this shim may read: what is there is executed by every shim that has its module.
func (s *shim) cache() string { return engine.CacheOf(s.spec.CacheDir, s.spec.ModuleDigest) }

// openRoot opens the file system that the spec describes.
func openRoot(bundleDir string, spec *bundle.Spec) (*rootfs.FS, error) {
	mounts, err := mountsOf(bundleDir, spec)
	if err != nil {
		return nil, err
	}
	texts := make([]rootfs.Text, len(spec.Files))
	for i, f := range spec.Files {
		texts[i] = rootfs.Text{Guest: f.Guest, Data: f.Text}
	}
	return rootfs.Open(rootfs.Mount{Host: spec.Rootfs, Guest: "/", ReadOnly: spec.RootReadOnly}, mounts, texts...)
}

// mountsOf are the spec's mounts and the file for the termination message.
func mountsOf(bundleDir string, spec *bundle.Spec) ([]rootfs.Mount, error) {
	var out []rootfs.Mount
	for _, m := range spec.Mounts {
		out = append(out, rootfs.Mount{Host: m.Host, Guest: m.Guest, ReadOnly: m.ReadOnly})
	}
	if spec.TerminationMessagePath == "" {
		return out, nil
	}
	// The bundle is the daemon's, which may keep it behind a symbolic link.
	dir, err := filepath.Abs(bundleDir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("termination message: %w", err)
	}
	host := filepath.Join(dir, bundle.TerminationLog)
	f, err := os.OpenFile(host, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o644) //nolint:gosec // the guest's own message
	if err != nil {
		return nil, fmt.Errorf("termination message: %w", err)
	}
	return append(out, rootfs.Mount{Host: host, Guest: spec.TerminationMessagePath}), f.Close()
}
