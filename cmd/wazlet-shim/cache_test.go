package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// cached are the files of the cache with what is in them.
func cached(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCacheIsLeftAlone: what is compiled once is executed by all that have the module, so none of them may change it, not even
// to mend it. It is the daemon that has it compiled.
func TestCacheIsLeftAlone(t *testing.T) {
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		code := enginetest.C(t, "hello.c")
		attempt := 0
		run := func(complaint string) {
			t.Helper()
			spec := d.spec("main", attempt, code, func(s *bundle.Spec) { s.Shim = shim })
			if err := d.Compile(t.Context(), spec.Module, spec.ModuleDigest, shim != ""); err != nil {
				t.Fatal(err)
			}
			attempt++
			before := cached(t, spec.CacheDir)
			if e := d.ended(d.start(spec, bundle.Limits{})); e.Reason != bundle.Completed {
				t.Errorf("%+v", e)
			}
			if diff := cmp.Diff(before, cached(t, spec.CacheDir)); diff != "" {
				t.Errorf("the cache changed: %.300s", diff)
			}
			said := filepath.Join(d.shimDir(), bundle.ShimLogFile)
			if shim == "" {
				dir, err := bundle.Dir(d.root, spec.ID())
				if err != nil {
					t.Fatal(err)
				}
				said = filepath.Join(dir, bundle.ShimLogFile)
			}
			text, err := os.ReadFile(said)
			if err != nil || !strings.Contains(string(text), complaint) || complaint == "" && len(text) > 0 {
				t.Errorf("the shim says %q (%v), want %q", text, err, complaint)
			}
		}
		run("")
		cache := filepath.Join(d.root, "cache")
		for path := range cached(t, cache) {
			if filepath.Ext(path) == ".ok" {
				continue
			}
			if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run("cache of compiled modules")
	})
}
