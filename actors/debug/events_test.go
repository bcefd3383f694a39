package debug_test

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/debug"
)

// client is the other end of a stream. Its Write waits for flows, as on a slow network.
type client struct {
	header http.Header
	code   int

	mu    sync.Mutex
	lines bytes.Buffer
	flows chan struct{} // closed: writes go through; nil likewise
}

func (c *client) Header() http.Header  { return c.header }
func (c *client) WriteHeader(code int) { c.code = code }
func (c *client) Flush()               {}

func (c *client) Write(p []byte) (int, error) {
	if c.flows != nil {
		<-c.flows
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines.Write(p)
}

// take waits until nothing more happens in the bubble, and returns and forgets what has arrived.
func (c *client) take() string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.lines.String()
	c.lines.Reset()
	return s
}

// bench is a handler in a bubble of synctest, where time is virtual.
type bench struct {
	*scene
	handler http.Handler
	boot    string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	now := clock.RealClock{}.Now()
	recorder := debug.NewRecorder(nil)
	s := newScene(now, recorder)
	h, err := debug.New(debug.Config{Recorder: recorder, Actors: s, Counters: s.counts, Pods: s.list})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{s, h, strconv.FormatInt(now.UnixMilli(), 36)}
}

// open starts a stream and returns its client. It ends with the test, or when end is called.
func (b *bench) open(t *testing.T, path string, header ...string) (c *client, end func()) {
	t.Helper()
	c = &client{header: http.Header{}}
	return c, b.connect(t, c, path, header...)
}

func (b *bench) connect(t *testing.T, c *client, path string, header ...string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.handler.ServeHTTP(c, request(http.MethodGet, path, header...).WithContext(ctx))
	}()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func letterTo(target string) actors.DeadLetter {
	return actors.DeadLetter{Time: noon, Target: target, Message: "podactor.Apply", Sender: "node"}
}

func letterFrame(b *bench, number int, target string) string {
	return "id: " + b.boot + "-" + strconv.Itoa(number) + "\nevent: deadletter\n" +
		`data: {"time":"2026-03-01T12:00:00Z","target":"` + target + `","message":"podactor.Apply","sender":"node"}` + "\n\n"
}

func TestEventShapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		c, end := b.open(t, "/debug/events")
		defer end()
		ref := actors.PodRef{UID: "u", Namespace: "shop", Name: "cart"}
		const pod = `"pod":{"uid":"u","namespace":"shop","name":"cart"}`
		b.recorder.Observe(actors.Transition{Time: noon, Actor: "pods/u/app", Kind: actors.KindModule, Name: "app", Pod: ref, From: "Starting", To: "Running", Why: "started"})
		b.recorder.Observe(actors.Decision{Time: noon, Child: "pods/u/app", Pod: ref, Container: "app", Reason: actors.ReasonOOMKilled, Code: 137, Directive: actors.DirectiveRestart, Delay: 10 * time.Second, Restarts: 2})
		b.recorder.Observe(actors.Failure{Time: noon, Actor: "pods/u", Kind: actors.KindPod, Pod: ref, Reason: "index out of range", Message: "podactor.Apply", Stack: "goroutine 1"})
		b.recorder.Observe(letterTo("pods/v"))
		b.recorder.Observe(actors.Notice{Time: noon, Pod: ref, FieldPath: "spec.containers{app}", Warning: true, Reason: actors.ReasonBackOff, Message: "back-off 10s"})
		b.recorder.Observe(actors.Notice{Time: noon, Pod: ref, Reason: actors.ReasonKilling, Message: "stopping\ncart"})
		const at = `{"time":"2026-03-01T12:00:00Z",`
		var want strings.Builder
		want.WriteString("retry: 1000\n\n")
		for i, frame := range []string{
			"transition\ndata: " + at + `"actor":"pods/u/app","kind":"module","name":"app",` + pod + `,"from":"Starting","to":"Running","why":"started"}`,
			"decision\ndata: " + at + `"child":"pods/u/app",` + pod + `,"container":"app","reason":"OOMKilled","code":137,"directive":"restart","delay":"10s","restarts":2}`,
			"failure\ndata: " + at + `"actor":"pods/u","kind":"pod",` + pod + `,"reason":"index out of range","message":"podactor.Apply","stack":"goroutine 1"}`,
			"deadletter\ndata: " + at + `"target":"pods/v","message":"podactor.Apply","sender":"node"}`,
			"notice\ndata: " + at + pod + `,"fieldPath":"spec.containers{app}","type":"Warning","reason":"BackOff","message":"back-off 10s"}`,
			"notice\ndata: " + at + pod + `,"fieldPath":"","type":"Normal","reason":"Killing","message":"stopping\ncart"}`,
		} {
			want.WriteString("id: " + b.boot + "-" + strconv.Itoa(i+1) + "\nevent: " + frame + "\n\n")
		}
		if diff := cmp.Diff(want.String(), c.take()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := c.header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type %q", got)
		}
	})
}

func TestEventsBeatWhenSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		c, end := b.open(t, "/debug/events")
		defer end()
		c.take()
		<-time.After(14 * time.Second)
		if got := c.take(); got != "" {
			t.Errorf("too soon: %q", got)
		}
		<-time.After(2 * time.Second)
		if got := c.take(); got != ": heartbeat\n\n" {
			t.Errorf("after 16 s: %q", got)
		}
	})
}

func TestEventsResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 5 {
			b.recorder.Observe(letterTo("t" + strconv.Itoa(i+1)))
		}
		for _, tc := range []struct{ name, id, query, want string }{
			{"from an id", b.boot + "-3", "", letterFrame(b, 4, "t4") + letterFrame(b, 5, "t5")},
			{"nothing missed", b.boot + "-5", "", ""},
			{"from an id in the query", "", "?lastEventId=" + b.boot + "-4", letterFrame(b, 5, "t5")},
			{"backlog", "", "?backlog=1", letterFrame(b, 5, "t5")},
			{"an id says more than a backlog", b.boot + "-4", "?backlog=3", letterFrame(b, 5, "t5")},
			{"no backlog", "", "", ""},
			{"of another run", "zzz-3", "?backlog=1", "event: gap\ndata: {}\n\n" + letterFrame(b, 5, "t5")},
			{"of the future", b.boot + "-99", "", "event: gap\ndata: {}\n\n"},
			{"no id at all", "nonsense", "", "event: gap\ndata: {}\n\n"},
		} {
			c, end := b.open(t, "/debug/events"+tc.query, "Last-Event-ID", tc.id)
			if diff := cmp.Diff("retry: 1000\n\n"+tc.want, c.take()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.name, diff)
			}
			end()
		}
	})
}

func TestEventsThatAreNotKeptLeaveAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for range 5000 {
			b.recorder.Observe(letterTo("t"))
		}
		c, end := b.open(t, "/debug/events", "Last-Event-ID", b.boot+"-10")
		defer end()
		got := c.take()
		if n := strings.Count(got, "event: deadletter"); !strings.HasPrefix(got, "retry: 1000\n\nevent: gap\n") || n != 4096 {
			t.Errorf("%d events after %q", n, got[:40])
		}
	})
}

func TestSlowReaderBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		flows := make(chan struct{})
		slow := &client{header: http.Header{}, flows: flows}
		endSlow := b.connect(t, slow, "/debug/events")
		fast, endFast := b.open(t, "/debug/events")
		defer endSlow()
		defer endFast()
		fast.take()
		for i := range 2000 {
			b.recorder.Observe(letterTo("t")) // would deadlock the bubble if it waited
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		if n := strings.Count(fast.take(), "event: deadletter"); n != 2000 {
			t.Errorf("the fast reader got %d events", n)
		}
		close(flows)
		got := slow.take()
		n := strings.Count(got, "event: deadletter")
		want := `event: dropped` + "\n" + `data: {"count":` + strconv.Itoa(2000-n) + "}\n"
		if n == 2000 || !strings.Contains(got, want) {
			t.Errorf("the slow reader got %d events and no %q", n, want)
		}
		b.recorder.Observe(letterTo("later"))
		if got := slow.take(); got != letterFrame(b, 2001, "later") {
			t.Errorf("afterwards: %q", got)
		}
	})
}

func TestStreamsEndWhenTheRecorderIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		_, end := b.open(t, "/debug/events?actors=true")
		b.recorder.Close()
		synctest.Wait()
		end()
		b.recorder.Observe(letterTo("t")) // must not panic
		c, end := b.open(t, "/debug/events")
		end()
		if got := c.take(); c.code != http.StatusServiceUnavailable || got != "the node is shutting down\n" {
			t.Errorf("%d %q", c.code, got)
		}
	})
}

func TestTooManyStreamsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ends := make([]func(), 32)
		for i := range ends {
			_, ends[i] = b.open(t, "/debug/events")
		}
		c, end := b.open(t, "/debug/events")
		end()
		if got := c.take(); c.code != http.StatusServiceUnavailable || got != "too many streams are open (32); close one\n" {
			t.Errorf("%d %q", c.code, got)
		}
		for _, end := range ends {
			end()
		}
		c, end = b.open(t, "/debug/events")
		if got := c.take(); got != "retry: 1000\n\n" {
			t.Errorf("after the others went: %q", got)
		}
		end()
	})
}

func TestRowsAreSentAsDeltas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ref := b.pod("shop", "cart", "app")
		b.pod("shop", "search", "app")
		c, end := b.open(t, "/debug/events?actors=true")
		defer end()
		first := c.take()
		if strings.Count(first, "event: actors") != 1 || !strings.Contains(first, `"reset":true`) || strings.Count(first, `"parent"`) != 5 ||
			!strings.Contains(first, `"pod":{"uid":"`+ref.UID+`","namespace":"shop","name":"cart"}`) || !strings.Contains(first, `"counters":{`) {
			t.Fatalf("at first: %s", first)
		}
		tick := func() string { <-time.After(time.Second); return c.take() }
		if got := tick(); got != "" {
			t.Errorf("nothing changed, but: %s", got)
		}
		b.change(podID(ref), func(i *actors.Info) {
			i.Handled = 99
			i.Handling = &actors.Handling{Message: "m", Since: clock.RealClock{}.Now().Add(time.Second)}
		})
		if got := tick(); got != "" {
			t.Errorf("a message handled in passing is no news, but: %s", got)
		}
		b.change(podID(ref), func(i *actors.Info) { i.Mailbox.Length = 4 })
		if got := tick(); strings.Count(got, `"parent"`) != 1 || !strings.Contains(got, `"length":4`) || strings.Contains(got, "reset") || strings.Contains(got, "counters") {
			t.Errorf("one changed: %s", got)
		}
		at := clock.RealClock{}.Now()
		b.recorder.Observe(actors.Transition{Time: at, Actor: podID(ref), Kind: actors.KindPod, Pod: ref, From: "Running", To: "Terminating"})
		if got := tick(); strings.Count(got, "event: transition") != 1 || !strings.Contains(got, `"upTo":1,"actors":[{"id":"`+podID(ref)+`"`) {
			t.Errorf("the registry has the last word after a transition, but: %s", got)
		}
		b.remove(moduleID(ref, "app"))
		if got := tick(); strings.Contains(got, `"parent"`) || !strings.Contains(got, `"removed":["`+moduleID(ref, "app")+`"]`) {
			t.Errorf("one went: %s", got)
		}
		b.mu.Lock()
		b.counters.Zombies = 1
		b.mu.Unlock()
		if got := tick(); !strings.Contains(got, `"counters":{"Swallowed":0,"Resurrected":0,"Zombies":1`) {
			t.Errorf("a counter: %s", got)
		}
		var quiet strings.Builder
		for range 20 {
			quiet.WriteString(tick())
		}
		if quiet := quiet.String(); quiet != ": heartbeat\n\n" {
			t.Errorf("twenty quiet seconds: %q", quiet)
		}
	})
}

func TestManyRowsAreSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 600 {
			b.pod("shop", "pod-"+strconv.Itoa(i), "app")
		}
		c, end := b.open(t, "/debug/events?actors=true")
		defer end()
		got := c.take()
		if n := strings.Count(got, "event: actors"); n != 3 || strings.Count(got, `"reset":true`) != 1 || strings.Count(got, `"parent"`) != 1201 {
			t.Errorf("%d events, %d rows", n, strings.Count(got, `"parent"`))
		}
	})
}

func TestHeadOfEventsEnds(t *testing.T) {
	h, _ := serve(t, oneFailing)
	c := &client{header: http.Header{}}
	h.ServeHTTP(c, request(http.MethodHead, "/debug/events"))
	if c.lines.Len() != 0 || c.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%q %v", c.lines.String(), c.header)
	}
}
