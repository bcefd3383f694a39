package engine_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// TestRacesWithLinks lets a guest use a directory that two other processes, as it were, keep exchanging for links that lead
// out of its root: one for a relative link, one for a link in the middle of the path. 0 of its attempts may succeed.
func TestRacesWithLinks(t *testing.T) {
	root := playground(t)
	base := filepath.Dir(root)
	outside := filepath.Join(base, "outside")
	err := errors.Join(
		os.MkdirAll(filepath.Join(root, "real"), 0o700), os.WriteFile(filepath.Join(root, "real", "secret"), []byte("inside"), 0o600),
		os.WriteFile(filepath.Join(outside, "secret"), []byte(secret), 0o600), os.WriteFile(filepath.Join(outside, "outsider"), nil, 0o600),
		os.WriteFile(filepath.Join(outside, "victim"), []byte(secret), 0o600), os.WriteFile(filepath.Join(outside, "file"), []byte(secret), 0o600),
		os.Symlink("../outside", filepath.Join(root, "evil1")), os.Symlink(outside, filepath.Join(root, "evil2")),
	)
	if err != nil {
		t.Fatal(err)
	}
	before := surroundings(t, root)
	stop := make(chan struct{})
	var swappers sync.WaitGroup
	for _, evil := range []string{"evil1", "evil2"} {
		swappers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, "real"), unix.AT_FDCWD, filepath.Join(root, evil), unix.RENAME_EXCHANGE)
				}
			}
		})
	}
	var out bytes.Buffer
	res := load(t, enginetest.C(t, "race.c")).Run(t.Context(), engine.Guest{Args: []string{"race"}, Stdout: &out, Root: open(t, root, false)})
	close(stop)
	swappers.Wait()
	if diff := cmp.Diff("inside 1 refused 1\n", out.String()); diff != "" || res.Reason != engine.Completed {
		t.Errorf("%+v: %s", res, diff)
	}
	if diff := cmp.Diff(before, surroundings(t, root)); diff != "" {
		t.Errorf("the surroundings changed: %s", diff)
	}
}
