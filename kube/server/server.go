package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Handlers are what the server serves. A route whose function is nil does not exist (404).
//
// All functions may be called from many goroutines at once. Those with a context must return soon after it is done; it
// ends when the client goes away.
type Handlers struct {
	// Pods lists every Pod of the node with its current status. The server changes none of them.
	Pods func(ctx context.Context) ([]*corev1.Pod, error)
	// Logs writes a container's log. It is called only for a container that has one (see LogRequest) and after the
	// response's header was sent, so its error can only be appended to what was written.
	Logs func(ctx context.Context, r LogRequest, w io.Writer) error
	// Healthy says why the node does not work, Ready why it cannot take Pods yet; nil when there is nothing to say.
	Healthy, Ready func() error
	// ConfigZ returns the node's merged configuration without secrets. It is served as it is, as JSON.
	ConfigZ func() any
	// Metrics serves Prometheus metrics.
	Metrics http.Handler
}

// Middleware wraps the whole server, for example to authenticate and authorize each request.
type Middleware func(http.Handler) http.Handler

// New returns the server as a handler. The first middleware is the outermost.
func New(h Handlers, middleware ...Middleware) http.Handler {
	mux := http.NewServeMux()
	if h.Pods != nil {
		mux.HandleFunc("GET /pods", h.servePods)
	}
	if h.Pods != nil && h.Logs != nil {
		mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", h.serveLogs)
	}
	h.health(mux)
	if h.ConfigZ != nil {
		mux.HandleFunc("GET /configz", h.serveConfig)
	}
	if h.Metrics != nil {
		mux.Handle("GET /metrics", h.Metrics)
	}
	var handler http.Handler = mux
	for _, wrap := range slices.Backward(middleware) {
		handler = wrap(handler)
	}
	return handler
}

func (h Handlers) servePods(w http.ResponseWriter, r *http.Request) {
	pods, err := h.Pods(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	// The kubelet answers items: null for an empty node; an empty list decodes to the same and reads better.
	list := corev1.PodList{Items: make([]corev1.Pod, 0, len(pods))}
	list.Kind, list.APIVersion = "PodList", "v1"
	for _, p := range pods {
		item := *p
		item.Kind, item.APIVersion = "", ""
		list.Items = append(list.Items, item)
	}
	writeJSON(w, http.StatusOK, list)
}

func (h Handlers) serveConfig(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, h.ConfigZ())
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
