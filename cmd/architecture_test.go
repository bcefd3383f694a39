// Package cmd holds the binaries. Its test keeps the import walls of docs/architecture.md standing.
package cmd

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/wazlet/wazlet"

// pkg is what `go list` tells of one package.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// A wall forbids packages to import others. In from and to a path stands for itself and everything below it; paths
// without a dot in their first element are ours.
type wall struct {
	name       string
	from, to   []string
	except     []string // packages below from that may
	transitive bool
	reason     string
}

func walls() []wall {
	columns := []string{"nodeactor", "podactor", "moduleactor", "actors"}
	return []wall{
		{
			name: "kube knows no actors", from: []string{"kube"}, to: columns, transitive: true,
			reason: "the Kubernetes column must be usable, and testable, without an actor system (D7)",
		},
		{
			name: "actors is a leaf", from: []string{"actors"}, to: []string{"nodeactor", "podactor", "moduleactor", "kube", "cmd"}, transitive: true,
			reason: "everything imports actors",
		},
		{
			name: "module actors know no pods", from: []string{"moduleactor"}, to: []string{"podactor", "nodeactor", "kube", "cmd"}, transitive: true,
			reason: "a child never imports its parent",
		},
		{
			name: "pod actors know no node", from: []string{"podactor"}, to: []string{"nodeactor", "kube", "cmd"}, transitive: true,
			reason: "a child never imports its parent",
		},
		{
			name: "the node actor knows no Kubernetes column", from: []string{"nodeactor"}, to: []string{"kube", "cmd"}, transitive: true,
			reason: "the columns meet in cmd (D7)",
		},
		{
			name: "only the engine is made of wazero", from: []string{"cmd", "kube", "nodeactor", "podactor", "moduleactor", "actors"},
			to: []string{"github.com/tetratelabs/wazero"}, except: []string{"moduleactor/engine", "cmd/wazlet-bench"},
			reason: "the daemon never compiles and never executes guest code (D1)",
		},
		{
			name: "the daemon does not link wazero", from: []string{"cmd/wazlet"}, to: []string{"github.com/tetratelabs/wazero"}, transitive: true,
			reason: "the daemon never compiles and never executes guest code (D1)",
		},
		{
			name: "only moduleactor/image speaks to registries", from: []string{"cmd", "kube", "nodeactor", "podactor", "moduleactor", "actors"},
			to: []string{"github.com/google/go-containerregistry"}, except: []string{"moduleactor/image"},
			reason: "one place knows image formats",
		},
		{
			name: "client-go stays in the Kubernetes column", from: []string{"nodeactor", "podactor", "moduleactor", "actors"},
			to: []string{"k8s.io/client-go"}, transitive: true,
			reason: "an actor that waits for the API server cannot be stopped (D7)",
		},
		{
			name: "the shim stays small", from: []string{"cmd/wazlet-shim"},
			to:         []string{"k8s.io", "github.com/asynkron/protoactor-go", "github.com/google/go-containerregistry", "go.uber.org/zap"},
			transitive: true, reason: "there is one shim for each container; each megabyte in it counts thousands of times",
		},
	}
}

func TestImportWalls(t *testing.T) {
	pkgs := list(t)
	if len(pkgs) < 10 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	for _, w := range walls() {
		t.Run(w.name, func(t *testing.T) {
			judged := 0
			for _, p := range pkgs {
				if !within(p.ImportPath, w.from) || within(p.ImportPath, w.except) {
					continue
				}
				judged++
				imports := p.Imports
				if w.transitive {
					imports = p.Deps
				}
				for _, i := range imports {
					if within(i, w.to) {
						t.Errorf("%s imports %s: %s", p.ImportPath, i, w.reason)
					}
				}
			}
			if judged == 0 {
				t.Errorf("the wall judges no package; from: %v", w.from)
			}
		})
	}
}

// Each module that go.mod requires directly has its reason in docs/dependencies.md.
func TestDependenciesHaveReasons(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := os.ReadFile(filepath.Join("..", "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for line := range strings.Lines(string(mod)) {
		path, version, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || !strings.HasPrefix(line, "\t") || strings.Contains(version, "// indirect") {
			continue
		}
		direct++
		if !strings.Contains(string(reasons), path) {
			t.Errorf("%s: docs/dependencies.md has no reason for it", path)
		}
	}
	if direct < 10 {
		t.Errorf("go.mod requires only %d modules directly", direct)
	}
}

// list returns every package of the module, without tests.
func list(t *testing.T) []pkg {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps", "./...")
	c.Dir = ".."
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		if strings.HasPrefix(p.ImportPath, module) {
			pkgs = append(pkgs, p)
		}
	}
}

// within tells whether path is one of roots or below it.
func within(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		if first, _, _ := strings.Cut(root, "/"); !strings.Contains(first, ".") {
			root = module + "/" + root
		}
		return path == root || strings.HasPrefix(path, root+"/")
	})
}
