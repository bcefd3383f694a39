package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// Handlers are what the server serves. A route whose function is nil does not exist (404).
//
// All functions may be called from many goroutines at once. Those with a context must return soon after it is done; it
// ends when the client goes away.
type Handlers struct {
	// Pods lists every Pod of the node with its current status. The server changes none of them.
	Pods func(ctx context.Context) ([]*corev1.Pod, error)
	// RunningPods lists the Pods that have something running, whether they are wanted or not.
	RunningPods func(ctx context.Context) ([]*corev1.Pod, error)
	// Logs writes a container's log. It is called only for a container that has one (see LogRequest) and after the
	// response's header was sent, so its error can only be appended to what was written.
	Logs func(ctx context.Context, r LogRequest, w io.Writer) error
	// Exec runs a command and returns when it has ended; it serves /exec and /run, and needs Pods as the next two do. An
	// error that is or wraps a k8s.io/utils/exec.ExitError tells the client the exit code; any other is an internal error.
	// It must not wait for the end of Stdin: that may come only after it has returned. ctx's cause is ErrClientGone
	// when the client went away.
	Exec func(ctx context.Context, r ExecRequest) error
	// Attach copies between the client and a running container until one of them has ended.
	Attach func(ctx context.Context, r AttachRequest) error
	// PortForward connects to a Pod's port and copies in both directions until both have ended. Closing stream ends
	// only what is sent to the client. An error is shown to the client.
	PortForward func(ctx context.Context, r PortForwardRequest, stream io.ReadWriteCloser) error
	// StreamIdleTimeout ends exec, attach and port-forward connections without traffic; 4 hours when 0.
	StreamIdleTimeout time.Duration
	// MaxConnections is how many connections Serve has at a time, those of exec, attach and port-forward included; more wait.
	// 2048 when 0.
	MaxConnections int
	// Stats measures the node and its Pods for /stats/summary and /metrics/resource. With onlyCPUAndMemory it may leave
	// out everything else, above all what has to be looked for on disk. Cumulative values must not jump backwards.
	Stats func(ctx context.Context, onlyCPUAndMemory bool) (*stats.Summary, error)
	// ProbeMetrics serves /metrics/probes; see the type ProbeMetrics.
	ProbeMetrics http.Handler
	// Healthy says why the node does not work, Ready why it cannot take Pods yet; nil when there is nothing to say.
	Healthy, Ready func() error
	// ConfigZ returns the node's merged configuration without secrets. It is served as it is, as JSON.
	ConfigZ func() any
	// Status serves /statusz, Flags (all flags of the process with their values) /flagz.
	Status *Status
	Flags  func() map[string]string
	// SetVerbosity serves PUT /debug/flags/v: the verbosity of the log, as klog counts it.
	SetVerbosity func(v int)
	// Requests counts the requests, before any middleware; nil: they are not counted.
	Requests *RequestMetrics
	// Metrics serves Prometheus metrics.
	Metrics http.Handler
	// LogDir is the directory whose files /logs/ serves, usually /var/log; none when empty. LogQuery lets /logs/?query= ask for
	// the logs of services, in Journal (nil: there is none) or in files below LogDir. NoNodeLogs refuses all of it with 405.
	LogDir     string
	LogQuery   bool
	Journal    Journal
	NoNodeLogs bool
	// Profiling serves /debug/pprof.
	Profiling bool
	// NoDebugging is enableDebuggingHandlers: false of the kubelet: logs, exec and everything else that can look into
	// Pods is refused with 405.
	NoDebugging bool
	// Logger gets what clients cannot be told; nil means no logs.
	Logger *zap.Logger
}

// Middleware wraps the whole server, for example to authenticate and authorize each request.
type Middleware func(http.Handler) http.Handler

// maxBody is more than any request of the kubelet's API has to say.
const maxBody = 64 << 10

// New returns the server as a handler. The first middleware is the outermost.
func New(h Handlers, middleware ...Middleware) http.Handler {
	handler := http.MaxBytesHandler(h.mux(), maxBody)
	for _, wrap := range slices.Backward(middleware) {
		handler = wrap(handler)
	}
	if h.Requests != nil {
		handler = h.Requests.wrap(handler)
	}
	return handler
}

func (h Handlers) mux() *http.ServeMux {
	mux := http.NewServeMux()
	if h.Pods != nil {
		mux.HandleFunc("GET /pods", servePods(h.Pods))
	}
	h.health(mux)
	if h.Metrics != nil {
		mux.Handle("GET /metrics", h.Metrics)
	}
	h.measured(mux)
	h.debugging(mux)
	h.zPages(mux)
	return mux
}

func servePods(pods func(context.Context) ([]*corev1.Pod, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pods, err := pods(r.Context())
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
