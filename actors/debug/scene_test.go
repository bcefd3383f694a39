package debug_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/debug"
)

// scene is a made-up tree: what a registry, an observer and a list of Pods would say of it.
type scene struct {
	now      time.Time // when the scene was set
	recorder *debug.Recorder

	mu       sync.Mutex
	infos    map[string]*actors.Info
	pods     []*corev1.Pod
	past     []actors.Event // not told to the recorder yet; nil unless the scene is being set
	counters actors.Counters
}

func newScene(now time.Time, r *debug.Recorder) *scene {
	s := &scene{now: now, recorder: r, infos: map[string]*actors.Info{}}
	s.infos["node"] = &actors.Info{ID: "node", Kind: actors.KindNode, Name: "edge-1", State: "Running", Since: now.Add(-26 * time.Hour), Handled: 5021}
	return s
}

// Snapshot implements debug.Tree.
func (s *scene) Snapshot() []actors.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]actors.Info, 0, len(s.infos))
	for _, i := range s.infos {
		list = append(list, *i)
	}
	slices.SortFunc(list, func(a, b actors.Info) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (s *scene) list(context.Context) ([]*corev1.Pod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pods), nil
}

func (s *scene) counts() actors.Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters
}

// change alters one actor under the lock.
func (s *scene) change(id string, f func(*actors.Info)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.infos[id])
}

func (s *scene) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.infos, id)
}

// pod adds a Pod with its actors, idle since an hour.
func (s *scene) pod(namespace, name string, containers ...string) actors.PodRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref := actors.PodRef{UID: fmt.Sprintf("%08x-5b1e-4c7a-9f00-%012x", len(s.pods)*7919, len(s.pods)), Namespace: namespace, Name: name}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(ref.UID), CreationTimestamp: metav1.NewTime(s.now.Add(-time.Hour)),
	}}
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	pod.Status.Phase = corev1.PodRunning
	s.put(podID(ref), "node", actors.KindPod, namespace+"/"+name, ref)
	for _, c := range containers {
		image := "registry.example.com/" + namespace + "/" + name + ":1.4.2"
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: c, Image: image, Args: []string{"--password=hunter2"}, Env: []corev1.EnvVar{{Name: "TOKEN", Value: "hunter2"}},
		})
		s.put(moduleID(ref, c), podID(ref), actors.KindModule, c, ref)
	}
	s.pods = append(s.pods, pod)
	return ref
}

func (s *scene) put(id, parent string, kind actors.Kind, name string, ref actors.PodRef) {
	s.infos[id] = &actors.Info{
		ID: id, Parent: parent, Kind: kind, Name: name, Pod: ref, State: "Running", Since: s.now.Add(-time.Hour),
		Mailbox: actors.MailboxInfo{HighWater: 2}, Handled: 14,
	}
}

func podID(ref actors.PodRef) string              { return "node/" + ref.UID }
func moduleID(ref actors.PodRef, c string) string { return podID(ref) + "/" + c }

// move lets an actor change its state: the registry shows it and the recorder hears of it.
func (s *scene) move(id, to, why string, at time.Time) {
	s.mu.Lock()
	i := s.infos[id]
	t := actors.Transition{Time: at, Actor: id, Kind: i.Kind, Name: i.Name, Pod: i.Pod, From: i.State, To: to, Why: why}
	i.State, i.Since = to, at
	s.mu.Unlock()
	s.tell(t)
}

// began forgets an actor's state, for a history that starts with its creation.
func (s *scene) began(id, state, why string, at time.Time) {
	s.change(id, func(i *actors.Info) { i.State = "" })
	s.move(id, state, why, at)
}

// start walks a container to Running, as if its image was pulled for the given time.
func (s *scene) start(id string, at time.Time, pull time.Duration) time.Time {
	s.move(id, "Pulling", "image not present", at)
	s.move(id, "Preparing", "pulled", at.Add(pull))
	s.move(id, "Starting", "bundle written", at.Add(pull+400*time.Millisecond))
	up := at.Add(pull + 550*time.Millisecond)
	s.move(id, "Running", "started", up)
	return up
}

// exit ends a container and lets its supervisor decide.
func (s *scene) exit(ref actors.PodRef, container string, at time.Time, d actors.Decision, message string) {
	id := moduleID(ref, container)
	s.move(id, "Exited", fmt.Sprintf("%s (%d)", d.Reason, d.Code), at)
	d.Time, d.Child, d.Pod, d.Container = at, id, ref, container
	s.change(id, func(i *actors.Info) {
		i.LastFailure = &actors.FailureInfo{Time: at, Reason: string(d.Reason), Message: message}
		i.Restarts = uint64(d.Restarts)
		i.NextRestart = nil
		if d.Directive == actors.DirectiveRestart {
			next := at.Add(d.Delay)
			i.NextRestart = &next
		}
	})
	s.tell(d)
}

// tell gives an event to the recorder, at once or, while a scene is being set, in the order of time.
func (s *scene) tell(e actors.Event) {
	if s.past != nil {
		s.past = append(s.past, e)
		return
	}
	s.recorder.Observe(e)
}

// set makes a scene of events that are told in any order.
func (s *scene) set(f func()) {
	s.past = []actors.Event{}
	f()
	slices.SortStableFunc(s.past, func(a, b actors.Event) int { return timeOf(a).Compare(timeOf(b)) })
	for _, e := range s.past {
		s.recorder.Observe(e)
	}
	s.past = nil
}

func timeOf(e actors.Event) time.Time {
	switch e := e.(type) {
	case actors.Transition:
		return e.Time
	case actors.Decision:
		return e.Time
	case actors.Failure:
		return e.Time
	case actors.DeadLetter:
		return e.Time
	case actors.Notice:
		return e.Time
	}
	return time.Time{}
}
