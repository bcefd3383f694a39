package debug_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/debug"
)

var _ debug.Tree = (*actors.Registry)(nil)

// worker is an actor that blocks on request, as one with a bug does.
type worker struct {
	handle  *actors.Handle
	busy    chan struct{}
	release chan struct{}
}

func (w *worker) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		w.handle.Publish("Running", noon)
	case string:
		close(w.busy)
		<-w.release
	}
}

// TestStuckActorIsShown asks about an actor that will not answer anything: the registry must not need it to.
func TestStuckActorIsShown(t *testing.T) {
	recorder := debug.NewRecorder(nil)
	system := actors.New(actors.Options{Observer: recorder.Observe})
	w := &worker{busy: make(chan struct{}), release: make(chan struct{})}
	props, handle := system.Props(actors.KindPod, "shop/cart", actors.PodRef{UID: "u", Namespace: "shop", Name: "cart"}, func(h *actors.Handle) actor.Actor {
		w.handle = h
		return w
	})
	pid, err := system.SpawnRoot(props, "cart", actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective }))
	if err != nil {
		t.Fatal(err)
	}
	h, err := debug.New(debug.Config{Recorder: recorder, Actors: system.Registry(), Counters: system.Counters})
	if err != nil {
		t.Fatal(err)
	}
	system.Root().Send(pid, "work")
	<-w.busy
	system.Root().Send(pid, "more")
	body := get(h, "/debug/actors?match=shop/cart").Body.String()
	for _, want := range []string{
		fmt.Sprintf(`{"actors":[{"id":%q,`, handle.PID().GetId()), `"kind":"pod","name":"shop/cart","state":"Running","since":"2026-03-01T12:00:00Z"`,
		`"mailbox":{"length":1,"highWater":`, `"handling":{"message":"string","since":"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	w.busy = make(chan struct{})
	close(w.release)
	<-w.busy
	if err := system.StopTree(t.Context(), pid); err != nil {
		t.Error(err)
	}
	system.Root().Send(pid, "too late")
	if got := get(h, "/debug/deadletters").Body.String(); !strings.Contains(got, `"message":"string","count":1`) {
		t.Errorf("dead letters: %s", got)
	}
}
