package engine_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// TestFunctions runs one guest as preview 1 and as wasi_unstable.
func TestFunctions(t *testing.T) {
	for name, flags := range map[string][]string{"preview 1": nil, "wasi_unstable": {"-DUNSTABLE"}} {
		t.Run(name, func(t *testing.T) {
			root, volume := t.TempDir(), t.TempDir()
			err := errors.Join(os.Mkdir(filepath.Join(volume, "dir"), 0o700), os.WriteFile(filepath.Join(volume, "file"), []byte("single"), 0o600))
			if err != nil {
				t.Fatal(err)
			}
			var stdout bytes.Buffer
			res := load(t, enginetest.C(t, "wasi.c", flags...)).Run(t.Context(), engine.Guest{
				Args: []string{"wasi"}, Stdout: &stdout, MaxFiles: 64,
				Root: open(t, root, false, rootfs.Mount{Host: volume + "/dir", Guest: "/mnt"}, rootfs.Mount{Host: volume + "/file", Guest: "/conf"}),
			})
			if diff := cmp.Diff("by device\nby number\nok\n", stdout.String()); diff != "" || res.Reason != engine.Completed {
				t.Errorf("%+v\n%s", res, diff)
			}
		})
	}
}
