package engine_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

func load(t *testing.T, code []byte) *engine.Program {
	t.Helper()
	p, err := engine.Load(t.Context(), engine.Source{Code: code})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestRunHello(t *testing.T) {
	p := load(t, enginetest.C(t, "hello.c"))
	var stdout, stderr bytes.Buffer
	res := p.Run(t.Context(), engine.Guest{
		Args: []string{"hello", "a b"}, Env: []string{"X=1=2", "CODE=7"},
		Stdout: &stdout, Stderr: &stderr,
	})
	if diff := cmp.Diff(engine.Result{Code: 7, Reason: engine.Error}, res); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("arg hello\narg a b\nenv X=1=2\nenv CODE=7\n", stdout.String()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("to stderr\n", stderr.String()); diff != "" {
		t.Error(diff)
	}
}
