package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// features are what wasm 2.0 has, and extended constant expressions. Threads need a host that spawns them; exception
// handling corrupts locals in wazero 1.12.0.
const features = api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst

// compileWorkers is how many functions are compiled at a time; with fewer than two a compilation cannot be cancelled.
const compileWorkers = 2

// InvalidModule is a module that can never run here, whatever the container's settings.
type InvalidModule struct{ Text string }

func (e *InvalidModule) Error() string { return e.Text }

// Source is a module to load.
type Source struct {
	// Code is the wasm binary. It must stay unchanged until Program.Close.
	Code []byte
	// Digest is what Code must hash to, as Digest writes it; empty: anything.
	Digest string
	// CacheDir is where compiled modules are kept, each in a directory named by the module's sha256, so that whoever
	// removes a module can remove its code. Its content is executed: only who compiles may write there. Empty: no cache.
	CacheDir string
	// CacheReadOnly is set by who runs guests: what is not in the cache, or cannot be read there, is compiled and not kept.
	CacheReadOnly bool
	// Meter makes the guest count what it executes, so that Run's context ends it while it computes too, and Guest.CPU and
	// Guest.CPUMillicores work. It takes about a quarter more time.
	Meter bool
	// MaxTable is how many elements the tables of the guest can have together; 0 means DefaultMaxTable.
	MaxTable uint32
}

// Program is a compiled module. Run may be called by many goroutines at once, Close when none runs.
type Program struct {
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
	module   *wasm.Module
	// provided is set once the WASI modules are instantiated, which providing guards.
	providing sync.Mutex
	provided  bool
	metered   bool
	// cacheErr is why the cache was not used.
	cacheErr error
}

// Module is what the binary says about itself.
func (p *Program) Module() *wasm.Module { return p.module }

// CacheError is why the module was compiled without the cache, nil if it was not.
func (p *Program) CacheError() error { return p.cacheErr }

// Digest is the sha256 of a module as the cache and a bundle's spec write it, "sha256:…".
func Digest(code []byte) string {
	sum := sha256.Sum256(code)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// CacheOf is the directory of one module's code in a cache; a process that runs this module needs no other.
func CacheOf(cacheDir, digest string) string {
	return filepath.Join(cacheDir, strings.TrimPrefix(digest, "sha256:"))
}

// Load compiles a module, or reads its code from the cache, and fills the cache unless it is read-only. It blocks for
// seconds with large modules and obeys ctx. A cache entry that cannot be read is deleted and compiled again; a cache that cannot be used at all is
// done without. The error is an *InvalidModule unless ctx ended it or the digest is wrong.
func Load(ctx context.Context, src Source) (*Program, error) {
	digest := Digest(src.Code)
	if src.Digest != "" && src.Digest != digest {
		return nil, fmt.Errorf("the module has the digest %s, want %s", digest, src.Digest)
	}
	module, err := wasm.Parse(src.Code)
	if err != nil {
		return nil, &InvalidModule{Text: err.Error()}
	}
	if problems := module.Check(0); len(problems) > 0 { // before anything is compiled, which takes seconds
		return nil, &InvalidModule{Text: strings.Join(problems, "; ")}
	}
	if src.CacheDir == "" {
		return compile(ctx, src, module, "")
	}
	dir := CacheOf(src.CacheDir, digest)
	p, first := src.compileCached(ctx, module, dir)
	if first == nil || ctx.Err() != nil {
		return p, first
	}
	p, err = compile(ctx, src, module, "")
	if err != nil {
		return nil, err
	}
	p.cacheErr = fmt.Errorf("cache of compiled modules %s: %w", dir, first)
	return p, nil
}

var errEmpty = errors.New("it is empty")

// compileCached compiles with the cache, which is emptied if that fails: the cache or the module is at fault; a module that is
// refused is refused before the cache is looked at, and cheaply.
func (s Source) compileCached(ctx context.Context, module *wasm.Module, dir string) (*Program, error) {
	if s.CacheReadOnly && isEmpty(dir) { // to find out that it cannot be kept would take as long as to compile it
		return nil, errEmpty
	}
	p, first := compile(ctx, s, module, dir)
	if first == nil || ctx.Err() != nil || s.CacheReadOnly || removeAllIn(dir) != nil {
		return p, first
	}
	p, err := compile(ctx, s, module, dir)
	if err != nil && ctx.Err() == nil {
		err = first
	}
	return p, err
}

// isEmpty tells whether a cache has nothing of wazero's, which keeps it in a directory of its version.
func isEmpty(dir string) bool {
	versions, _ := os.ReadDir(dir) // what cannot be read is as good as empty
	for _, v := range versions {
		if entries, _ := os.ReadDir(filepath.Join(dir, v.Name())); len(entries) > 0 {
			return false
		}
	}
	return true
}

// removeAllIn empties a directory. The directory stays: whoever is confined to it could not make it again.
func removeAllIn(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// compile rewrites and compiles the module, with the cache in dir, if any. wazero's reader of cache entries trusts their
// lengths, so a panic there is an error like any other.
func compile(ctx context.Context, src Source, module *wasm.Module, dir string) (p *Program, err error) {
	cfg := wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features).WithDebugInfoEnabled(false)
	p = &Program{module: module, metered: src.Meter}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("compile: %v", r)
		}
		if err != nil {
			_ = p.Close(context.WithoutCancel(ctx))
			p = nil
		}
	}()
	ready, err := src.prepare(module, dir)
	if err != nil {
		return p, err
	}
	defer ready.close()
	if dir != "" {
		if p.cache, err = wazero.NewCompilationCacheWithDir(dir); err != nil {
			return p, err
		}
		cfg = cfg.WithCompilationCache(p.cache)
	}
	ctx = experimental.WithCompilationWorkers(ctx, compileWorkers)
	p.runtime = wazero.NewRuntimeWithConfig(ctx, cfg)
	if p.compiled, err = p.runtime.CompileModule(ctx, ready.code); err != nil {
		if ctx.Err() != nil {
			return p, fmt.Errorf("compile: %w", ctx.Err())
		}
		return p, &InvalidModule{Text: err.Error()}
	}
	return p, nil
}

// Close frees the compiled code. No guest may run.
func (p *Program) Close(ctx context.Context) error {
	var errs []error
	if p.runtime != nil {
		errs = append(errs, p.runtime.Close(ctx))
	}
	if p.cache != nil {
		errs = append(errs, p.cache.Close(ctx))
	}
	return errors.Join(errs...)
}
