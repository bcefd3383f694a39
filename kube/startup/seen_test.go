package startup_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/kube/startup"
)

// The first sight of a Pod counts, and each thing that comes of it once. What nobody saw, or was here before, does not count.
func TestSeen(t *testing.T) {
	s := startup.NewSeen()
	s.See("new", at(0))
	s.See("new", at(1))
	s.Begun("new", at(2))
	s.Begun("new", at(3))
	s.Running("new", at(10))
	s.Running("new", at(20))

	s.See("adopted", at(0))
	s.Running("adopted", at(1))
	s.Begun("unseen", at(1))
	s.Running("unseen", at(1))

	s.See("gone", at(0))
	s.Begun("gone", at(1))
	s.Forget("gone")
	s.Running("gone", at(2))

	want := []string{"duration_seconds_sum 10", "duration_seconds_count 1", "kubelet_pod_worker_start_sum 3", "kubelet_pod_worker_start_count 2"}
	if d := cmp.Diff(want, sums(t, s)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
