package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// suiteEnv names a checkout of WebAssembly/wasi-testsuite, its branch prod/testsuite-base; see make wasi-testsuite.
const suiteEnv = "WAZLET_WASI_TESTSUITE"

// testCase is what a test of the suite says in its JSON file; what it does not say has the default.
type testCase struct {
	Args     []string          `json:"args"`
	Root     string            `json:"root"`
	Env      map[string]string `json:"env"`
	ExitCode int32             `json:"exit_code"`
	Stdout   *string           `json:"stdout"`
	Stderr   *string           `json:"stderr"`
}

// TestWASITestsuite runs the preview 1 tests of the official suite, each in a shim.
func TestWASITestsuite(t *testing.T) {
	suite := os.Getenv(suiteEnv)
	if suite == "" {
		t.Skipf("%s is not set: make wasi-testsuite DIR=... runs it", suiteEnv)
	}
	modules, err := filepath.Glob(filepath.Join(suite, "tests", "*", "testsuite", "wasm32-wasip1", "*.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if len(modules) < 72 {
		t.Fatalf("%s has %d tests for wasm32-wasip1, want at least 72: is it a checkout of the branch prod/testsuite-base?", suite, len(modules))
	}
	for _, module := range modules {
		name := strings.TrimSuffix(module, ".wasm")
		short := strings.Split(strings.TrimPrefix(name, filepath.Clean(filepath.Join(suite, "tests"))+"/"), "/")
		t.Run(short[0]+"/"+short[len(short)-1], func(t *testing.T) { runCase(t, name) })
	}
}

func runCase(t *testing.T, name string) {
	code, err := os.ReadFile(name + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	var tc testCase
	switch text, err := os.ReadFile(name + ".json"); {
	case err == nil:
		if err := json.Unmarshal(text, &tc); err != nil {
			t.Fatal(err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		t.Fatal(err)
	}
	dir := newBundle(t, code, func(s *bundle.Spec) {
		s.Log, s.Args = nil, append([]string{filepath.Base(name) + ".wasm"}, tc.Args...)
		for _, k := range slices.Sorted(maps.Keys(tc.Env)) {
			s.Env = append(s.Env, k+"="+tc.Env[k])
		}
	})
	if tc.Root != "" {
		if err := os.CopyFS(filepath.Join(dir, bundle.RootfsDir), os.DirFS(filepath.Join(filepath.Dir(name), tc.Root))); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd := command(t, "run", "--bundle", dir)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // its end is in exit.json
	exit, err := bundle.ReadExit(dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if exit.Code != tc.ExitCode {
		t.Errorf("exit code %d, want %d: %s\n%s%s", exit.Code, tc.ExitCode, exit.Message, stdout.String(), stderr.String())
	}
	for _, o := range []struct {
		want *string
		got  string
	}{{tc.Stdout, stdout.String()}, {tc.Stderr, stderr.String()}} {
		if o.want != nil {
			if diff := cmp.Diff(*o.want, o.got); diff != "" {
				t.Error(diff)
			}
		}
	}
}
