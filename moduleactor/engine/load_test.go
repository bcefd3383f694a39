package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// entry returns the only file below dir.
func entry(t *testing.T, dir string) string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) != 1 {
		t.Fatalf("want one cache entry, got %q (%v)", files, err)
	}
	return files[0]
}

// loadAndRun loads the hello guest with the cache and runs it.
func loadAndRun(t *testing.T, dir string) *engine.Program {
	t.Helper()
	p, err := engine.Load(t.Context(), engine.Source{Code: enginetest.C(t, "hello.c"), CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var stdout bytes.Buffer
	res := p.Run(t.Context(), engine.Guest{Args: []string{"hello"}, Stdout: &stdout})
	if res.Reason != engine.Completed || stdout.String() != "arg hello\n" {
		t.Fatalf("%+v, stdout %q", res, stdout.String())
	}
	return p
}

func TestCacheEntryIsNamedByDigest(t *testing.T) {
	dir := t.TempDir()
	loadAndRun(t, dir)
	digest := strings.TrimPrefix(engine.Digest(enginetest.C(t, "hello.c")), "sha256:")
	if rel, err := filepath.Rel(dir, entry(t, dir)); err != nil || !strings.HasPrefix(rel, digest+"/") {
		t.Errorf("entry %s, %v", rel, err)
	}
}

func TestCorruptCacheEntryIsCompiledAgain(t *testing.T) {
	for name, damage := range map[string]func(good []byte) []byte{
		"empty":                 func([]byte) []byte { return nil },
		"truncated to a header": func(good []byte) []byte { return good[:9] },
		"truncated":             func(good []byte) []byte { return good[:len(good)/2] },
		"one byte short":        func(good []byte) []byte { return good[:len(good)-1] },
		"bad magic":             func(good []byte) []byte { return append([]byte("NOTWAZERO"), good[9:]...) },
		"flipped bits in code": func(good []byte) []byte {
			good[len(good)*3/4] ^= 0xff
			return good
		},
		"a huge number of functions": func(good []byte) []byte {
			i := bytes.IndexByte(good, '1') + len("1.12.0") // the version ends the header
			copy(good[i:], "\xff\xff\xff\x7f")
			return good
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			loadAndRun(t, dir)
			file := entry(t, dir)
			good, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(bytes.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := loadAndRun(t, dir).CacheError(); err != nil {
				t.Errorf("the cache was not used: %v", err)
			}
			again, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, good) {
				t.Errorf("the entry was not made again: %d bytes, want %d", len(again), len(good))
			}
		})
	}
}

func TestCacheEntryIsADirectory(t *testing.T) {
	dir := t.TempDir()
	loadAndRun(t, dir)
	file := entry(t, dir)
	if err := errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := loadAndRun(t, dir).CacheError(); err != nil {
		t.Error(err)
	}
	if entry(t, dir) != file {
		t.Error("another entry")
	}
}

func TestUnusableCacheIsDoneWithout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := loadAndRun(t, filepath.Join(file, "cache")).CacheError(); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got %v", err)
	}
}

func TestInvalidModules(t *testing.T) {
	for name, tc := range map[string]struct {
		code []byte
		want string
	}{
		"a component": {
			[]byte("\x00asm\x0d\x00\x01\x00"),
			"this is a component (WASI 0.2, wasm version 0d 00 01 00); wazlet runs core modules with WASI preview 1: " +
				"build for the target wasm32-wasip1 (Rust, TinyGo, wasi-sdk) or GOOS=wasip1 (Go)",
		},
		"text":         {[]byte("hello world"), `this is not wasm: it does not start with "\0asm"`},
		"empty":        {nil, `this is not wasm: it does not start with "\0asm"`},
		"malformed":    {enginetest.Module([]byte{1, 5, 0}), "malformed wasm at offset 0xa: a section of 5 bytes in 1"},
		"a type error": {enginetest.Command(1, nil, 0x6a), "invalid function[0] export[\"_start\"]: cannot pop the 1st operand for i32.add: i32 missing"},
		"a reactor": {
			enginetest.Module(
				enginetest.Section(1, enginetest.Type(nil, nil)), enginetest.Section(3, enginetest.U32(0)),
				enginetest.Section(7, enginetest.Export("add", 0, 0)), enginetest.Section(10, enginetest.Body()),
			),
			"it exports no function _start (it is a library or a reactor, not a command); its functions are add",
		},
		"an unknown import": {
			enginetest.Command(1, [][]byte{enginetest.Import("env", "log", 0, 1)}, 0x6a), // found before the code is looked at
			"it imports what wazlet does not provide: env.log(i32) (provided: the 57 functions of WASI preview 1 and of WasmEdge's sockets, as " +
				"wasi_snapshot_preview1 and wasi_unstable)",
		},
		"tail call": {enginetest.Command(1, nil, 0x12, 0), "invalid function[0] export[\"_start\"]: return_call invalid as feature \"tail-call\" is disabled"},
		"atomics":   {enginetest.Command(1, nil, 0xfe, 3, 0), "invalid function[0] export[\"_start\"]: atomic.fence invalid as feature \"threads\" is disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := engine.Load(t.Context(), engine.Source{Code: tc.code, CacheDir: t.TempDir()})
			if _, ok := errors.AsType[*engine.InvalidModule](err); !ok {
				t.Fatalf("got %v (%T)", err, err)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongDigest(t *testing.T) {
	code := enginetest.Command(1, nil)
	_, err := engine.Load(t.Context(), engine.Source{Code: code, Digest: engine.Digest(nil)})
	want := "the module has the digest " + engine.Digest(code) + ", want " + engine.Digest(nil)
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoadObeysContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := engine.Load(ctx, engine.Source{Code: enginetest.C(t, "hello.c"), CacheDir: t.TempDir()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
