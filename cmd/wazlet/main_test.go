package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"wazlet": main})
}

// TestScripts runs the command line in testdata/script. Each script has a node to look at in $NODE, and none at $NOBODY.
func TestScripts(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(node.Close)
	nobody := httptest.NewServer(nil)
	nobody.Close()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("NODE", node.URL)
			e.Setenv("NOBODY", nobody.URL)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("NO_COLOR", "1")
			return nil
		},
	})
}

// answer is a node with one Pod.
func answer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/pods":
		_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"hello-edge","namespace":"default","annotations":{"wazlet.dev/manifest-name":"hello"}},
"spec":{"nodeName":"edge","containers":[{"name":"c","image":"i:v1"}]},
"status":{"phase":"Succeeded","containerStatuses":[{"name":"c","restartCount":0,"state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}}]}`)
	case "/debug/actors":
		_, _ = io.WriteString(w, `{"actors":[{"id":"node","parent":"","kind":"node","name":"edge","state":"Running"}]}`)
	case "/containerLogs/default/hello-edge/c":
		_, _ = io.WriteString(w, "hello from stdout!\n"+r.URL.RawQuery+"\n")
	default:
		http.NotFound(w, r)
	}
}

type codedError struct{ code int }

func (codedError) Error() string   { return "" }
func (e codedError) ExitCode() int { return e.code }

func TestExitCode(t *testing.T) {
	for want, err := range map[int]error{1: errors.New("x"), 42: fmt.Errorf("wrapped: %w", codedError{42}), 0: codedError{0}} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestRunWithCanceledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"version"}, nil, strings.NewReader(""), &out, &errs); code != 0 || errs.Len() > 0 {
		t.Errorf("code %d, %s", code, &errs)
	}
}

func TestLookup(t *testing.T) {
	get := lookup([]string{"A=1", "AB=2", "A=3", "EMPTY="})
	if d := cmp.Diff([]string{"3", "2", "", ""}, []string{get("A"), get("AB"), get("EMPTY"), get("NONE")}); d != "" {
		t.Error(d)
	}
}

// What `wazlet version` says of its parts is what go.mod says.
func TestVersionsAreThoseOfTheModule(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required := func(module string) string {
		m := regexp.MustCompile(regexp.QuoteMeta(module) + ` v(\S+)`).FindSubmatch(mod)
		if m == nil {
			t.Fatalf("go.mod does not require %s", module)
		}
		return string(m[1])
	}
	if got := "v" + required("github.com/tetratelabs/wazero"); got != wazeroVersion {
		t.Errorf("wazeroVersion is %s, go.mod has %s", wazeroVersion, got)
	}
	// k8s.io/api v0.X.Y belongs to Kubernetes v1.X.Y.
	if got := "v1" + strings.TrimPrefix(required("k8s.io/api"), "0"); got != kubernetesVersion {
		t.Errorf("kubernetesVersion is %s, go.mod has %s", kubernetesVersion, got)
	}
}

func TestVersionsFromBuildInfo(t *testing.T) {
	info := &debug.BuildInfo{
		Main:     debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "abc"}},
	}
	v := versions{}
	v.fill(info)
	if v.Version != "v1.2.3" || v.Commit != "abc" {
		t.Errorf("got %+v", v)
	}
	v = versions{Version: "linked"}
	v.fill(info)
	if v.Version != "linked" {
		t.Errorf("the linker's version is overridden: %+v", v)
	}
	v = versions{}
	v.fill(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}})
	if v.Version != "" {
		t.Errorf("(devel) is no version: %+v", v)
	}
}

func TestPrintVersions(t *testing.T) {
	want := versions{Version: "v1", Commit: "abc", Go: "go1.26", Wazero: "v2", Kubernetes: "v3", Platform: "linux/arm64"}
	var b bytes.Buffer
	if err := printVersions(&b, "json", want); err != nil {
		t.Fatal(err)
	}
	var got versions
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := printVersions(io.Discard, "xml", want); err == nil {
		t.Error("-o xml: no error")
	}
}
