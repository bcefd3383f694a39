package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type fakeCgroups struct {
	root string
	fail error

	mu     sync.Mutex
	usage  Usage
	limits map[string]Limits // of those that exist, by directory
	all    map[string]Limits // of every one that was ever made
}

func (c *fakeCgroups) Dirs(name string) []string { return []string{filepath.Join(c.root, "cg", name)} }

func (c *fakeCgroups) Create(name string, l Limits) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	dir := c.Dirs(name)[0]
	if c.limits == nil {
		c.limits, c.all = map[string]Limits{}, map[string]Limits{}
	}
	c.limits[dir], c.all[dir] = l, l
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), nil, 0o600)
}

func (c *fakeCgroups) Usage([]string) Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usage
}

func (c *fakeCgroups) Remove(dirs []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range dirs {
		delete(c.limits, d)
	}
	return nil
}

func (c *fakeCgroups) made() map[string]Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits
}

// module writes a file that tells the fake compiler what to do, and returns its path and a digest.
func module(t *testing.T, n int, do string) (path, digest string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), itoa(n)+".wasm")
	if err := os.WriteFile(path, []byte(do), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, "sha256:" + fmt.Sprintf("%064x", n)
}

func (f *fixture) trace() []string {
	data, err := os.ReadFile(filepath.Join(f.cfg.CacheDir, "trace"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func TestCompileOnce(t *testing.T) {
	root := t.TempDir()
	f := newFixture(t, root, nil)
	path, digest := module(t, 1, "ok")
	for range 2 {
		if err := f.Compile(t.Context(), path, digest, false); err != nil {
			t.Fatal(err)
		}
	}
	again := newFixture(t, root, nil) // another daemon
	if err := again.Compile(t.Context(), path, digest, false); err != nil {
		t.Fatal(err)
	}
	if got := f.trace(); len(got) != 2 {
		t.Errorf("trace %v, want one run", got)
	}
	// Another build of the shim does not believe the marker, nor does anybody a damaged one.
	other := filepath.Join(t.TempDir(), "othershim")
	bin, err := os.ReadFile(FakeShim)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, append(bin, 0), 0o700); err != nil {
		t.Fatal(err)
	}
	f.cfg.Shim = other
	if err := f.Compile(t.Context(), path, digest, false); err != nil {
		t.Fatal(err)
	}
	if got := f.trace(); len(got) != 4 {
		t.Errorf("trace %v, want a second run by the other shim", got)
	}
	if err := os.WriteFile(filepath.Join(f.cfg.CacheDir, digest[len("sha256:"):]+".ok"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Compile(t.Context(), path, digest, false); err != nil {
		t.Fatal(err)
	}
	if got := f.trace(); len(got) != 6 {
		t.Errorf("trace %v, want a third run", got)
	}
	// Nor does it help against a cache that was emptied: who runs the module may not fill it.
	if err := os.RemoveAll(filepath.Join(f.cfg.CacheDir, digest[len("sha256:"):], "code")); err != nil {
		t.Fatal(err)
	}
	if err := f.Compile(t.Context(), path, digest, false); err != nil {
		t.Fatal(err)
	}
	if got := f.trace(); len(got) != 8 {
		t.Errorf("trace %v, want a fourth run", got)
	}
}

func TestCompileFails(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	path, digest := module(t, 1, "invalid")
	var invalid *InvalidModule
	if err := f.Compile(t.Context(), path, digest, false); !errors.As(err, &invalid) || invalid.Text != "invalid magic number" {
		t.Errorf("invalid: %v", err)
	}
	path, digest = module(t, 2, "fail")
	err := f.Compile(t.Context(), path, digest, false)
	if err == nil || errors.As(err, &invalid) || !strings.Contains(err.Error(), "exit status 1: no space left") || len(err.Error()) > maxMessage+200 {
		t.Errorf("failing compiler: %.300v", err)
	}
	path, digest = module(t, 3, "ok")
	if err := f.Compile(t.Context(), path, "sha256:../../x", false); err == nil || !strings.Contains(err.Error(), "digest: want sha256:") {
		t.Errorf("hostile digest: %v", err)
	}
	if err := f.Compile(t.Context(), "m.wasm", digest, false); err == nil || !strings.Contains(err.Error(), "module: want a clean absolute path") {
		t.Errorf("relative module: %v", err)
	}
	f.cfg.Shim += "-not"
	if err := f.Compile(t.Context(), path, digest, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no shim: %v", err)
	}
}

// TestCompileTimeout: a module that cannot be compiled in time does not keep others from it.
func TestCompileTimeout(t *testing.T) {
	f := newFixture(t, t.TempDir(), func(c *Config) { c.CompileTimeout = 50 * time.Millisecond })
	path, digest := module(t, 1, "hang")
	err := f.Compile(t.Context(), path, digest, false)
	if err == nil || !strings.HasSuffix(err.Error(), "it takes longer than images.compileTimeout, which is 50ms") {
		t.Errorf("got %v", err)
	}
	f.cfg.CompileTimeout = 0
	path, digest = module(t, 2, "ok")
	if err := f.Compile(t.Context(), path, digest, false); err != nil {
		t.Error(err)
	}
}

// TestCompileTables: code for one limit of tables is no code for another.
func TestCompileTables(t *testing.T) {
	root := t.TempDir()
	path, digest := module(t, 1, "ok")
	for _, elements := range []int{0, 7, 8, 7} { // the last one is there already
		f := newFixture(t, root, func(c *Config) { c.TableElements = elements })
		if err := f.Compile(t.Context(), path, digest, false); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"begin", "end", "--tables", "7", "begin", "end", "--tables", "8", "begin", "end"}
	if diff := cmp.Diff(want, newFixture(t, root, nil).trace()); diff != "" {
		t.Error(diff)
	}
}

func TestCompileBounds(t *testing.T) {
	f := newFixture(t, t.TempDir(), func(c *Config) { c.MaxParallelCompiles = 2 })
	const modules, callers = 5, 3
	var wg sync.WaitGroup
	errs := make(chan error, modules*callers)
	var paths []string
	for n := range modules {
		path, digest := module(t, n, "wait")
		paths = append(paths, path)
		for range callers {
			wg.Go(func() { errs <- f.Compile(t.Context(), path, digest, false) })
		}
	}
	eventually(t, "two compilers run", func() bool { return len(f.trace()) == 2 })
	for _, p := range paths {
		if err := os.WriteFile(p+".go", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	for range modules * callers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	running, runs := 0, 0
	for _, l := range f.trace() {
		if l == "begin" {
			running++
			runs++
		} else {
			running--
		}
		if running > 2 {
			t.Fatalf("%d compilers at once: %v", running, f.trace())
		}
	}
	if runs != modules {
		t.Errorf("%d runs for %d modules", runs, modules)
	}
}

// TestCompileCanceled checks that the compiler goes when the last caller does, and not before.
func TestCompileCanceled(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	path, digest := module(t, 1, "hang")
	first, cancelFirst := context.WithCancel(t.Context())
	second, cancelSecond := context.WithCancel(t.Context())
	defer cancelSecond()
	errs := make(chan error, 2)
	go func() { errs <- f.Compile(first, path, digest, false) }()
	eventually(t, "the compiler runs", func() bool { return len(f.trace()) == 2 })
	go func() { errs <- f.Compile(second, path, digest, false) }()
	eventually(t, "both wait", func() bool {
		f.Runtime.mu.Lock()
		defer f.Runtime.mu.Unlock()
		return f.flights[compilation{digest: digest}.marker()].waiters == 2
	})
	var pid, nice int
	if _, err := fmt.Sscanf(f.trace()[1], "pid %d nice %d", &pid, &nice); err != nil {
		t.Fatal(err)
	}
	if nice != compileNice {
		t.Errorf("the compiler's niceness is %d", nice)
	}
	cancelFirst()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("first caller: %v", err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the compiler went with the first caller: %v", err)
	}
	cancelSecond()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("second caller: %v", err)
	}
	eventually(t, "the compiler is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	if got, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err != nil || 20-got >= compileNice {
		t.Errorf("this process's own niceness is %d, %v", 20-got, err)
	}
}

func TestCgroupOfCompiler(t *testing.T) {
	root := t.TempDir()
	cg := &fakeCgroups{root: root}
	f := newFixture(t, root, func(c *Config) { c.Cgroups, c.CompileMemoryBytes = cg, 1<<30 })
	path, digest := module(t, 1, "fail")
	cg.usage.OOMKills = 1
	err := f.Compile(t.Context(), path, digest, false)
	if err == nil || !strings.Contains(err.Error(), "needs more memory than compileMemoryBytes (1073741824)") {
		t.Errorf("got %v", err)
	}
	dir := cg.Dirs("compile/" + digest[len("sha256:"):])[0]
	if got := cg.all[dir]; got != (Limits{MemoryBytes: 1 << 30}) {
		t.Errorf("limits %+v", got)
	}
	if procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err != nil || len(procs) == 0 {
		t.Errorf("the compiler did not join: %q, %v", procs, err)
	}
	if len(cg.made()) != 0 {
		t.Errorf("cgroups stayed: %v", cg.made())
	}
}

func TestCgroupOfShim(t *testing.T) {
	root := t.TempDir()
	cg := &fakeCgroups{root: root}
	f := newFixture(t, root, func(c *Config) { c.Cgroups = cg })
	p, err := f.Start(t.Context(), testSpec(root, 2, "run"), Limits{MemoryBytes: 1 << 20, CPUMillicores: 100})
	if err != nil {
		t.Fatal(err)
	}
	f.started(p)
	dir := cg.Dirs(uid + "/c-2")[0]
	if got, want := cg.made()[dir], (Limits{MemoryBytes: 1<<20 + ShimOverheadBytes, CPUMillicores: 100}); got != want {
		t.Errorf("limits %+v, want %+v", got, want)
	}
	if procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err != nil || string(procs) != itoa(p.PID()) {
		t.Errorf("cgroup.procs %q, %v", procs, err)
	}
	cg.mu.Lock()
	cg.usage = Usage{OOMKills: 1, PeakMemoryBytes: 77}
	cg.mu.Unlock()
	if err := p.Signal(true); err != nil {
		t.Fatal(err)
	}
	if e := f.ended(p); e.Reason != OOMKilled || e.Code != 137 || e.PeakMemoryBytes != 77 {
		t.Errorf("exit %+v", e)
	}
	if len(cg.made()) != 0 {
		t.Errorf("cgroups stayed: %v", cg.made())
	}
}

func TestCgroupsNotWritable(t *testing.T) {
	root := t.TempDir()
	cg := &fakeCgroups{root: root, fail: os.ErrPermission}
	f := newFixture(t, root, func(c *Config) { c.Cgroups = cg })
	for n := range 2 {
		if e := f.ended(f.start(n, "exit", "0")); e.Reason != Completed {
			t.Errorf("exit %+v", e)
		}
	}
	var ce *CgroupError
	if w := f.warned(); len(w) != 1 || !errors.As(w[0], &ce) || !errors.Is(ce, os.ErrPermission) {
		t.Errorf("warnings %v, want one *CgroupError", w)
	}
}

func TestUnstartedLosesItsCgroup(t *testing.T) {
	root := t.TempDir()
	cg := &fakeCgroups{root: root}
	f := newFixture(t, root, func(c *Config) { c.Cgroups = cg })
	dir, err := Dir(root, ID{uid, "c", 0})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), cg.Create(uid+"/c-0", Limits{})); err != nil {
		t.Fatal(err)
	}
	if found, err := f.Scan(uid); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	if len(cg.made()) != 0 {
		t.Errorf("cgroups stayed: %v", cg.made())
	}
}

func TestNewRefuses(t *testing.T) {
	_, err := New(Config{
		Root: "r", Shim: "/s", CacheDir: "", MaxParallelCompiles: -1, CompileMemoryBytes: -1, CompileTimeout: -1, TableElements: -1, SharedMemoryBytes: -1,
	})
	want := `runtime: root: want a clean absolute path (got "r")
cacheDir: want a clean absolute path (got "")
maxParallelCompiles: want 0 or more (got -1)
compileTimeout: want 0 or more (got -1ns)
tableElements: want 0 to 4294967295 (got -1)
sharedMemoryBytes: want 0 or more (got -1)
compileMemoryBytes: want 0 or more (got -1)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
