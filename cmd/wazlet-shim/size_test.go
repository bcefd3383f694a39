package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// TestDependencies keeps the shim small: there is one for each container.
func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); n++ {
		var p struct{ ImportPath string }
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		for _, heavy := range []string{
			"k8s.io/", "github.com/asynkron/protoactor-go", "github.com/google/go-containerregistry", "go.uber.org/zap",
			"github.com/spf13/cobra", "github.com/prometheus/client_golang",
		} {
			if strings.HasPrefix(p.ImportPath, heavy) {
				t.Errorf("the shim links %s", p.ImportPath)
			}
		}
	}
	if n == 0 {
		t.Error("no packages")
	}
}

// TestFootprint measures an idle shim with a guest of one page.
func TestFootprint(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("smaps is Linux's")
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 10<<20 {
		t.Errorf("the binary has %d bytes", info.Size())
	}
	dir := newBundle(t, enginetest.C(t, "idle.c", "-Wl,-z,stack-size=16384"), nil)
	spec, err := bundle.ReadSpec(dir)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, "compile", "--module", spec.Module, "--cache", spec.CacheDir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := start(t, dir)
	logged(t, dir, "up")
	smaps, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "smaps_rollup"))
	if err != nil {
		t.Fatal(err)
	}
	anonymous := field(t, string(smaps), "Anonymous:")
	t.Logf("binary %d KiB, private anonymous memory %d KiB with a guest of 64 KiB", info.Size()>>10, anonymous)
	if anonymous > 4096+64 {
		t.Errorf("%d KiB of private anonymous memory, want less than 4 MiB beyond the guest's", anonymous)
	}
}

func field(t *testing.T, smaps, name string) int {
	t.Helper()
	_, rest, _ := strings.Cut(smaps, name)
	n, err := strconv.Atoi(strings.Fields(rest + " x")[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
