package main

import (
	"strings"
	"testing"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// The limits of the spec are the guest's: it cannot open more, and what it prints too fast comes late, but comes.
func TestGuestLimits(t *testing.T) {
	const printed = 1500
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		spec := d.spec("c", 0, enginetest.C(t, "limits.c", "-Wl,-z,stack-size=1048576"), func(s *bundle.Spec) {
			s.Shim, s.Args, s.GuestLimits = shim, []string{"limits", "1500"}, bundle.GuestLimits{OpenFiles: 20, OutputBytesPerSecond: 1024}
		})
		if e := d.ended(d.running(spec)); e.Reason != bundle.Completed {
			t.Errorf("%+v", e)
		}
		log := d.log(spec)
		if !strings.Contains(log, "stdout F 16 open, errno 33\n") { // besides the standard streams and the root; 33 is EMFILE
			t.Errorf("%.200s", log)
		}
		if !strings.Contains(log, "stdout F poll 1, then errno 28\n") { // EINVAL
			t.Errorf("%.300s", log)
		}
		if n := strings.Count(log, "x"); n != printed-printed/64 {
			t.Errorf("%d bytes came, want %d", n, printed-printed/64)
		}
	})
}
