//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The README's walk-through holds line for line, on the examples that `make run` runs. Of a table the restarts and ages
// may differ, of a ticker's log the numbers.
func TestReadmeHolds(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(readme), "```console\n")
	block, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatal("README.md has no console block")
	}
	n := newNode(t)
	n.nodeName = "local"
	n.configure("")
	for _, dir := range []string{"manifests", "manifests-c"} {
		n.applyExamples(filepath.Join("..", "..", "..", "deploy", "examples", dir))
	}
	n.start()
	commands := strings.Split(block, "$ bin/wazlet ")[1:]
	if len(commands) < 3 {
		t.Fatalf("README.md shows %d commands, want at least 3", len(commands))
	}
	for _, c := range commands {
		line, want, _ := strings.Cut(c, "\n")
		n.await("wazlet "+line+" to print what the README says", func() error {
			got, err := n.try(strings.Fields(line)...)
			if err != nil {
				return fmt.Errorf("%w: %s", err, got)
			}
			return covers(shape(got), shape(want))
		})
	}
	if page, err := n.get("/debug/"); err != nil || !strings.Contains(string(page), "<title>") {
		t.Errorf("the page: %v: %.200s", err, page)
	}
}

// applyExamples imports the modules that manifests name, as `make run` does, and wants their Pods. The C example is built
// only where there is a compiler for it.
func (n *node) applyExamples(dir string) {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		n.t.Fatalf("no manifests in %s: %v", dir, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		module := filepath.Join(bin, "examples", name+".wasm")
		if _, err := os.Stat(module); err != nil && filepath.Base(dir) == "manifests-c" && os.Getenv("CI") == "" {
			n.t.Logf("without %s: %v", name, err)
			continue
		}
		n.importImage(module, "localhost/wazlet-examples/"+name+":v1")
		text, err := os.ReadFile(file)
		if err != nil {
			n.t.Fatal(err)
		}
		write(n.t, filepath.Join(n.manifests, name+".yaml"), string(text))
	}
}

// shape reduces output to what is the same in each run.
func shape(text string) []string {
	var lines []string
	table := strings.HasPrefix(text, "NAMESPACE")
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fields := strings.Fields(line)
		switch {
		case table:
			line = strings.Join(fields[:min(4, len(fields))], " ")
		case len(fields) == 2 && fields[0] == "tick":
			line = "tick N"
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

// covers tells which line of want got lacks; they must come in order.
func covers(got, want []string) error {
	rest := got
	for _, line := range want {
		i := slices.Index(rest, line)
		if i < 0 {
			return fmt.Errorf("no line %q in\n%s", line, strings.Join(got, "\n"))
		}
		rest = rest[i+1:]
	}
	return nil
}
