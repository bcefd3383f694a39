package server

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// FuzzAuthorizedAsServed makes sure that no spelling of a path is authorized as one thing and served as another: the
// route that serves a path must need the subresources that the path is asked for.
func FuzzAuthorizedAsServed(f *testing.F) {
	for _, path := range []string{
		"/pods", "/runningpods/", "/exec/a/b/c", "//pods", "/pods/../exec/a/b/c", "/pods%2f..%2fexec/a/b/c", "/%70ods", "/./exec/a/b/c",
		"/metrics/../configz", "/healthz/ping", "/stats/summary", "/logs/../pods", "/LOGS/", "/exec%2fa/b/c/d", "/metrics%2fresource", "/pods;x",
	} {
		f.Add(http.MethodGet, path)
		f.Add(http.MethodConnect, path)
	}
	mux := allRoutes(f).mux()
	f.Fuzz(func(t *testing.T, method, path string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "https://n"+path, http.NoBody)
		if err != nil || r.URL.Host != "n" {
			t.Skip()
		}
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, r)
		if r.Pattern == "" || answer.Code/100 == 3 {
			return // refused, or redirected to where it is asked for anew
		}
		_, served, _ := strings.Cut(r.Pattern, " ")
		if !strings.HasPrefix(r.Pattern, http.MethodGet+" ") && !strings.HasPrefix(r.Pattern, http.MethodPost+" ") {
			served = r.Pattern
		}
		if got, want := subresources(r.URL.Path), subresources(served); !slices.Equal(got, want) {
			t.Errorf("%s %q is served as %q, which needs %v, but asked as %v", method, path, served, want, got)
		}
	})
}

// allRoutes serves everything, without doing anything.
func allRoutes(f *testing.F) Handlers {
	f.Helper()
	none := func(context.Context) ([]*corev1.Pod, error) { return nil, nil }
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	return Handlers{
		Pods: none, RunningPods: none, LogDir: f.TempDir(), LogQuery: true, Metrics: nothing, ProbeMetrics: nothing,
		Logs:        func(context.Context, LogRequest, io.Writer) error { return nil },
		Exec:        func(context.Context, ExecRequest) error { return nil },
		Attach:      func(context.Context, AttachRequest) error { return nil },
		PortForward: func(context.Context, PortForwardRequest, io.ReadWriteCloser) error { return nil },
		Stats:       func(context.Context, bool) (*stats.Summary, error) { return &stats.Summary{}, nil },
		ConfigZ:     func() any { return struct{}{} }, Status: &Status{}, Flags: func() map[string]string { return nil },
		SetVerbosity: func(int) {},
	}
}

// FuzzLogQuery makes sure that whatever passes the checks reaches journalctl as values of the options that are meant.
func FuzzLogQuery(f *testing.F) {
	for _, query := range []string{
		"query=kubelet", "query=-o&query=--file=/etc/shadow", "query=a&pattern=--file=/etc/shadow&boot=-1", "query=/../../etc/shadow",
		"query=a%00b", "query=a&tailLines=-9", "query=a&sinceTime=2026-01-02T03:04:05Z", "query=%2e%2e", "pattern=%5c",
	} {
		f.Add(query)
	}
	root, err := os.OpenRoot(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		q, errs := readLogQuery(values)
		if len(errs) > 0 || q == nil || len(q.validate(logFiles{root})) > 0 {
			return
		}
		if len(q.files) > 0 && path.Clean(q.file()) != "." { // the directory itself
			t.Errorf("%q: the file %q in an empty directory", text, q.files)
		}
		for _, argument := range q.options.arguments(q.services) {
			name, _, _ := strings.Cut(argument, "=")
			if !slices.Contains([]string{
				"--utc", "--no-pager", "--output", "--since", "--until", "--pager-end", "--lines", "--unit", "--grep", "--boot",
			}, name) || strings.Contains(argument, "\x00") && name != "--grep" {
				t.Errorf("%q: argument %q", text, argument)
			}
		}
	})
}
