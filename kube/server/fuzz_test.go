package server

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
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
	var served string
	mux := http.NewServeMux()
	for _, pattern := range []string{
		"/pods", "/runningpods", "/runningpods/{$}", "/containerLogs/{namespace}/{pod}/{container}", "/healthz", "/healthz/{$}",
		"/healthz/{check}", "/readyz/{check}", "/configz", "/metrics", "/metrics/resource", "/metrics/probes", "/stats/summary",
		"/exec/{namespace}/{pod}/{container}", "/exec/{namespace}/{pod}/{uid}/{container}", "/portForward/{namespace}/{pod}",
		"/run/{namespace}/{pod}/{container}", "/logs", "/logs/", "/debug/pprof/",
	} {
		mux.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) { served = r.Pattern })
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "https://n"+path, http.NoBody)
		if err != nil || r.URL.Host != "n" {
			t.Skip()
		}
		served = ""
		mux.ServeHTTP(httptest.NewRecorder(), r)
		if served == "" { // refused, or redirected to where it is asked for anew
			return
		}
		if got, want := subresources(r.URL.Path), subresources(served); !slices.Equal(got, want) {
			t.Errorf("%s %q is served as %q, which needs %v, but asked as %v", method, path, served, want, got)
		}
	})
}
