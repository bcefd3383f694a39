package meter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wazlet/wazlet/moduleactor/engine/meter"
)

const features = api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst

// options meter as densely as possible, so that most of the tests tick.
var options = meter.Options{Every: 3, MaxTable: 1 << 24, MergeAbove: 1} //nolint:gochecknoglobals // constant

// specification is where wazero keeps the tests of the specification.
func specification(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest")
}

type specValue struct {
	Type     string `json:"type"`
	LaneType string `json:"lane_type"`
	Value    any    `json:"value"`
}

type specCommand struct {
	Type       string `json:"type"`
	Line       int    `json:"line"`
	Name       string `json:"name"`
	Filename   string `json:"filename"`
	As         string `json:"as"`
	ModuleType string `json:"module_type"`
	Action     struct {
		Type   string      `json:"type"`
		Module string      `json:"module"`
		Field  string      `json:"field"`
		Args   []specValue `json:"args"`
	} `json:"action"`
}

// TestSpecification runs the tests of the specification with the original and the rewritten modules side by side: both do
// the same, and what is not valid does not become so. That the original does the right thing is wazero's own test.
func TestSpecification(t *testing.T) {
	root := specification(t)
	spectest, err := os.ReadFile(filepath.Join(root, "testdata/spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, suite := range []string{"v2", "extended-const"} {
		files, err := filepath.Glob(filepath.Join(root, suite, "testdata/*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", suite, err)
		}
		for _, f := range files {
			t.Run(suite+"/"+strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) {
				commands += runSpec(t, f, spectest)
			})
		}
	}
	if commands < 20_000 {
		t.Errorf("only %d commands were compared", commands)
	}
}

// world is a runtime with either the original modules or the rewritten ones.
type world struct {
	ctx     context.Context
	runtime wazero.Runtime
	modules map[string]api.Module
	last    api.Module
	ticks   int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{ctx: t.Context(), modules: map[string]api.Module{}}
	w.runtime = wazero.NewRuntimeWithConfig(w.ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features).WithMemoryLimitPages(65536))
	t.Cleanup(func() { _ = w.runtime.Close(context.WithoutCancel(w.ctx)) })
	_, err := w.runtime.NewHostModuleBuilder(meter.TickModule).NewFunctionBuilder().WithFunc(func() uint32 {
		w.ticks++
		return options.Every
	}).Export(meter.TickName).Instantiate(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// instantiate returns an error that does not depend on addresses.
func (w *world) instantiate(code []byte, name, as string) error {
	m, err := w.runtime.InstantiateWithConfig(w.ctx, code, wazero.NewModuleConfig().WithName(as).WithStartFunctions())
	if err != nil {
		return err
	}
	w.last = m
	if name != "" {
		w.modules[name] = m
	}
	if as != "" {
		w.modules[as] = m
	}
	return nil
}

func (w *world) act(c *specCommand) string {
	m := w.last
	if c.Action.Module != "" {
		m = w.modules[c.Action.Module]
	}
	if m == nil {
		return "no module"
	}
	if c.Action.Type == "get" {
		return strconv.FormatUint(m.ExportedGlobal(c.Action.Field).Get(), 10)
	}
	var args []uint64
	for _, a := range c.Action.Args {
		args = append(args, a.words()...)
	}
	f := m.ExportedFunction(c.Action.Field)
	if f == nil {
		return "no function " + c.Action.Field
	}
	results, err := f.Call(w.ctx, args...)
	if err != nil {
		return firstLine(err)
	}
	// References are addresses.
	n := 0
	for _, t := range f.Definition().ResultTypes() {
		if t == 0x70 && results[n] != 0 {
			results[n] = 1
		}
		if n++; t == 0x7b {
			n++
		}
	}
	return fmt.Sprint(results)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func runSpec(t *testing.T, file string, spectest []byte) (compared int) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var script struct{ Commands []specCommand }
	if err := json.Unmarshal(raw, &script); err != nil {
		t.Fatal(err)
	}
	original, rewritten := newWorld(t), newWorld(t)
	for _, w := range []*world{original, rewritten} {
		if err := w.instantiate(spectest, "", "spectest"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range script.Commands {
		c := &script.Commands[i]
		if c.Filename != "" && !strings.HasSuffix(c.Filename, ".wasm") || c.Type == "register" && i > 0 && script.Commands[i-1].Type == "module" {
			continue
		}
		if c.Type == "assert_exhaustion" {
			continue // seconds each with the race detector; TestEndlessRecursion has one
		}
		compared++
		if c.Filename == "" {
			if want, got := original.act(c), rewritten.act(c); want != got {
				t.Errorf("line %d: %s %s: %s, rewritten %s", c.Line, c.Type, c.Action.Field, want, got)
			}
			continue
		}
		code, err := os.ReadFile(filepath.Join(filepath.Dir(file), c.Filename))
		if err != nil {
			t.Fatal(err)
		}
		as := ""
		if i+1 < len(script.Commands) && script.Commands[i+1].Type == "register" && c.Type == "module" {
			as = script.Commands[i+1].As
		}
		want := original.instantiate(code, c.Name, as)
		changed, got := meter.Rewrite(code, options)
		if got == nil {
			got = rewritten.instantiate(changed, c.Name, as)
		}
		if (want == nil) != (got == nil) {
			t.Errorf("line %d: %s %s: %v, rewritten %v", c.Line, c.Type, c.Filename, want, got)
		}
	}
	return compared
}

// words are the value as wazero takes it.
func (v specValue) words() []uint64 {
	if lanes, ok := v.Value.([]any); ok {
		var out [2]uint64
		width := 128 / len(lanes)
		for i, lane := range lanes {
			out[i*width/64] |= number(fmt.Sprint(lane), width) << (i * width % 64)
		}
		return out[:]
	}
	text, _ := v.Value.(string)
	if v.Type == "externref" && text != "null" {
		return []uint64{number(text, 64) + 1} // 0 is null
	}
	width := 64
	if strings.HasSuffix(v.Type, "32") {
		width = 32
	}
	return []uint64{number(text, width)}
}

func number(text string, width int) uint64 {
	switch {
	case text == "null" || text == "":
		return 0
	case strings.HasPrefix(text, "nan") && width == 32:
		return uint64(math.Float32bits(float32(math.NaN())))
	case strings.HasPrefix(text, "nan"):
		return math.Float64bits(math.NaN())
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}
