package status

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What the life of a Pod costs in requests, write by write; docs/adr/0014 has the reasons. The informer knows the newest version,
// as it nearly always does.
func TestLifeInRequests(t *testing.T) {
	creating := phase(corev1.PodPending)
	creating.ContainerStatuses = []corev1.ContainerStatus{{Name: "a", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"},
	}}}
	runs := phase(corev1.PodRunning)
	runs.ContainerStatuses = []corev1.ContainerStatus{running("a")}
	ended := phase(corev1.PodSucceeded)
	ended.ContainerStatuses = []corev1.ContainerStatus{exited("a", 0)}

	known := func(p *corev1.Pod) { p.ResourceVersion = "5" }
	for _, tc := range []struct {
		name string
		slow bool // it takes longer than a second to start
		want []string
	}{
		{"starts at once", false, []string{"patch/status", "patch/status", "delete"}},
		{"pulls for long", true, []string{"patch/status", "patch/status", "patch/status", "delete"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, livePod(known)).start()
			w.Set(livePod(known), creating)
			if tc.slow {
				w.await("that its container is being created", func() bool { return w.api("shop", "web").Status.ContainerStatuses != nil })
				if reason := w.api("shop", "web").Status.ContainerStatuses[0].State.Waiting.Reason; reason != "ContainerCreating" {
					t.Errorf("the container waits for %q", reason)
				}
				w.flush()
			}
			w.Set(livePod(known), runs)
			w.flush()
			for range 3 { // what says nothing new is not sent
				w.Set(livePod(known), *runs.DeepCopy())
			}
			w.flush()
			p := w.api("shop", "web").DeepCopy()
			p.Generation++
			deleting(p)
			w.put(p)
			w.Observe(p)
			seen := *runs.DeepCopy()
			seen.ObservedGeneration = p.Generation
			w.Set(p, seen)
			w.Set(p, ended)
			w.Ended(p)
			w.soon("gone", func() bool { return w.api("shop", "web") == nil })
			w.flush()
			w.wrote(tc.want...)
		})
	}
}
