package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/kube/server"
)

func ended(id string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: id}}
}

func waits(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

var running = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}

// statuses has a container for each situation that a log can be asked in.
func statuses() []corev1.ContainerStatus {
	return []corev1.ContainerStatus{
		{Name: "up", State: running, ContainerID: "wasm://up-0"},
		{Name: "again", State: running, ContainerID: "wasm://again-2", LastTerminationState: ended("wasm://again-1"), RestartCount: 2},
		{Name: "done", State: ended("wasm://done-1"), LastTerminationState: ended("wasm://done-0"), RestartCount: 1},
		{Name: "crashing", State: waits("CrashLoopBackOff"), LastTerminationState: ended("wasm://crashing-4"), RestartCount: 4},
		{Name: "unborn", State: ended(""), LastTerminationState: ended("wasm://unborn-0"), RestartCount: 1},
		{Name: "lost", State: ended("")},
		{Name: "lost-before", State: waits("CrashLoopBackOff"), LastTerminationState: ended("")},
		{Name: "pulling", State: waits("ContainerCreating")},
		{Name: "no-image", State: waits("ErrImagePull")},
		{Name: "no-image-yet", State: waits("ImagePullBackOff")},
		{Name: "unknown"},
	}
}

func TestLogRequests(t *testing.T) {
	p := pod("ns", "p", statuses()...)
	p.Spec.InitContainers = []corev1.Container{{Name: "init"}}
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", State: ended("wasm://init-0")}}
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "look"}}}
	p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "look", State: running, ContainerID: "wasm://look-0"}}
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "fresh"})
	h := server.New(server.Handlers{
		Pods: listing(p, pod("other", "p")),
		Logs: func(_ context.Context, r server.LogRequest, w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s/%s %s #%d", r.Pod.Namespace, r.Container, r.ContainerID, r.Attempt)
			return err
		},
	})
	for _, tc := range []struct {
		path string
		code int
		body string
	}{
		{"up", 200, "ns/up wasm://up-0 #0"},
		{"again", 200, "ns/again wasm://again-2 #2"},
		{"again?previous=true", 200, "ns/again wasm://again-1 #1"},
		{"done", 200, "ns/done wasm://done-1 #1"},
		{"done?previous=true", 200, "ns/done wasm://done-0 #0"},
		{"crashing", 200, "ns/crashing wasm://crashing-4 #4"},
		{"crashing?previous=1", 200, "ns/crashing wasm://crashing-4 #4"},
		{"unborn", 200, "ns/unborn wasm://unborn-0 #0"},
		{"init", 200, "ns/init wasm://init-0 #0"},
		{"look", 200, "ns/look wasm://look-0 #0"},
		{"up?previous=true", 400, "previous terminated container \"up\" in pod \"p\" not found\n"},
		{"up?previous=0", 200, "ns/up wasm://up-0 #0"},
		{"lost", 400, "container \"lost\" in pod \"p\" is terminated\n"},
		{"lost-before", 400, "container \"lost-before\" in pod \"p\" is terminated\n"},
		{"pulling", 400, "container \"pulling\" in pod \"p\" is waiting to start: ContainerCreating\n"},
		{"no-image", 400, "container \"no-image\" in pod \"p\" is waiting to start: image can't be pulled\n"},
		{"no-image-yet", 400, "container \"no-image-yet\" in pod \"p\" is waiting to start: trying and failing to pull image\n"},
		{"unknown", 400, "container \"unknown\" in pod \"p\" is waiting to start - no logs yet\n"},
		{"fresh", 400, "container \"fresh\" in pod \"p\" is not available\n"},
		{"nobody", 404, "container \"nobody\" not found in pod \"p\"\n"},
		{"up?stream=All", 200, "ns/up wasm://up-0 #0"},
		{"up?stream=Stdout", 400, "unable to return the given log stream: \"Stdout\"; only \"All\" is served\n"},
	} {
		t.Run(tc.path, func(t *testing.T) {
			w := get(h, "/containerLogs/ns/p/"+tc.path)
			if w.Code != tc.code || w.Body.String() != tc.body {
				t.Errorf("got  %d %q\nwant %d %q", w.Code, w.Body, tc.code, tc.body)
			}
		})
	}
	if w := get(h, "/containerLogs/ns/q/up"); w.Code != http.StatusNotFound || w.Body.String() != "pod \"q\" does not exist\n" {
		t.Errorf("another Pod: %d %q", w.Code, w.Body)
	}
	if w := get(h, "/containerLogs/elsewhere/p/up"); w.Code != http.StatusNotFound {
		t.Errorf("another namespace: %d %q", w.Code, w.Body)
	}
}

func TestLogOptions(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		query string
		want  server.LogOptions
	}{
		{"", server.LogOptions{}},
		{"follow=true&previous=false&timestamps=True", server.LogOptions{Follow: true, Timestamps: true}},
		{"follow=0&timestamps=", server.LogOptions{Timestamps: true}},
		{"follow=yes&follow=false", server.LogOptions{Follow: true}},
		{"tailLines=0&limitBytes=1", server.LogOptions{TailLines: new(int64(0)), LimitBytes: new(int64(1))}},
		{"tail=5", server.LogOptions{TailLines: new(int64(5))}},
		{"tail=all", server.LogOptions{}},
		{"tail=all&tailLines=9", server.LogOptions{}},
		{"tail=5&tailLines=9", server.LogOptions{TailLines: new(int64(5))}},
		{"sinceSeconds=60", server.LogOptions{SinceSeconds: new(int64(60))}},
		{"sinceTime=2026-01-02T03:04:05Z", server.LogOptions{SinceTime: &at}},
		{"sinceTime=2026-01-02T05:04:05%2B02:00", server.LogOptions{SinceTime: &at}},
		{"sinceTime=", server.LogOptions{}},
		{"sinceTime=null", server.LogOptions{}},
		{"container=x&insecureSkipTLSVerifyBackend=true&pretty=1", server.LogOptions{}},
	} {
		t.Run(tc.query, func(t *testing.T) {
			var got *server.LogOptions
			h := server.New(server.Handlers{
				Pods: listing(pod("ns", "p", corev1.ContainerStatus{Name: "c", State: running, ContainerID: "id", LastTerminationState: ended("before")})),
				Logs: func(_ context.Context, r server.LogRequest, _ io.Writer) error { got = &r.Options; return nil },
			})
			if w := get(h, "/containerLogs/ns/p/c?"+tc.query); w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if diff := cmp.Diff(&tc.want, got, cmp.Comparer(time.Time.Equal)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLogOptionsThatAreRefused(t *testing.T) {
	h := server.New(server.Handlers{
		Pods: listing(pod("ns", "p", corev1.ContainerStatus{Name: "c", State: running, ContainerID: "id"})),
		Logs: func(context.Context, server.LogRequest, io.Writer) error { return errors.New("must not be called") },
	})
	const undecodable, invalid = `{"message":"Unable to decode query.","details":"`, `{"message":"Invalid request.","details":"`
	for _, tc := range []struct {
		query string
		code  int
		body  string
	}{
		{"tailLines=ten", 400, undecodable + `tailLines: want a decimal number, got \"ten\"`},
		{"tailLines=", 400, undecodable + `tailLines: want a decimal number, got \"\"`},
		{"tail=some", 400, undecodable + `tailLines: want a decimal number, got \"some\"`},
		{"limitBytes=1k", 400, undecodable + `limitBytes: want a decimal number, got \"1k\"`},
		{"sinceSeconds=1.5", 400, undecodable + `sinceSeconds: want a decimal number, got \"1.5\"`},
		{"sinceTime=yesterday", 400, undecodable + `sinceTime: want a time like 2006-01-02T15:04:05Z, got \"yesterday\"`},
		{"tailLines=-1", 422, invalid + `tailLines: Invalid value: -1: must be greater than or equal to 0`},
		{"limitBytes=0", 422, invalid + `limitBytes: Invalid value: 0: must be greater than 0`},
		{"sinceSeconds=0", 422, invalid + `sinceSeconds: Invalid value: 0: must be greater than 0`},
		{"sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", 422, invalid + "sinceTime: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"},
		{"stream=Stdin", 422, invalid + `stream: Unsupported value: \"Stdin\": supported values: \"All\", \"Stderr\", \"Stdout\"`},
		{"stream=Stdout&tailLines=1", 422, invalid + "stream: Forbidden: `tailLines` and specific `stream` are mutually exclusive for now"},
	} {
		t.Run(tc.query, func(t *testing.T) {
			w := get(h, "/containerLogs/ns/p/c?"+tc.query)
			if want := tc.body + `"}` + "\n"; w.Code != tc.code || w.Body.String() != want {
				t.Errorf("got  %d %q\nwant %d %q", w.Code, w.Body, tc.code, want)
			}
		})
	}
}

// TestFollowFlushes reads each line over a real connection before the next one is written, and the header before any.
func TestFollowFlushes(t *testing.T) {
	lines, ended := make(chan string), make(chan error, 1)
	s := httptest.NewServer(server.New(server.Handlers{
		Pods: listing(pod("ns", "p", corev1.ContainerStatus{Name: "c", State: running, ContainerID: "id"})),
		Logs: func(ctx context.Context, _ server.LogRequest, w io.Writer) error {
			for {
				select {
				case line := <-lines:
					if _, err := io.WriteString(w, line); err != nil {
						return err
					}
				case <-ctx.Done():
					ended <- ctx.Err()
					return ctx.Err()
				}
			}
		},
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/containerLogs/ns/p/c?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Client().Do(request) // returns although no line was written yet
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %s", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	r := bufio.NewReader(answer.Body)
	for _, want := range []string{"one\n", "two\n"} {
		lines <- want
		if got, err := r.ReadString('\n'); got != want || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a client that went away: %v", err)
	}
}

func TestErrorAfterTheFirstLineIsAppended(t *testing.T) {
	h := server.New(server.Handlers{
		Pods: listing(pod("ns", "p", corev1.ContainerStatus{Name: "c", State: running, ContainerID: "id"})),
		Logs: func(_ context.Context, _ server.LogRequest, w io.Writer) error {
			_, _ = io.WriteString(w, "one\n")
			return errors.New("read log: input/output error")
		},
	})
	w := get(h, "/containerLogs/ns/p/c")
	if w.Code != http.StatusOK || w.Body.String() != "one\nread log: input/output error\n" || !w.Flushed {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestLogsWhenPodsCannotBeListed(t *testing.T) {
	h := server.New(server.Handlers{
		Pods: func(context.Context) ([]*corev1.Pod, error) { return nil, errors.New("busy") },
		Logs: func(context.Context, server.LogRequest, io.Writer) error { return nil },
	})
	if w := get(h, "/containerLogs/ns/p/c"); w.Code != http.StatusInternalServerError {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// FuzzLogOptions feeds queries as they come from outside: whatever they are, the answer is a log or a refusal.
func FuzzLogOptions(f *testing.F) {
	for _, seed := range []string{"", "follow=true&tailLines=10", "tail=all", "sinceTime=2026-01-02T03:04:05Z", "limitBytes=-1", "%zz", "sinceSeconds=99999999999999999999"} {
		f.Add(seed)
	}
	h := server.New(server.Handlers{
		Pods: listing(pod("ns", "p", corev1.ContainerStatus{Name: "c", State: running, ContainerID: "id"})),
		Logs: func(_ context.Context, r server.LogRequest, _ io.Writer) error {
			o := r.Options
			switch {
			case o.TailLines != nil && *o.TailLines < 0, o.LimitBytes != nil && *o.LimitBytes < 1,
				o.SinceSeconds != nil && (*o.SinceSeconds < 1 || o.SinceTime != nil), o.Previous:
				f.Errorf("passed: %+v", o)
			}
			return nil
		},
	})
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/containerLogs/ns/p/c", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	})
}
