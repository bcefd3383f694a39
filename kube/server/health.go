package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A check is one line of a verbose health answer.
type check struct {
	name string
	run  func() error
}

// health registers /healthz and /readyz. Their checks carry the kubelet's names, which is what probes are written for:
// ping says that the server answers, syncloop that the node actor works, ready that Pods are accepted.
func (h Handlers) health(mux *http.ServeMux) {
	ping := check{"ping", func() error { return nil }}
	healthy, ready := []check{ping}, []check{ping}
	if h.Healthy != nil {
		healthy = append(healthy, check{"syncloop", h.Healthy})
	}
	if h.Ready != nil {
		ready = append(ready, check{"ready", h.Ready})
	}
	seen := newIndicators()
	mux.Handle("GET /metrics/slis", seen)
	group(mux, "healthz", healthy, seen)
	group(mux, "readyz", ready, seen)
}

func group(mux *http.ServeMux, path string, checks []check, seen *indicators) {
	serve := func(w http.ResponseWriter, r *http.Request) { serveChecks(w, r, path, checks, seen.observe) }
	mux.HandleFunc("GET /"+path, serve)
	mux.HandleFunc("GET /"+path+"/{$}", serve)
	mux.HandleFunc("GET /"+path+"/{check}", func(w http.ResponseWriter, r *http.Request) {
		i := slices.IndexFunc(checks, func(c check) bool { return c.name == r.PathValue("check") })
		if i < 0 {
			http.Error(w, fmt.Sprintf("no check %q, there are: %s", r.PathValue("check"), names(checks)), http.StatusNotFound)
			return
		}
		serveChecks(w, r, path, checks[i:i+1], func(string, string, error) {}) // as the kubelet: the whole counts
	})
}

// serveChecks answers "ok" or, asked to be verbose or when a check fails, a line for each check. Unlike the
// kubelet's, a failed line gives the reason: whoever may ask for health may know it.
func serveChecks(w http.ResponseWriter, r *http.Request, path string, checks []check, observe func(check, kind string, err error)) {
	var lines strings.Builder
	excluded, failed := r.URL.Query()["exclude"], false
	for _, c := range checks {
		if slices.Contains(excluded, c.name) {
			fmt.Fprintf(&lines, "[+]%s excluded: ok\n", c.name)
			continue
		}
		err := c.run()
		observe(c.name, path, err)
		if err != nil {
			failed = true
			fmt.Fprintf(&lines, "[-]%s failed: %v\n", c.name, err)
		} else {
			fmt.Fprintf(&lines, "[+]%s ok\n", c.name)
		}
	}
	for _, name := range excluded {
		if !slices.ContainsFunc(checks, func(c check) bool { return c.name == name }) {
			fmt.Fprintf(&lines, "warn: some health checks cannot be excluded: no matches for %q\n", name)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case failed:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "%s%s check failed\n", lines.String(), path)
	case r.URL.Query().Has("verbose"):
		fmt.Fprintf(w, "%s%s check passed\n", lines.String(), path)
	default:
		fmt.Fprint(w, "ok")
	}
}

func names(checks []check) string {
	list := make([]string, len(checks))
	for i, c := range checks {
		list[i] = c.name
	}
	return strings.Join(list, ", ")
}
