package debug_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/debug"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// serve makes a handler over a scene that is set at noon and stays there.
func serve(t *testing.T, set func(*scene)) (http.Handler, *scene) {
	t.Helper()
	c := clocktesting.NewFakeClock(noon)
	recorder := debug.NewRecorder(c)
	s := newScene(noon, recorder)
	set(s)
	h, err := debug.New(debug.Config{
		Recorder: recorder, Actors: s, Counters: s.counts, Pods: s.list, Clock: c, Node: "edge-1", Version: "v0.1.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, s
}

func request(method, path string, header ...string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:10248"+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(http.MethodGet, path, header...))
	return w
}

// same compares an answer with the JSON that is wanted, written over several lines for reading.
func same(t *testing.T, want, got string) {
	t.Helper()
	lines := regexp.MustCompile(`\n\s*`).ReplaceAllString(strings.TrimSpace(want), "")
	if diff := cmp.Diff(lines, strings.TrimSpace(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func oneFailing(s *scene) {
	ref := s.pod("shop", "cart", "app")
	s.change(podID(ref), func(i *actors.Info) {
		i.Mailbox = actors.MailboxInfo{Length: 3, HighWater: 8}
		i.Handling = &actors.Handling{Message: "podactor.Apply", Since: noon.Add(-4 * time.Second)}
	})
	s.exit(ref, "app", noon.Add(-time.Minute), actors.Decision{
		Reason: actors.ReasonError, Code: 3, Directive: actors.DirectiveRestart, Delay: 80 * time.Second, Restarts: 2,
	}, "exit code 3")
}

const nodeEntry = `{"id":"node","parent":"","kind":"node","name":"edge-1","state":"Running","since":"2026-02-28T10:00:00Z",
	"mailbox":{"length":0,"highWater":0},"handling":null,"handled":5021,"restarts":0,"nextRestart":null,"lastFailure":null}`

const podEntry = `{"id":"node/00000000-5b1e-4c7a-9f00-000000000000","parent":"node","kind":"pod","name":"shop/cart","state":"Running",
	"since":"2026-03-01T11:00:00Z","mailbox":{"length":3,"highWater":8},"handling":{"message":"podactor.Apply","since":"2026-03-01T11:59:56Z"},
	"handled":14,"restarts":0,"nextRestart":null,"lastFailure":null}`

const moduleEntry = `{"id":"node/00000000-5b1e-4c7a-9f00-000000000000/app","parent":"node/00000000-5b1e-4c7a-9f00-000000000000",
	"kind":"module","name":"app","state":"Exited","since":"2026-03-01T11:59:00Z","mailbox":{"length":0,"highWater":2},"handling":null,
	"handled":14,"restarts":2,"nextRestart":"2026-03-01T12:00:20Z","lastFailure":{"time":"2026-03-01T11:59:00Z","reason":"Error",
	"message":"exit code 3","stack":""}}`

func TestActors(t *testing.T) {
	h, _ := serve(t, oneFailing)
	for _, tc := range []struct{ query, want string }{
		{"", nodeEntry + "," + podEntry + "," + moduleEntry},
		{"?sort=mailbox", podEntry + "," + moduleEntry + "," + nodeEntry},
		{"?sort=restarts", moduleEntry + "," + nodeEntry + "," + podEntry},
		{"?sort=busy", podEntry + "," + nodeEntry + "," + moduleEntry},
		{"?match=EXITED", moduleEntry},
		{"?match=shop/cart&sort=restarts", moduleEntry + "," + podEntry},
		{"?match=nothing-like-it", ""},
	} {
		t.Run(tc.query, func(t *testing.T) {
			w := get(h, "/debug/actors"+tc.query)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s", w.Code, w.Header().Get("Content-Type"))
			}
			same(t, `{"actors":[`+tc.want+`]}`, w.Body.String())
		})
	}
}

func TestActorsRefusesAnUnknownOrder(t *testing.T) {
	h, _ := serve(t, oneFailing)
	w := get(h, "/debug/actors?sort=size")
	if want := `sort: want mailbox, restarts or busy, got "size"`; w.Code != http.StatusBadRequest || strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("%d %q, want 400 %q", w.Code, w.Body, want)
	}
}

func TestPod(t *testing.T) {
	h, _ := serve(t, oneFailing)
	w := get(h, "/debug/pods/shop/cart")
	same(t, `{"uid":"00000000-5b1e-4c7a-9f00-000000000000","namespace":"shop","name":"cart","created":"2026-03-01T11:00:00Z",
		"spec":{"restartPolicy":"Always","containers":[{"name":"app","type":"main","image":"registry.example.com/shop/cart:1.4.2","resources":{}}],
		"volumes":[]},"status":{"phase":"Running"},
		"history":[{"time":"2026-03-01T11:59:00Z","actor":"node/00000000-5b1e-4c7a-9f00-000000000000/app","from":"Running","to":"Exited","why":"Error (3)"}]}`,
		w.Body.String())
}

func TestPodShowsEveryKindOfContainer(t *testing.T) {
	always, class, grace := corev1.ContainerRestartPolicyAlways, "wasm-shared", int64(5)
	h, _ := serve(t, func(s *scene) {
		s.pod("shop", "cart", "app")
		s.pods[0].Labels = map[string]string{"app": "cart"}
		spec := &s.pods[0].Spec
		spec.RuntimeClassName, spec.TerminationGracePeriodSeconds = &class, &grace
		spec.InitContainers = []corev1.Container{{Name: "migrate", Image: "m"}, {Name: "proxy", Image: "p", RestartPolicy: &always}}
		spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "look", Image: "l"}}}
		spec.Volumes = []corev1.Volume{{Name: "data"}}
	})
	body := get(h, "/debug/pods/shop/cart").Body.String()
	for _, want := range []string{
		`"labels":{"app":"cart"}`, `"runtimeClassName":"wasm-shared"`, `"terminationGracePeriodSeconds":5`, `"volumes":["data"]`,
		`{"name":"migrate","type":"init","image":"m","resources":{}},{"name":"proxy","type":"sidecar","image":"p","resources":{}},{"name":"app","type":"main"`,
		`{"name":"look","type":"ephemeral","image":"l","resources":{}}]`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}

func TestPodNeverShowsSecrets(t *testing.T) {
	h, _ := serve(t, showcase)
	for _, path := range []string{"/debug/pods/shop/payment-84cd1", "/debug/actors", "/debug/supervision", "/debug/deadletters"} {
		w := get(h, path)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s: %d, an argument or environment value is shown: %s", path, w.Code, w.Body)
		}
	}
}

func TestPodThatHasEnded(t *testing.T) {
	h, s := serve(t, oneFailing)
	s.move("node/00000000-5b1e-4c7a-9f00-000000000000", "Ended", "nothing is left", noon)
	s.pods = nil
	body := get(h, "/debug/pods/shop/cart").Body.String()
	if !strings.Contains(body, `"gone":"2026-03-01T12:00:00Z","spec":null,"status":null,"history":[{`) {
		t.Error(body)
	}
}

func TestPodErrors(t *testing.T) {
	h, _ := serve(t, oneFailing)
	w := get(h, "/debug/pods/shop/other")
	if want := "no pod shop/other, and none that ended within 10m0s\n"; w.Code != http.StatusNotFound || w.Body.String() != want {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	failing, err := debug.New(debug.Config{
		Recorder: debug.NewRecorder(nil), Actors: &scene{},
		Pods: func(context.Context) ([]*corev1.Pod, error) { return nil, errors.New("the node is busy") },
	})
	if err != nil {
		t.Fatal(err)
	}
	w = get(failing, "/debug/pods/shop/cart", "Accept", "application/json")
	if w.Code != http.StatusInternalServerError || w.Body.String() != `{"error":"list pods: the node is busy"}`+"\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestSupervision(t *testing.T) {
	h, s := serve(t, oneFailing)
	s.recorder.Observe(actors.Decision{Time: noon, Child: "pods/x", Reason: actors.ReasonCrash, Directive: actors.DirectiveStop})
	same(t, `{"decisions":[
		{"time":"2026-03-01T11:59:00Z","child":"node/00000000-5b1e-4c7a-9f00-000000000000/app",
		"pod":{"uid":"00000000-5b1e-4c7a-9f00-000000000000","namespace":"shop","name":"cart"},"container":"app","reason":"Error","code":3,
		"directive":"restart","delay":"1m20s","restarts":2},
		{"time":"2026-03-01T12:00:00Z","child":"pods/x","pod":{},"container":"","reason":"Crash","code":0,"directive":"stop","delay":"0s","restarts":0}]}`,
		get(h, "/debug/supervision").Body.String())
}

func TestSupervisionKeepsTheLastThousand(t *testing.T) {
	h, s := serve(t, func(*scene) {})
	for i := range 1100 {
		s.recorder.Observe(actors.Decision{Time: noon, Restarts: i, Directive: actors.DirectiveRestart})
	}
	body := get(h, "/debug/supervision").Body.String()
	if n := strings.Count(body, `"directive"`); n != 1000 || !strings.Contains(body, `"restarts":1099}]`) || strings.Contains(body, `"restarts":99}`) {
		t.Errorf("%d decisions", n)
	}
}

func TestDeadLetters(t *testing.T) {
	h, s := serve(t, func(*scene) {})
	for _, target := range []string{"pods/b", "pods/a", "pods/b"} {
		s.recorder.Observe(actors.DeadLetter{Time: noon, Target: target, Message: "podactor.Apply", Sender: "node"})
	}
	same(t, `{"total":3,"counts":[{"target":"pods/b","message":"podactor.Apply","count":2},{"target":"pods/a","message":"podactor.Apply","count":1}],
		"last":[{"time":"2026-03-01T12:00:00Z","target":"pods/b","message":"podactor.Apply","sender":"node"},
		{"time":"2026-03-01T12:00:00Z","target":"pods/a","message":"podactor.Apply","sender":"node"},
		{"time":"2026-03-01T12:00:00Z","target":"pods/b","message":"podactor.Apply","sender":"node"}]}`,
		get(h, "/debug/deadletters").Body.String())
}

func TestDeadLettersAreCountedInBoundedSpace(t *testing.T) {
	h, s := serve(t, func(*scene) {})
	for i := range 600 {
		s.recorder.Observe(actors.DeadLetter{Time: noon, Target: strings.Repeat("x", i), Message: "m"})
	}
	body := get(h, "/debug/deadletters").Body.String()
	if !strings.Contains(body, `"total":600,"counts":[{"target":"(other)","message":"(other)","count":88}`) || strings.Count(body, `"sender"`) != 200 {
		t.Error(body[:200])
	}
}

func TestEmptyNode(t *testing.T) {
	h, err := debug.New(debug.Config{Recorder: debug.NewRecorder(nil), Actors: &scene{}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/debug/actors":      `{"actors":[]}`,
		"/debug/supervision": `{"decisions":[]}`,
		"/debug/deadletters": `{"total":0,"counts":[],"last":[]}`,
	} {
		if got := strings.TrimSpace(get(h, path).Body.String()); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if w := get(h, "/debug/pods/a/b"); w.Code != http.StatusNotFound {
		t.Errorf("a Pod of a node without a list: %d", w.Code)
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := debug.New(debug.Config{}); err == nil {
		t.Error("no error without Recorder and Actors")
	}
}
