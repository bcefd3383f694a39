package actorstest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/actors"
)

// stopTimeout is how long Stop waits for one tree.
const stopTimeout = time.Minute

// Bubble runs f with a new System inside a testing/synctest bubble: time passes as soon as everything waits. Options'
// Clock must be nil or the real one, which is fake in a bubble. When f returns, all actors are stopped as by Stop.
func Bubble(t *testing.T, o actors.Options, f func(t *testing.T, s *actors.System)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := actors.New(o)
		f(t, s)
		synctest.Wait()
		Stop(t, s)
	})
}

// Stop stops all root actors of s, with everything below them, and fails the test if something is left or if a counter
// of what should never happen is not zero.
func Stop(t testing.TB, s *actors.System) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for _, i := range s.Registry().Snapshot() {
		if i.Parent != "" {
			continue
		}
		if err := s.StopTree(ctx, s.Engine().NewLocalPID(i.ID)); err != nil {
			t.Errorf("at the end of the test: %v", err)
		}
	}
	for _, i := range s.Registry().Snapshot() {
		t.Errorf("at the end of the test: actor %s is left", i.ID)
	}
	if d := cmp.Diff(actors.Counters{}, s.Counters()); d != "" {
		t.Errorf("at the end of the test: counters that must be zero (-want +got):\n%s", d)
	}
}
