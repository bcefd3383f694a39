package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// compileNice is the niceness of compilers: a pull of many images must not starve the guests that run.
const compileNice = 10

// flight is one compilation that several callers wait for. It ends early when all of them gave up.
type flight struct {
	waiters int
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // set before done is closed
}

// Compile fills the compile cache for a module in a process of its own, unless that was done before: one at a time for
// each digest, bounded in number. It blocks and obeys ctx. An *InvalidModule is the module's fault.
//
// Shared shims run metered modules, which are compiled apart. A marker file in the cache says that it was done, and by which
// shim. A module that is in the cache and cannot be read does no harm but that the shims which run it compile it again: they
// may not write to the cache.
func (r *Runtime) Compile(ctx context.Context, module, digest string, metered bool) error {
	if !isDigest(digest) {
		return fmt.Errorf("compile: digest: want sha256: and 64 hexadecimal digits (got %.80q)", digest)
	}
	if err := validatePath(module); err != nil {
		return fmt.Errorf("compile: module: %w", err)
	}
	f, err := r.board(compilation{module, digest, metered, r.cfg.TableElements}) //nolint:contextcheck // the compilation may outlive the caller that began it
	if err != nil {
		return fmt.Errorf("compile %s: %w", digest, err)
	}
	defer r.leave(f)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("compile %s: %w", digest, context.Cause(ctx))
	}
}

// Cached tells whether a cache has anything compiled of a module.
func Cached(cacheDir, digest string) bool {
	entries, err := os.ReadDir(filepath.Join(cacheDir, strings.TrimPrefix(digest, "sha256:")))
	return err == nil && len(entries) > 0
}

// compilation is what is compiled.
type compilation struct {
	module, digest string
	metered        bool
	tables         int
}

// marker is the name of the file that says that it was done.
func (c compilation) marker() string {
	name := strings.TrimPrefix(c.digest, "sha256:")
	if c.metered {
		name += ".metered"
	}
	if c.tables > 0 {
		name += ".tables-" + strconv.Itoa(c.tables)
	}
	return name + ".ok"
}

// board joins the compilation or starts it.
func (r *Runtime) board(c compilation) (*flight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, ErrClosed
	}
	if f := r.flights[c.marker()]; f != nil && f.waiters > 0 {
		f.waiters++
		return f, nil
	}
	ctx, cancel := context.WithCancel(r.ctx)
	f := &flight{waiters: 1, cancel: cancel, done: make(chan struct{})}
	r.flights[c.marker()] = f
	r.wg.Go(func() {
		defer cancel()
		err := r.compile(ctx, c)
		r.mu.Lock()
		if r.flights[c.marker()] == f {
			delete(r.flights, c.marker())
		}
		r.mu.Unlock()
		f.err = err
		close(f.done)
	})
	return f, nil
}

func (r *Runtime) leave(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
	}
}

func (r *Runtime) compile(ctx context.Context, c compilation) error {
	identity, err := r.shimIdentity()
	if err != nil {
		return fmt.Errorf("compile %s: %w", c.digest, err)
	}
	marker := filepath.Join(r.cfg.CacheDir, c.marker())
	if by, err := readBounded(marker); err == nil && string(by) == identity && Cached(r.cfg.CacheDir, c.digest) {
		return nil
	}
	select {
	case r.compiles <- struct{}{}:
		defer func() { <-r.compiles }()
	case <-ctx.Done():
		return fmt.Errorf("compile %s: %w", c.digest, context.Cause(ctx))
	}
	if err := r.runCompiler(ctx, c); err != nil {
		return err
	}
	return writeFile(marker, []byte(identity))
}

func (r *Runtime) runCompiler(ctx context.Context, c compilation) error {
	if limit := r.cfg.CompileTimeout; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("it takes longer than images.compileTimeout, which is %s", limit))
		defer cancel()
	}
	cgroups := r.createCompileCgroup(c.digest)
	defer r.removeCgroups(cgroups)
	var stderr head
	cmd := exec.CommandContext(ctx, r.cfg.Shim, "compile", "--module", c.module, "--cache", r.cfg.CacheDir)
	if c.metered {
		cmd.Args = append(cmd.Args, "--metered", "true")
	}
	if c.tables > 0 {
		cmd.Args = append(cmd.Args, "--tables", strconv.Itoa(c.tables))
	}
	cmd.Env, cmd.Dir = r.env(), r.cfg.CacheDir
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // for a grandchild that holds stderr open; there is none
	if err := startNice(cmd, cgroups); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("compile %s: %w", c.digest, err)
	}
	err := cmd.Wait()
	text := strings.TrimSpace(strings.ToValidUTF8(stderr.b.String(), "\uFFFD"))
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("compile %s: %w", c.digest, context.Cause(ctx))
	case errors.As(err, &exit) && exit.ExitCode() == ExitInvalidModule:
		return &InvalidModule{Text: text}
	case r.usage(cgroups).OOMKills > 0:
		return fmt.Errorf("compile %s: compiler needs more memory than compileMemoryBytes (%d)", c.digest, r.cfg.CompileMemoryBytes)
	default:
		return fmt.Errorf("compile %s: %w: %s", c.digest, err, text)
	}
}

func (r *Runtime) createCompileCgroup(digest string) []string {
	if r.cfg.Cgroups == nil || r.cfg.CompileMemoryBytes == 0 {
		return nil
	}
	name := "compile/" + strings.TrimPrefix(digest, "sha256:")
	if err := r.cfg.Cgroups.Create(name, Limits{MemoryBytes: r.cfg.CompileMemoryBytes}); err != nil {
		r.warnCgroup.Do(func() { r.warn(&CgroupError{Err: err}) })
		return nil
	}
	return r.cfg.Cgroups.Dirs(name)
}

// startNice starts cmd with less priority and moves it into the cgroups. A child has the niceness of the thread that
// forks it, so that happens on a thread of its own, which ends with the goroutine because it stays locked to it: an
// unprivileged process may not take its niceness back.
func startNice(cmd *exec.Cmd, cgroups []string) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, compileNice) // worth trying, not worth failing for
		started <- cmd.Start()
	}()
	if err := <-started; err != nil {
		return err
	}
	if err := joinCgroups(cgroups, cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	return nil
}

// shimIdentity tells one build of the shim from another: what is in the cache was made by it.
type shimIdentity struct {
	size    int64
	modTime time.Time
	sum     string
}

func (r *Runtime) shimIdentity() (string, error) {
	f, err := os.Open(r.cfg.Shim)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	known := r.identity
	r.mu.Unlock()
	if known.sum != "" && known.size == st.Size() && known.modTime.Equal(st.ModTime()) {
		return known.sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", r.cfg.Shim, err)
	}
	known = shimIdentity{size: st.Size(), modTime: st.ModTime(), sum: "shim sha256:" + hex.EncodeToString(h.Sum(nil)) + "\n"}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.identity = known
	return known.sum, nil
}

// head keeps the beginning of what a compiler says, which is where a Go program puts its reason.
type head struct{ b bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	if room := maxMessage - h.b.Len(); room > 0 {
		h.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
