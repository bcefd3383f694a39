package main

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// TestOpenFiles: a guest can open as many files in one isolation as in the other, also more than any shim needs.
func TestOpenFiles(t *testing.T) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	many := int(min(own.Max-ownFiles, maxOpenFiles+100))
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		for limit, want := range map[int]int{0: 1024, many: many} {
			spec := d.spec(fmt.Sprintf("c%d", limit), 0, enginetest.C(t, "limits.c", "-Wl,-z,stack-size=1048576"), func(s *bundle.Spec) {
				s.Shim, s.Args, s.GuestLimits.OpenFiles = shim, []string{"limits", "0"}, limit
			})
			if e := d.ended(d.start(spec, bundle.Limits{})); e.Reason != bundle.Completed {
				t.Errorf("%+v", e)
			}
			// Besides the standard streams and the root; 33 is EMFILE.
			if line := fmt.Sprintf("stdout F %d open, errno 33\n", want-4); !strings.Contains(d.log(spec), line) {
				t.Errorf("limit %d: %.200s", limit, d.log(spec))
			}
		}
	})
}

// A shared shim lets itself open files enough for ten thousand guests, or all that it may.
func TestSharedShimRaisesItsFiles(t *testing.T) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	want := own.Max
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: own.Cur, Max: max(own.Max, sharedFiles)}) == nil {
		want = max(own.Max, sharedFiles) // and so may the shim
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
			t.Fatal(err)
		}
	}
	d := newDaemon(t)
	p := d.running(d.spec("c", 0, enginetest.C(t, "idle.c"), nil))
	var got unix.Rlimit
	if err := unix.Prlimit(p.PID(), unix.RLIMIT_NOFILE, nil, &got); err != nil {
		t.Fatal(err)
	}
	if got.Cur != want || got.Max != want {
		t.Errorf("it may open %d files, at most %d; want %d", got.Cur, got.Max, want)
	}
}
