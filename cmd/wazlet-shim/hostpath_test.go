package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	llsyscall "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// A guest of a shared shim has volumes in the directories of the host that are allowed, and, where there is Landlock, nowhere
// else. One that is missing, or a file, keeps nobody from running.
func TestSharedHostPath(t *testing.T) {
	host, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(host, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		allowed []string
		want    bundle.ExitReason
	}{
		"allowed":     {[]string{filepath.Join(host, "missing"), file, host}, bundle.Completed},
		"not allowed": {[]string{filepath.Join(host, "missing"), file}, bundle.StartError},
	} {
		t.Run(name, func(t *testing.T) {
			if v, err := llsyscall.LandlockGetABIVersion(); c.want == bundle.StartError && (err != nil || v < 2) {
				t.Skipf("Landlock: version %d, %v", v, err)
			}
			d := newDaemon(t)
			d.reopen(func(cfg *bundle.Config) { cfg.SharedHostPaths = c.allowed })
			spec := d.withVolumes(filepath.Join(host, "volumes"))
			e := d.ended(d.start(spec, bundle.Limits{}))
			if e.Reason != c.want || c.want == bundle.StartError && !strings.Contains(e.Message, "permission denied") {
				t.Errorf("%+v\n%s", e, d.log(spec))
			}
			said, err := os.ReadFile(filepath.Join(d.shimDir(), bundle.ShimLogFile))
			if err != nil || strings.Count(string(said), "no volumes of the host are possible there") != 2 {
				t.Errorf("the shim says %q, %v", said, err)
			}
		})
	}
}
