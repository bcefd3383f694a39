package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// inodesAround are those of everything beside root, and of the directory that it is in.
func inodesAround(t *testing.T, root string) (inodes []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(root), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == root {
			return fs.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		inodes = append(inodes, strconv.FormatUint(info.Sys().(*syscall.Stat_t).Ino, 10))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return inodes
}

const noLeaks = "tried enough, 0 leaks\n"

// TestEveryCallWithEveryPath has a guest try every call that takes a path with all that might lead out.
func TestEveryCallWithEveryPath(t *testing.T) {
	for name, readOnly := range map[string]bool{"read-write": false, "read-only": true} {
		t.Run(name, func(t *testing.T) {
			root := playground(t)
			before := surroundings(t, root)
			var out bytes.Buffer
			res := load(t, enginetest.C(t, "attack.c")).Run(t.Context(), engine.Guest{
				Args: append([]string{"attack", "all"}, inodesAround(t, root)...), Stdout: &out, Root: open(t, root, readOnly),
			})
			if diff := cmp.Diff(noLeaks, out.String()); diff != "" || res.Reason != engine.Completed {
				t.Errorf("%+v: %s", res, diff)
			}
			if diff := cmp.Diff(before, surroundings(t, root)); diff != "" {
				t.Errorf("the surroundings changed: %s", diff)
			}
		})
	}
}

// volumeOf is a file system whose volume others have, too.
func volumeOf(t *testing.T, volume string) *rootfs.FS {
	t.Helper()
	f, err := rootfs.Open(rootfs.Mount{Host: t.TempDir()}, []rootfs.Mount{{Host: volume, Guest: "/vol"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestGuestsRace has three guests share a volume: two keep putting a link that leads out and a FIFO in the place of a directory, which
// the third uses in all ways. It sees nothing of what is outside, and never waits at the FIFO.
func TestGuestsRace(t *testing.T) {
	volume := playground(t)
	before := surroundings(t, volume)
	if err := errors.Join(os.Mkdir(filepath.Join(volume, "x"), 0o700), os.Mkdir(filepath.Join(volume, "w"), 0o700), unix.Mkfifo(filepath.Join(volume, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	p := load(t, enginetest.C(t, "attack.c"))
	ctx, cancel := context.WithCancel(t.Context())
	var swappers sync.WaitGroup
	for _, what := range []string{"link", "fifo"} {
		root := volumeOf(t, volume)
		swappers.Go(func() { p.Run(ctx, engine.Guest{Args: []string{"attack", what}, Root: root}) })
	}
	var out bytes.Buffer
	res := p.Run(t.Context(), engine.Guest{Args: append([]string{"attack", "use"}, inodesAround(t, volume)...), Stdout: &out, Root: volumeOf(t, volume)})
	cancel()
	swappers.Wait()
	if diff := cmp.Diff(noLeaks, out.String()); diff != "" || res.Reason != engine.Completed {
		t.Errorf("%+v: %s", res, diff)
	}
	if diff := cmp.Diff(before, surroundings(t, volume)); diff != "" {
		t.Errorf("the surroundings changed: %s", diff)
	}
}
