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
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/logs"
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

// TestWASITestsuite runs the preview 1 tests of the official suite, each in a shim of its own, and all in a shared one.
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
	for isolation, run := range map[string]func(*testing.T, []byte, func(*bundle.Spec)) ran{
		"process": runAlone, "shared": sharing(newDaemon(t)),
	} {
		t.Run(isolation, func(t *testing.T) {
			for _, module := range modules {
				name := strings.TrimSuffix(module, ".wasm")
				short := strings.Split(strings.TrimPrefix(name, filepath.Clean(filepath.Join(suite, "tests"))+"/"), "/")
				t.Run(short[0]+"/"+short[len(short)-1], func(t *testing.T) { runCase(t, name, run) })
			}
		})
	}
}

func runCase(t *testing.T, name string, run func(*testing.T, []byte, func(*bundle.Spec)) ran) {
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
	got := run(t, code, func(s *bundle.Spec) {
		s.Args = append([]string{filepath.Base(name) + ".wasm"}, tc.Args...)
		for _, k := range slices.Sorted(maps.Keys(tc.Env)) {
			s.Env = append(s.Env, k+"="+tc.Env[k])
		}
		s.TerminationMessagePath = "" // is no file that the tests expect
		if tc.Root != "" {
			if err := os.CopyFS(s.Rootfs, os.DirFS(filepath.Join(filepath.Dir(name), tc.Root))); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got.exit.Code != tc.ExitCode {
		t.Errorf("exit code %d, want %d: %s\n%s%s", got.exit.Code, tc.ExitCode, got.exit.Message, got.stdout, got.stderr)
	}
	for _, o := range []struct {
		want *string
		got  string
	}{{tc.Stdout, got.stdout}, {tc.Stderr, got.stderr}} {
		if o.want != nil && (!got.logged || o.got != *o.want+"\n") {
			if diff := cmp.Diff(*o.want, o.got); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// ran is what is left of a test.
type ran struct {
	exit           bundle.Exit
	stdout, stderr string
	// logged says that both were in a log, which ends every line.
	logged bool
}

// runAlone runs a test in a shim of its own, in the foreground.
func runAlone(t *testing.T, code []byte, change func(*bundle.Spec)) ran {
	dir := newBundle(t, code, func(s *bundle.Spec) { s.Log = nil })
	spec, err := bundle.ReadSpec(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(&spec)
	if err := bundle.WriteSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := command(t, "run", "--bundle", dir)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // its end is in exit.json
	exit, err := bundle.ReadExit(dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return ran{exit, stdout.String(), stderr.String(), false}
}

// sharing runs tests in the shared shim of a daemon; what they print is in their logs.
func sharing(d *daemon) func(*testing.T, []byte, func(*bundle.Spec)) ran {
	n := 0
	return func(t *testing.T, code []byte, change func(*bundle.Spec)) ran {
		n++
		one := *d
		one.t = t
		spec := one.spec("case-"+strconv.Itoa(n), 0, code, nil)
		change(&spec)
		exit := one.ended(one.start(spec, bundle.Limits{}))
		var stdout, stderr bytes.Buffer
		if err := logs.ReadLogs(t.Context(), spec.Log.Path, logs.Options{}, nil, &stdout, &stderr); err != nil {
			t.Fatal(err)
		}
		return ran{exit, stdout.String(), stderr.String(), true}
	}
}
