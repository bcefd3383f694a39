package debug

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/actors"
)

// Tree is where the actors are read from: *actors.Registry.
type Tree interface{ Snapshot() []actors.Info }

// Config is what the Handler shows. Recorder and Actors are required.
type Config struct {
	Recorder *Recorder
	Actors   Tree
	// Counters is System.Counters; nil: the page shows none.
	Counters func() actors.Counters
	// Pods lists the node's Pods with their current status; nil: /debug/pods has histories only.
	Pods func(ctx context.Context) ([]*corev1.Pod, error)
	// Clock paces the page's updates; nil: the real one.
	Clock clock.Clock
	// Hosts are the names and addresses by which a browser may ask besides those of loopback, without port; "*" allows
	// any. See GuardHost.
	Hosts []string
	// Node and Version are shown on the page.
	Node, Version string
}

// handler serves everything below /debug/.
type handler struct {
	Config
	page []byte
}

// New returns the handler of /debug/ and everything below it, guarded by GuardHost.
//
// Streams end with the request's context or with Recorder.Close, whichever comes first; call the latter before
// http.Server.Shutdown, which would wait for them.
func New(c Config) (http.Handler, error) {
	if c.Recorder == nil || c.Actors == nil {
		return nil, errors.New("debug: Recorder and Actors are required")
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	page, err := renderPage(c.Node, c.Version)
	if err != nil {
		return nil, err
	}
	h := &handler{Config: c, page: page}
	return GuardHost(c.Hosts, h.routes()), nil
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/debug", http.RedirectHandler("/debug/", http.StatusMovedPermanently))
	mux.Handle("/debug/{$}", offers("text/html", h.servePage))
	mux.Handle("/debug/static/{file}", offers("", h.serveStatic))
	mux.Handle("/debug/actors", offers("application/json", h.serveActors))
	mux.Handle("/debug/pods/{namespace}/{name}", offers("application/json", h.servePod))
	mux.Handle("/debug/supervision", offers("application/json", h.serveSupervision))
	mux.Handle("/debug/deadletters", offers("application/json", h.serveDeadLetters))
	mux.Handle("/debug/events", offers("text/event-stream", h.serveEvents))
	mux.Handle("/debug/pprof/", offers("", pprof.Index))
	mux.Handle("/debug/pprof/cmdline", offers("", pprof.Cmdline))
	mux.Handle("/debug/pprof/profile", offers("", pprof.Profile))
	mux.Handle("/debug/pprof/symbol", offers("", pprof.Symbol))
	mux.Handle("/debug/pprof/trace", offers("", pprof.Trace))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusNotFound, fmt.Sprintf("no page %s; there are /debug/ and below it actors, pods/NAMESPACE/NAME, "+
			"supervision, deadletters, events, pprof/", r.URL.Path))
	})
	return mux
}

// offers serves GET and HEAD of one media type; an empty one means that the handler decides.
func offers(media string, serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, r, http.StatusMethodNotAllowed, fmt.Sprintf("method %s is not allowed here, only GET and HEAD", r.Method))
		case media != "" && !accepts(r, media):
			refuse(w, r, http.StatusNotAcceptable, fmt.Sprintf("%s is served as %s only, which Accept: %s excludes",
				r.URL.Path, media, strings.Join(r.Header.Values("Accept"), ", ")))
		default:
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			serve(w, r)
		}
	})
}

// accepts tells whether the request's Accept header allows a media type. The most specific range that matches decides.
func accepts(r *http.Request, media string) bool {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return true
	}
	kind, _, _ := strings.Cut(media, "/")
	best, ok := 0, false
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		rank := map[string]int{"*/*": 1, kind + "/*": 2, media: 3}[strings.ToLower(strings.TrimSpace(name))]
		if rank > best {
			best, ok = rank, !zeroQuality(params)
		}
	}
	return ok
}

func zeroQuality(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			return strings.Trim(value, "0.") == ""
		}
	}
	return false
}

// refuse answers with an error: as JSON to who asks for JSON, else as text.
func refuse(w http.ResponseWriter, r *http.Request, code int, message string) {
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		writeJSON(w, code, struct {
			Error string `json:"error"`
		}{message})
		return
	}
	http.Error(w, message, code)
}

// writeJSON encodes first, so that an encoding error is still a clean 500.
func writeJSON(w http.ResponseWriter, code int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A write fails when the client is gone, who then needs no answer.
	_, _ = w.Write(append(data, '\n'))
}
