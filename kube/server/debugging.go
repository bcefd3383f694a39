package server

import (
	"net/http"
	"net/http/pprof"
)

// debugging registers what the kubelet serves only while its debugging handlers are enabled.
func (h Handlers) debugging(mux *http.ServeMux) {
	if h.NoDebugging {
		// Whoever calls these shall learn why they are missing.
		for _, path := range []string{
			"/run/", "/exec/", "/attach/", "/portForward/", "/containerLogs/", "/runningpods/", "/debug/pprof/", "/logs/",
		} {
			mux.HandleFunc(path, disabled("Debug endpoints are disabled."))
		}
		return
	}
	if h.Pods != nil && h.Logs != nil {
		mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", h.serveLogs)
	}
	if h.ConfigZ != nil {
		mux.HandleFunc("GET /configz", h.serveConfig)
	}
	if h.RunningPods != nil {
		serve := servePods(h.RunningPods)
		mux.HandleFunc("GET /runningpods", serve)
		mux.HandleFunc("GET /runningpods/{$}", serve)
	}
	h.streaming(mux)
	if h.Pods != nil {
		mux.HandleFunc("POST /checkpoint/{namespace}/{pod}/{container}", h.serveCheckpoint)
	}
	if h.SetVerbosity != nil {
		mux.HandleFunc("/debug/flags/v", h.serveVerbosity)
	}
	switch {
	case h.NoNodeLogs:
		mux.HandleFunc("/logs/", disabled("logs endpoint is disabled."))
	case h.LogDir != "":
		mux.HandleFunc("GET /logs", http.RedirectHandler("/logs/", http.StatusMovedPermanently).ServeHTTP)
		mux.HandleFunc("GET /logs/", h.serveNodeLogs)
	}
	if h.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
}

func disabled(why string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, why, http.StatusMethodNotAllowed) }
}
