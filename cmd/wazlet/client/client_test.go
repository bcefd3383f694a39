package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// fakeNode answers as a node does.
type fakeNode struct {
	*httptest.Server

	mu     sync.Mutex
	pods   []corev1.Pod
	actors string
	logs   map[string]string // by path
	asked  []string          // what /containerLogs was asked
	events chan string       // nil: there is no event stream
}

func newFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	f := &fakeNode{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pods", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = json.NewEncoder(w).Encode(corev1.PodList{Items: f.pods})
	})
	mux.HandleFunc("GET /debug/actors", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_, _ = io.WriteString(w, f.actors)
	})
	mux.HandleFunc("GET /containerLogs/", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked = append(f.asked, r.URL.String())
		text, ok := f.logs[r.URL.Path]
		if !ok {
			http.Error(w, "container is waiting to start: ContainerCreating", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, text)
	})
	mux.HandleFunc("GET /debug/events", f.serveEvents)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeNode) serveEvents(w http.ResponseWriter, r *http.Request) {
	if f.events == nil {
		http.NotFound(w, r)
		return
	}
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case e, ok := <-f.events:
			if !ok {
				return
			}
			_, _ = fmt.Fprintf(w, "event: transition\ndata: %s\n\n", e)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (f *fakeNode) set(pods ...corev1.Pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods = pods
}

// output is what a command wrote so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// wait waits until the output contains text.
func (o *output) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(o.String(), text) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %q in\n%s", text, o)
		}
	}
}

// wazlet runs a command line against the node.
func (f *fakeNode) wazlet(ctx context.Context, out, notes io.Writer, args ...string) error {
	return wazlet(ctx, func(name string) string {
		if name == EndpointVariable {
			return f.URL
		}
		return ""
	}, out, notes, args...)
}

func wazlet(ctx context.Context, getenv func(string) string, out, notes io.Writer, args ...string) error {
	root := &cobra.Command{Use: "wazlet", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands(getenv)...) //nolint:contextcheck // ExecuteContext hands ctx to them
	root.SetOut(out)
	root.SetErr(notes)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// try returns what a command printed, to both streams, and its error as a last line.
func (f *fakeNode) try(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := f.wazlet(t.Context(), &out, &out, args...); err != nil {
		fmt.Fprintln(&out, "error:", err)
	}
	return out.String()
}

func pod(namespace, name string, containers ...string) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name + "-node", UID: "uid-1",
			Annotations: map[string]string{"wazlet.dev/manifest-name": name},
		},
		Spec: corev1.PodSpec{NodeName: "node"},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "127.88.0.2",
			StartTime: &metav1.Time{Time: time.Now().Add(-2*time.Hour - time.Minute)},
		},
	}
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c, Image: "i/" + c + ":v1"})
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, running(c))
	}
	return p
}

func running(name string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func TestGetPods(t *testing.T) {
	f := newFakeNode(t)
	if got := f.try(t, "get", "pods"); got != "No Pods found.\n" {
		t.Errorf("got %q", got)
	}
	f.set(pod("default", "b", "x", "y"), pod("batch", "a", "x"), pod("default", "a", "x"))
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"all": {[]string{"get", "pods"}, `
NAMESPACE   NAME     READY   STATUS    RESTARTS   AGE
batch       a-node   1/1     Running   0          121m
default     a-node   1/1     Running   0          121m
default     b-node   2/2     Running   0          121m
`},
		"-A": {[]string{"get", "po", "-A", "-n", ""}, "\nNAMESPACE"},
		"wide": {[]string{"get", "pods", "-n", "default", "-o", "wide"}, `
NAMESPACE   NAME     READY   STATUS    RESTARTS   AGE    IP           NODE   IMAGES
default     a-node   1/1     Running   0          121m   127.88.0.2   node   i/x:v1
default     b-node   2/2     Running   0          121m   127.88.0.2   node   i/x:v1,i/y:v1
`},
		"one": {[]string{"get", "pod", "b"}, `
NAMESPACE   NAME     READY   STATUS    RESTARTS   AGE
default     b-node   2/2     Running   0          121m
`},
		"of a namespace":     {[]string{"get", "pods", "batch/a"}, "\nNAMESPACE   NAME     READY   STATUS    RESTARTS   AGE\nbatch       a-node   1/1     Running   0          121m\n"},
		"none there":         {[]string{"get", "pods", "-n", "x"}, "\nNo Pods found.\n"},
		"not found":          {[]string{"get", "pods", "zzz"}, "\nerror: no Pod \"zzz\" on this node; 'wazlet get pods' lists those that there are\n"},
		"both flags":         {[]string{"get", "pods", "-A", "-n", "x"}, "\nerror: -n and -A exclude each other\n"},
		"bad format":         {[]string{"get", "pods", "-o", "xml"}, "\nerror: invalid argument \"xml\" for \"-o, --output\" flag: must be wide, json or yaml (got \"xml\")\n"},
		"nothing to get":     {[]string{"get"}, "\nerror: get what? one of pods, actors\n"},
		"something else":     {[]string{"get", "nodes"}, "\nerror: cannot get \"nodes\"; it must be pods or actors\n"},
		"namespaces differ":  {[]string{"get", "pods", "batch/a", "-n", "x"}, "\nerror: batch/a is not in namespace x\n"},
		"endpoint not a URL": {[]string{"get", "pods", "--endpoint", "ftp://x"}, "\nerror: --endpoint: must be a URL such as http://127.0.0.1:10248 (got \"ftp://x\")\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := "\n" + f.try(t, tc.args...)
			if name == "-A" {
				got = got[:len("\nNAMESPACE")]
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestGetPodsObjects(t *testing.T) {
	f := newFakeNode(t)
	a, b := pod("default", "a", "x"), pod("default", "b", "x")
	f.set(a, b)
	var list corev1.PodList
	if err := json.Unmarshal([]byte(f.try(t, "get", "pods", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if list.Kind != "PodList" || list.APIVersion != "v1" || len(list.Items) != 2 || list.Items[0].Kind != "Pod" {
		t.Errorf("got %+v", list)
	}
	var one corev1.Pod
	if err := yaml.Unmarshal([]byte(f.try(t, "get", "pods", "b", "-o", "yaml")), &one); err != nil {
		t.Fatal(err)
	}
	if one.Kind != "Pod" || one.Name != "b-node" || one.Status.PodIP != "127.88.0.2" {
		t.Errorf("got %+v", one)
	}
	f.set()
	if err := json.Unmarshal([]byte(f.try(t, "get", "pods", "-o", "json")), &list); err != nil || list.Items == nil {
		t.Errorf("an empty list must be a list: %v, %v", list.Items, err)
	}
}

func TestNoNode(t *testing.T) {
	f := newFakeNode(t)
	f.Close()
	want := "error: no node listens at " + f.URL + ": start one with 'wazlet run', or name another with --endpoint or WAZLET_ENDPOINT\n"
	for _, args := range [][]string{{"get", "pods"}, {"get", "pods", "-w"}, {"get", "actors"}, {"logs", "x"}} {
		if got := f.try(t, args...); got != want {
			t.Errorf("%v: got %q", args, got)
		}
	}
}

func TestNotANode(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/pods" {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, "<html>")
	}))
	t.Cleanup(s.Close)
	for _, tc := range []struct{ what, want string }{
		{"pods", "GET /pods: 418 I'm a teapot"},
		{"actors", "/debug/actors at " + s.URL + " is not a wazlet node: invalid character '<' looking for beginning of value"},
	} {
		err := wazlet(t.Context(), func(string) string { return "" }, io.Discard, io.Discard,
			"get", tc.what, "--endpoint", strings.TrimPrefix(s.URL, "http://"))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", tc.what, err, tc.want)
		}
	}
}

// watching runs a command that goes on; stop ends it as Ctrl-C does, and returns its error.
func (f *fakeNode) watching(t *testing.T, args ...string) (out *output, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out = &output{}
	done := make(chan error, 1)
	go func() { done <- f.wazlet(ctx, out, out, args...) }()
	ended := false
	stop = func() error {
		ended = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("did not end")
		}
	}
	t.Cleanup(func() {
		if !ended {
			_ = stop()
		}
	})
	return out, stop
}

func TestWatchPods(t *testing.T) {
	for name, events := range map[string]chan string{"by events": make(chan string), "by polling": nil} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNode(t)
			f.events = events
			a, b := pod("default", "a", "x"), pod("default", "b", "x")
			f.set(a, b)
			out, stop := f.watching(t, "get", "pods", "-w")
			out.wait(t, "b-node   1/1     Running   0          121m\n")

			crashed := *b.DeepCopy()
			crashed.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
			crashed.Status.ContainerStatuses[0].RestartCount = 2
			f.set(a, crashed)
			if events != nil {
				events <- "{}"
			}
			out.wait(t, "default     b-node   0/1     CrashLoopBackOff   2          121m\n")
			f.set(crashed)
			if events != nil {
				events <- "{}"
			}
			out.wait(t, "default     a-node   1/1     Terminating        0          121m\n")
			if err := stop(); err != nil {
				t.Errorf("Ctrl-C: %v", err)
			}
			if n := strings.Count(out.String(), "\n"); n != 5 {
				t.Errorf("%d lines, want header, two Pods and two changes:\n%s", n, out)
			}
		})
	}
}

func TestWatchOneObject(t *testing.T) {
	f := newFakeNode(t)
	f.events = make(chan string)
	a := pod("default", "a", "x")
	f.set(a)
	out, stop := f.watching(t, "get", "pods", "a", "-w", "-o", "json")
	out.wait(t, "\n}\n")
	f.events <- "{}"
	a.Status.Phase = corev1.PodSucceeded
	f.set(a)
	f.events <- "{}"
	out.wait(t, `"phase": "Succeeded"`)
	f.set()
	f.events <- "{}"
	out.wait(t, `"deletionTimestamp"`)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(out.String(), `"kind": "Pod"`); n != 3 {
		t.Errorf("%d objects, want 3:\n%s", n, out)
	}
}

func TestWatchEndsWithTheNode(t *testing.T) {
	f := newFakeNode(t)
	f.events = make(chan string)
	f.set(pod("default", "a", "x"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, done := &output{}, make(chan error, 1)
	go func() { done <- f.wazlet(ctx, out, out, "get", "pods", "-w") }()
	out.wait(t, "a-node")
	close(f.events)
	if err := <-done; err == nil || !strings.Contains(err.Error(), "the connection was closed") {
		t.Errorf("got %v", err)
	}
}

func actorsJSON(now time.Time, crashState string) string {
	since := now.Add(-100*time.Minute - 10*time.Second).Format(time.RFC3339Nano)
	next := now.Add(40*time.Minute + 50*time.Second).Format(time.RFC3339Nano)
	return `{"actors":[
{"id":"n/pods/1","parent":"n","kind":"pod","name":"default/a","state":"Running","since":"` + since + `","mailbox":{"length":0,"highWater":3},"handling":{"message":"podactor.Apply","since":"` + since + `"},"handled":12,"restarts":0,"nextRestart":null,"lastFailure":null},
{"id":"n/pods/1/y","parent":"n/pods/1","kind":"module","name":"y","state":"Running","since":"` + since + `","mailbox":{"length":2,"highWater":2},"handling":null,"handled":5,"restarts":0,"nextRestart":null,"lastFailure":null},
{"id":"n","parent":"","kind":"node","name":"node","state":"Running","since":"` + since + `","mailbox":{"length":0,"highWater":9},"handling":null,"handled":99,"restarts":0,"nextRestart":null,"lastFailure":null},
{"id":"n/pods/1/x","parent":"n/pods/1","kind":"module","name":"x","state":"` + crashState + `","since":"` + since + `","mailbox":{"length":0,"highWater":1},"handling":null,"handled":7,"restarts":4,"nextRestart":"` + next + `","lastFailure":{"time":"` + since + `","reason":"Error","message":"exit 1","stack":""}},
{"id":"n/pods/2","parent":"n","kind":"pod","name":"default/b","state":"Preparing","since":"0001-01-01T00:00:00Z","mailbox":{"length":0,"highWater":0},"handling":null,"handled":0,"restarts":0,"nextRestart":null,"lastFailure":null}
]}`
}

func TestGetActors(t *testing.T) {
	f := newFakeNode(t)
	f.actors = actorsJSON(time.Now(), "Exited")
	want := `
ACTOR          KIND     STATE       SINCE       RESTARTS   NEXT RESTART   MAILBOX
node           node     Running     100m        0          -              0
├─ default/a   pod      Running     100m        0          -              0
│  ├─ x        module   Exited      100m        4          40m            0
│  └─ y        module   Running     100m        0          -              2
└─ default/b   pod      Preparing   <unknown>   0          -              0
`
	if d := cmp.Diff(want, "\n"+f.try(t, "get", "actors")); d != "" {
		t.Error(d)
	}
	wide := f.try(t, "get", "actors", "-o", "wide")
	for _, part := range []string{"podactor.Apply 100m", "Error (100m ago)", "n/pods/1/x\n", "HIGH WATER"} {
		if !strings.Contains(wide, part) {
			t.Errorf("-o wide lacks %q:\n%s", part, wide)
		}
	}
	var a, b any
	if err := json.Unmarshal([]byte(f.try(t, "get", "actors", "-o", "json")), &a); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(f.try(t, "get", "actors", "-o", "yaml")), &b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
}

func TestGetNoActors(t *testing.T) {
	f := newFakeNode(t)
	f.actors = `{"actors":[]}`
	if got := f.try(t, "get", "actors"); got != "ACTOR   KIND   STATE   SINCE   RESTARTS   NEXT RESTART   MAILBOX\n" {
		t.Errorf("got %q", got)
	}
}

// A list that is no tree is shown, too: each actor once.
func TestGrow(t *testing.T) {
	list := []actor{{ID: "a", Parent: "b"}, {ID: "b", Parent: "a"}, {ID: "c", Parent: "c"}, {ID: "d", Parent: "gone"}, {ID: "e", Parent: "d"}}
	var got []string
	for _, l := range grow(list) {
		got = append(got, l.prefix+l.ID)
	}
	if d := cmp.Diff([]string{"c", "d", "└─ e", "a", "└─ b"}, got); d != "" {
		t.Error(d)
	}
}

func TestWatchActors(t *testing.T) {
	f := newFakeNode(t)
	f.events = make(chan string)
	now := time.Now()
	f.actors = actorsJSON(now, "Exited")
	out, stop := f.watching(t, "get", "actors", "-w")
	out.wait(t, "default/b")
	before := len(out.String())
	f.mu.Lock()
	f.actors = actorsJSON(now, "Pulling")
	f.mu.Unlock()
	f.events <- "{}"
	out.wait(t, "Pulling")
	f.mu.Lock()
	f.actors = `{"actors":[]}`
	f.mu.Unlock()
	f.events <- "{}"
	out.wait(t, "n/pods/2 ")
	if err := stop(); err != nil {
		t.Error(err)
	}
	if news := out.String()[before:]; strings.Count(news, "\n") != 6 || strings.Count(news, "Gone") != 5 {
		t.Errorf("want one change and five ends:\n%s", news)
	}
}

func TestLogs(t *testing.T) {
	f := newFakeNode(t)
	multi := pod("default", "multi", "main", "side")
	multi.Spec.InitContainers = []corev1.Container{{Name: "setup"}}
	multi.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
	annotated := pod("default", "annotated", "main", "side")
	annotated.Annotations[defaultContainerAnnotation] = "side"
	f.set(pod("default", "hello", "c"), pod("batch", "job", "c"), multi, annotated, pod("x", "twin", "c"), pod("y", "twin", "c"),
		pod("default", "both", "c"), pod("z", "both", "c"), pod("default", "empty"))
	f.logs = map[string]string{
		"/containerLogs/default/hello-node/c":        "hello from stdout!\n",
		"/containerLogs/batch/job-node/c":            "job\n",
		"/containerLogs/default/multi-node/main":     "main\n",
		"/containerLogs/default/multi-node/setup":    "setup\n",
		"/containerLogs/default/annotated-node/side": "side\n",
		"/containerLogs/default/both-node/c":         "both\n",
	}
	for name, tc := range map[string]struct{ args, want, asked string }{
		"by the manifest's name": {"hello", "hello from stdout!\n", "/containerLogs/default/hello-node/c"},
		"by the full name":       {"hello-node", "hello from stdout!\n", "/containerLogs/default/hello-node/c"},
		"every flag": {
			"hello -c c -f --tail 3 --since 1500ms --timestamps -p", "hello from stdout!\n",
			"/containerLogs/default/hello-node/c?follow=true&previous=true&sinceSeconds=2&tailLines=3&timestamps=true",
		},
		"no lines":            {"hello --tail=0", "hello from stdout!\n", "/containerLogs/default/hello-node/c?tailLines=0"},
		"unique elsewhere":    {"job", "Pod job-node is in namespace batch\njob\n", "/containerLogs/batch/job-node/c"},
		"with namespace":      {"batch/job", "job\n", "/containerLogs/batch/job-node/c"},
		"with -n":             {"job -n batch", "job\n", "/containerLogs/batch/job-node/c"},
		"default comes first": {"both", "both\n", "/containerLogs/default/both-node/c"},
		"several containers":  {"multi", "Defaulted container \"main\" out of: main, side, setup (init), debug (ephemeral)\nmain\n", "/containerLogs/default/multi-node/main"},
		"an init container":   {"multi -c setup", "setup\n", "/containerLogs/default/multi-node/setup"},
		"container by annotation": {
			"annotated", "Defaulted container \"side\" out of: main, side\nside\n", "/containerLogs/default/annotated-node/side",
		},
		"not yet":           {"multi -c side", "error: container is waiting to start: ContainerCreating\n", "/containerLogs/default/multi-node/side"},
		"ambiguous":         {"twin", "error: \"twin\" may be any of x/twin-node, y/twin-node; say which\n", ""},
		"no such Pod":       {"zzz", "error: no Pod \"zzz\" on this node; 'wazlet get pods' lists those that there are\n", ""},
		"no such container": {"multi -c zzz", "error: -c: must be a container of Pod multi-node, that is one of main, side, setup (init), debug (ephemeral) (got \"zzz\")\n", ""},
		"no containers":     {"empty", "error: the Pod empty-node has no containers\n", ""},
		"no name":           {"", "error: needs the name of one Pod (got 0 arguments)\n", ""},
		"bad tail":          {"hello --tail=-2", "error: --tail: must be -1 or more (got -2)\n", ""},
		"bad since":         {"hello --since=-1s", "error: --since: must not be negative (got -1s)\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f.asked = nil
			got := f.try(t, append([]string{"logs"}, strings.Fields(tc.args)...)...)
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			if asked := strings.Join(f.asked, " "); asked != tc.asked {
				t.Errorf("asked for %s, want %s", asked, tc.asked)
			}
		})
	}
}

// A Pod that was replaced by another of its name ends before the other begins.
func TestChangedTellsOfTheEndFirst(t *testing.T) {
	v := &podViewer{now: time.Now}
	old, replacement := pod("default", "a", "x"), pod("default", "a", "x")
	replacement.UID = "uid-0"
	v.remember([]corev1.Pod{old})
	got := v.changed([]corev1.Pod{replacement})
	if len(got) != 2 || got[0].UID != old.UID || got[0].DeletionTimestamp == nil || got[1].UID != replacement.UID {
		t.Errorf("got %+v", got)
	}
}
