package moduleactor

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// TestLayOutBehindALink: the shim follows no link, so a root directory that is one is resolved in the spec.
func TestLayOutBehindALink(t *testing.T) {
	dir := tree(t, map[string]string{"root/": "", "link": "->root", "image/file": "x"})
	j := job{cfg: Config{RootDir: filepath.Join(dir, "link")}}
	j.run.Spec.Pod.UID, j.run.Spec.Container, j.run.Spec.LogDir = "uid", "main", filepath.Join(dir, "logs")
	want := filepath.Join(dir, "root", "pods", "uid", "main", "0", bundle.RootfsDir)
	for range 2 { // again, as after a start that failed
		got, err := j.layOut(t.Context(), image.Image{Rootfs: filepath.Join(dir, "image")})
		if err != nil || got != want {
			t.Fatalf("got %s, %v; want %s", got, err, want)
		}
		if diff := cmp.Diff(map[string]string{"file": "x"}, read(t, got)); diff != "" {
			t.Error(diff)
		}
		if err := os.WriteFile(filepath.Join(got, "left"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(want), bundle.SpecFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := j.layOut(t.Context(), image.Image{}); !errors.Is(err, bundle.ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
}
