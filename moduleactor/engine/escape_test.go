package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

const secret = "the secret"

// playground makes the layout that the guest escape expects. It returns the guest's root, whose parent has the rest.
func playground(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	root, outside := filepath.Join(base, "root"), filepath.Join(base, "outside")
	err := errors.Join(
		os.MkdirAll(root, 0o700), os.MkdirAll(filepath.Join(outside, "empty"), 0o700),
		os.WriteFile(filepath.Join(base, "secret.txt"), []byte(secret), 0o600),
		os.WriteFile(filepath.Join(base, "secret2.txt"), []byte(secret), 0o600),
		os.WriteFile(filepath.Join(outside, "victim1"), []byte(secret), 0o600),
		os.WriteFile(filepath.Join(outside, "victim2"), []byte(secret), 0o600),
		os.Symlink("../secret.txt", filepath.Join(root, "in")),
		os.Symlink(filepath.Join(base, "secret.txt"), filepath.Join(root, "abs")),
		os.Symlink("../secret2.txt", filepath.Join(root, "abs2")),
		os.Symlink("../outside", filepath.Join(root, "d")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// surroundings describes everything beside root: names, contents, times.
func surroundings(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(filepath.Dir(root), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == root {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(b)
		}
		out[strings.TrimPrefix(path, filepath.Dir(root))] = fmt.Sprint(info.Mode(), info.ModTime().UnixNano(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(out, "") // the parent's own times change with root
	return out
}

// outcomes are the guest's lines by name of the attack.
func outcomes(out string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(out) {
		name, outcome, _ := strings.Cut(strings.TrimSpace(line), ": ")
		m[name] = outcome
	}
	return m
}

// runWithDirMount runs the guest under wazero alone, with wazero's directory mounts.
func runWithDirMount(t *testing.T, mount wazero.FSConfig) map[string]string {
	t.Helper()
	ctx := t.Context()
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	var out bytes.Buffer
	cfg := wazero.NewModuleConfig().WithFSConfig(mount).WithStdout(&out).WithArgs("escape").WithSysWalltime()
	if _, err := r.InstantiateWithConfig(ctx, enginetest.C(t, "escape.c"), cfg); err != nil {
		t.Fatal(err)
	}
	return outcomes(out.String())
}

// TestWazeroDirMountIsNoSandbox shows why this package does not use wazero's directory mounts. If it fails, wazero has
// changed, and package rootfs may not be needed any more.
func TestWazeroDirMountIsNoSandbox(t *testing.T) {
	root := playground(t)
	before := surroundings(t, root)
	got := runWithDirMount(t, wazero.NewFSConfig().WithDirMount(root, "/"))
	for _, attack := range []string{
		"read through a relative link", "read through an absolute link",
		"read through the link made", "read through the directory link made",
	} {
		if got[attack] != "done "+secret {
			t.Errorf("%s: %s", attack, got[attack])
		}
	}
	after := surroundings(t, root)
	for _, planted := range []string{"/outside/planted", "/outside/planted2", "/outside/newdir", "/outside/newlink", "/outside/mine", "/planted3"} {
		if _, ok := after[planted]; !ok {
			t.Errorf("%s was not made outside", planted)
		}
	}
	for _, lost := range []string{"/outside/victim1", "/outside/victim2", "/outside/empty"} {
		if _, ok := after[lost]; ok || before[lost] == "" {
			t.Errorf("%s was not taken", lost)
		}
	}
	if !strings.HasSuffix(before["/secret2.txt"], secret) || strings.HasSuffix(after["/secret2.txt"], secret) {
		t.Error("/secret2.txt was not truncated")
	}
}

func TestWazeroReadOnlyDirMountIsReadable(t *testing.T) {
	root := playground(t)
	got := runWithDirMount(t, wazero.NewFSConfig().WithReadOnlyDirMount(root, "/"))
	for _, attack := range []string{"read through a relative link", "read through an absolute link"} {
		if got[attack] != "done "+secret {
			t.Errorf("%s: %s", attack, got[attack])
		}
	}
}

func TestGuestCannotEscape(t *testing.T) {
	for name, tc := range map[string]struct {
		readOnly bool
		// allowed are steps that stay inside: making a link that leads nowhere.
		allowed []string
	}{
		"read-write": {allowed: []string{"make a link to a directory", "make a link to a file"}},
		"read-only":  {readOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := playground(t)
			before := surroundings(t, root)
			var stdout bytes.Buffer
			p := load(t, enginetest.C(t, "escape.c"))
			res := p.Run(t.Context(), engine.Guest{Args: []string{"escape"}, Stdout: &stdout, Root: open(t, root, tc.readOnly)})
			if res.Reason != engine.Completed {
				t.Fatalf("%+v", res)
			}
			got := outcomes(stdout.String())
			if len(got) != 24 {
				t.Errorf("%d outcomes", len(got))
			}
			var succeeded []string
			for _, attack := range slices.Sorted(maps.Keys(got)) {
				if strings.HasPrefix(got[attack], "done") {
					succeeded = append(succeeded, attack)
				}
			}
			if diff := cmp.Diff(tc.allowed, succeeded); diff != "" {
				t.Errorf("attacks that succeeded: %s", diff)
			}
			if strings.Contains(stdout.String(), secret) {
				t.Errorf("the secret was read:\n%s", stdout.String())
			}
			if diff := cmp.Diff(before, surroundings(t, root)); diff != "" {
				t.Errorf("the surroundings changed: %s", diff)
			}
		})
	}
}
