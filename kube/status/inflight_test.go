package status

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

// What is said while a write is under way is not lost until the next reconcile: the clock stands still.
func TestSetDuringWrite(t *testing.T) {
	for _, c := range []struct {
		name string
		said corev1.PodPhase
		want []string
	}{
		{"the same again", corev1.PodRunning, []string{"get", "patch/status", "get"}},
		{"something new", corev1.PodSucceeded, []string{"get", "patch/status", "get", "patch/status"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, livePod())
			writing, goOn := make(chan struct{}), make(chan struct{})
			first := true
			w.client.PrependReactor("patch", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
				if first {
					first = false
					close(writing)
					<-goOn
				}
				return false, nil, nil
			})
			w.start()
			w.Set(livePod(), phase(corev1.PodRunning))
			<-writing
			w.Set(livePod(), phase(c.said))
			close(goOn)
			w.flush()
			w.wrote(c.want...)
			if got := w.api("shop", "web").Status.Phase; got != c.said {
				t.Errorf("phase %s, want %s", got, c.said)
			}
		})
	}
}

// That containers are being created is told only of Pods that take long to start: one write less for all others.
func TestCreating(t *testing.T) {
	creating := func(reason, message string) corev1.PodStatus {
		s := phase(corev1.PodPending)
		s.ContainerStatuses = []corev1.ContainerStatus{{Name: "a", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
		}}}
		return s
	}
	w := newWorld(t, livePod()).start()
	w.Set(livePod(), creating("ContainerCreating", ""))
	w.Set(livePod(), phase(corev1.PodRunning))
	w.flush()
	w.wrote("get", "patch/status")

	w.Set(livePod(), creating("PodInitializing", ""))
	w.await("the status of a Pod that takes long", func() bool { return w.count("patch/status") == 1 })
	w.flush()
	w.wrote("get", "patch/status")

	w.Set(livePod(), creating("ErrImagePull", "no such image"))
	w.flush() // at once
	w.wrote("get", "patch/status")
}
