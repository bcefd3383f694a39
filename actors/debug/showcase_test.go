package debug_test

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/wazlet/wazlet/actors"
)

const trap = `wasm error: unreachable
wasm stack trace:
	payment.checkout.validate_card(i32,i32) i32
	payment.checkout.handle(i32)
	payment._start()`

// showcase sets a small node on which something is going on: the scene of the screenshots in docs/.
func showcase(s *scene) { s.set(func() { showcaseEvents(s) }) }

func showcaseEvents(s *scene) {
	ago := func(d time.Duration) time.Time { return s.now.Add(-d) }
	up := func(ns, name string, since time.Duration, containers ...string) actors.PodRef {
		ref := s.pod(ns, name, containers...)
		s.began(podID(ref), "Admitting", "applied", ago(since))
		s.move(podID(ref), "Preparing", "admitted", ago(since-20*time.Millisecond))
		s.move(podID(ref), "Running", "volumes ready", ago(since-90*time.Millisecond))
		for _, c := range containers {
			s.began(moduleID(ref, c), "Created", "spawned", ago(since-100*time.Millisecond))
			s.start(moduleID(ref, c), ago(since-120*time.Millisecond), 1800*time.Millisecond)
		}
		return ref
	}
	up("edge", "sensor-gateway", 26*time.Hour, "gateway", "metrics")
	up("edge", "image-resizer", 5*time.Hour, "resizer")
	up("edge", "mqtt-bridge", 5*time.Hour+12*time.Minute, "bridge")
	up("shop", "catalog-7f9c4", 3*time.Hour, "catalog", "cache")
	up("shop", "cart-5d8b7", 2*time.Hour+40*time.Minute, "cart")
	busy := up("shop", "search-6c4f2", 47*time.Minute, "indexer")
	s.change(podID(busy), func(i *actors.Info) {
		i.Mailbox = actors.MailboxInfo{Length: 7, HighWater: 31}
		i.Handling = &actors.Handling{Message: "podactor.prepared", Since: ago(9 * time.Second)}
	})
	crashLoop(s, up, ago)
	oneShots(s, ago)
	arriving(s, ago)
	s.tell(actors.DeadLetter{Time: ago(3 * time.Minute), Target: "pods/1f/main", Message: "moduleactor.Terminate", Sender: "pods/1f"})
}

func crashLoop(s *scene, up func(string, string, time.Duration, ...string) actors.PodRef, ago func(time.Duration) time.Time) {
	ref := up("shop", "payment-84cd1", 6*time.Minute, "checkout", "proxy")
	id := moduleID(ref, "checkout")
	at := ago(5*time.Minute + 30*time.Second)
	for n, delay := range []time.Duration{0, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second} {
		s.exit(ref, "checkout", at, actors.Decision{
			Reason: actors.ReasonError, Code: 134, Directive: actors.DirectiveRestart, Delay: delay, Restarts: n + 1,
		}, trap)
		at = at.Add(delay)
		s.move(id, "Created", "restarted", at)
		s.move(id, "Preparing", "image present", at.Add(10*time.Millisecond))
		s.move(id, "Starting", "bundle written", at.Add(300*time.Millisecond))
		s.move(id, "Running", "started", at.Add(400*time.Millisecond))
		at = at.Add(17 * time.Second)
	}
	s.exit(ref, "checkout", ago(58*time.Second), actors.Decision{
		Reason: actors.ReasonError, Code: 134, Directive: actors.DirectiveRestart, Delay: 160 * time.Second, Restarts: 6,
	}, trap)
	s.tell(actors.Notice{
		Time: ago(58 * time.Second), Pod: ref, FieldPath: "spec.containers{checkout}", Warning: true, Reason: actors.ReasonBackOff,
		Message: "back-off 2m40s restarting failed container=checkout pod=payment-84cd1_shop",
	})
	for _, p := range s.pods {
		if p.Name == ref.Name {
			p.Spec.Volumes = []corev1.Volume{{Name: "ledger"}}
			p.Status.PodIP = "127.88.0.14"
			p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
			p.Spec.Containers[1].Image = "registry.example.com/mesh/proxy:0.9.0"
		}
	}
}

func oneShots(s *scene, ago func(time.Duration) time.Time) {
	nightly := s.pod("batch", "nightly-report", "report")
	s.move(podID(nightly), "Finished", "all containers are done", ago(42*time.Minute))
	s.exit(nightly, "report", ago(42*time.Minute), actors.Decision{Reason: actors.ReasonCompleted, Directive: actors.DirectiveStop}, "")

	convert := s.pod("batch", "convert-2291", "convert")
	s.move(podID(convert), "Finished", "a container failed and is not restarted", ago(8*time.Minute))
	s.exit(convert, "convert", ago(8*time.Minute), actors.Decision{Reason: actors.ReasonOOMKilled, Code: 137, Directive: actors.DirectiveStop}, "memory limit of 32Mi reached")
}

func arriving(s *scene, ago func(time.Duration) time.Time) {
	ref := s.pod("edge", "firmware-check", "check")
	s.began(podID(ref), "Running", "volumes ready", ago(14*time.Second))
	s.began(moduleID(ref, "check"), "Pulling", "image not present", ago(14*time.Second))

	leaving := s.pod("edge", "old-telemetry", "telemetry")
	s.move(podID(leaving), "Terminating", "removed", ago(4*time.Second))

	pull := s.pod("batch", "thumbnailer", "thumb")
	s.move(podID(pull), "Running", "volumes ready", ago(3*time.Minute))
	id := moduleID(pull, "thumb")
	s.began(id, "Pulling", "image not present", ago(13*time.Second))
	s.exit(pull, "thumb", ago(12*time.Second), actors.Decision{
		Reason: actors.ReasonErrImagePull, Directive: actors.DirectiveRestart, Delay: 40 * time.Second,
	}, "pull registry.example.com/batch/thumbnailer:1.4.2: manifest unknown")
	s.move(id, "BackOff", "ErrImagePull", ago(12*time.Second))
}
