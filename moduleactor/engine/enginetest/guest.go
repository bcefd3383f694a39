// Package enginetest builds guests for tests, from C and Go, once for each test binary.
package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// guests remembers what was built, by source.
type guests struct {
	mu    sync.Mutex
	built map[string]func() ([]byte, error)
}

var cache = guests{built: map[string]func() ([]byte, error){}} //nolint:gochecknoglobals // once for each test binary

func (g *guests) get(t testing.TB, source string, build func(out string) *exec.Cmd) []byte {
	t.Helper()
	g.mu.Lock()
	once, ok := g.built[source]
	if !ok {
		once = sync.OnceValues(func() ([]byte, error) { return compile(build) })
		g.built[source] = once
	}
	g.mu.Unlock()
	code, err := once()
	if err != nil {
		t.Fatalf("build guest %s: %v", source, err)
	}
	return code
}

func compile(build func(out string) *exec.Cmd) ([]byte, error) {
	dir, err := os.MkdirTemp("", "wazlet-guest-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := build(out)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, text)
	}
	return os.ReadFile(out)
}

// C compiles one C file with the clang and wasi-libc of Debian. Without them the test is skipped, but fails when CI is
// set. More flags may be given.
func C(t testing.TB, source string, flags ...string) []byte {
	t.Helper()
	clang, err := exec.LookPath("clang")
	if err == nil {
		_, err = os.Stat("/usr/lib/wasm32-wasi/libc.a")
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("C guests need clang, lld, wasi-libc and libclang-rt-dev-wasm32: %v", err)
		}
		t.Skipf("C guests need clang, lld, wasi-libc and libclang-rt-dev-wasm32: %v", err)
	}
	source = absolute(t, source)
	return cache.get(t, source+strings.Join(flags, " "), func(out string) *exec.Cmd {
		args := append([]string{"--target=wasm32-wasi", "--sysroot=/usr", "-O1", "-Wall", "-o", out, source}, flags...)
		return exec.CommandContext(t.Context(), clang, args...) //nolint:gosec // a test's own source
	})
}

// Go compiles a main package for wasip1.
func Go(t testing.TB, dir string) []byte {
	t.Helper()
	dir = absolute(t, dir)
	return cache.get(t, dir, func(out string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", out, ".") //nolint:gosec // a test's own source
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "CGO_ENABLED=0")
		return cmd
	})
}

// Testdata is the directory of the guests' sources that come with package engine.
func Testdata() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(filepath.Dir(file)), "testdata")
}

// absolute takes a path relative to Testdata.
func absolute(t testing.TB, path string) string {
	t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(Testdata(), path)
	}
	return path
}
