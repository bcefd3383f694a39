package status

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// The API is behind since the first change that it does not have, however many follow.
func TestBehind(t *testing.T) {
	p := livePod()
	w := newWorld(t, p)
	took := make(chan time.Duration, 10)
	w.c.OnWritten = func(d time.Duration) { took <- d }
	w.Set(p, corev1.PodStatus{Phase: corev1.PodPending})
	w.clock.Step(2 * time.Second)
	w.Set(p, corev1.PodStatus{Phase: corev1.PodRunning})
	w.clock.Step(3 * time.Second)
	w.start()
	w.flush()
	w.clock.Step(time.Second)
	w.Set(p, corev1.PodStatus{Phase: corev1.PodRunning}) // nothing new
	w.clock.Step(time.Second)
	w.Set(p, corev1.PodStatus{Phase: corev1.PodSucceeded})
	w.flush()
	close(took)
	var got []time.Duration
	for d := range took {
		got = append(got, d)
	}
	if diff := cmp.Diff([]time.Duration{5 * time.Second, 0}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
