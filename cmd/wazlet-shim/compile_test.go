package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// shimCommand runs the command in this process.
func shimCommand(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCompile(t *testing.T) {
	dir := t.TempDir()
	file, cache := filepath.Join(dir, "m.wasm"), filepath.Join(dir, "cache")
	if err := os.WriteFile(file, enginetest.C(t, "hello.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := shimCommand("compile", "--module", file, "--cache", cache); code != 0 || stderr != "" {
		t.Fatalf("%d, %s", code, stderr)
	}
	entries := 0
	err := filepath.WalkDir(cache, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			entries++
		}
		return err
	})
	if err != nil || entries != 1 {
		t.Errorf("%d cache entries, %v", entries, err)
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"component.wasm": []byte("\x00asm\x0d\x00\x01\x00"),
		"text.wasm":      []byte("hello\nworld"),
		"empty.wasm":     nil,
		"bad.wasm":       enginetest.Command(1, nil, 0x6a),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	compile := func(file string) []string {
		return []string{"compile", "--module", filepath.Join(dir, file), "--cache", filepath.Join(dir, "cache")}
	}
	for name, tc := range map[string]struct {
		args   []string
		code   int
		stderr string // DIR is where the files are
	}{
		"a component": {compile("component.wasm"), 65, "this is a component (WASI 0.2, wasm version 0d 00 01 00); wazlet runs core modules " +
			"with WASI preview 1: build for the target wasm32-wasip1 (Rust, TinyGo, wasi-sdk) or GOOS=wasip1 (Go)\n"},
		"text":            {compile("text.wasm"), 65, "this is not wasm: it does not start with \"\\0asm\"\n"},
		"invalid":         {compile("bad.wasm"), 65, "invalid function[0] export[\"_start\"]: cannot pop the 1st operand for i32.add: i32 missing\n"},
		"empty":           {compile("empty.wasm"), 65, "module: DIR/empty.wasm is empty\n"},
		"no file":         {compile("nothing.wasm"), 1, "module: open DIR/nothing.wasm: no such file or directory\n"},
		"metered":         {append(compile("text.wasm"), "--metered", "yes"), 2, "wazlet-shim compile: --metered: want true or false (got \"yes\")\n"},
		"tables":          {append(compile("text.wasm"), "--tables", "4294967296"), 2, "wazlet-shim compile: --tables: want a number of elements, 0 to 4294967295 (got \"4294967296\")\n"},
		"no flags":        {[]string{"compile"}, 2, "wazlet-shim compile: --cache is required\n--module is required\n"},
		"an argument":     {append(compile("text.wasm"), "x"), 2, "wazlet-shim compile: unexpected argument \"x\"\n"},
		"no bundle":       {[]string{"run"}, 2, "wazlet-shim run: --bundle is required\n"},
		"not a bundle":    {[]string{"run", "--bundle", dir + "/nothing"}, 1, "wazlet-shim run: attach to DIR/nothing: "},
		"unknown command": {[]string{"destroy"}, 2, "wazlet-shim: unknown command \"destroy\"; allowed: run, exec, serve, compile, version\n"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := shimCommand(tc.args...)
			want := strings.ReplaceAll(tc.stderr, "DIR/", dir+"/")
			if !strings.HasSuffix(want, "\n") { // the rest depends on the system
				stderr = stderr[:min(len(stderr), len(want))]
			}
			if diff := cmp.Diff(want, stderr); diff != "" || code != tc.code || stdout != "" {
				t.Errorf("code %d, stdout %q: %s", code, stdout, diff)
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	if code, _, stderr := shimCommand(); code != 2 || stderr != usage {
		t.Errorf("%d, %s", code, stderr)
	}
	if code, stdout, _ := shimCommand("version"); code != 0 || !strings.HasPrefix(stdout, "wazlet-shim ") || !strings.Contains(stdout, "wazero") {
		t.Errorf("%d, %s", code, stdout)
	}
	if code, stdout, _ := shimCommand("help"); code != 0 || stdout != usage {
		t.Errorf("%d, %s", code, stdout)
	}
}
