package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	defaultStreamIdle = 4 * time.Hour
	streamCreation    = remotecommand.DefaultStreamCreationTimeout
	// runOutput is how much output of /run is kept, as much as container runtimes keep of an ExecSync.
	runOutput = 16 << 20
)

// TerminalSize is a terminal's width and height in characters.
type TerminalSize = remotecommand.TerminalSize

// Streams are a client's ends of standard input, output and error; nil if the client does not want one.
type Streams struct {
	// Stdin ends when the client closes it or is gone.
	Stdin io.Reader
	// Stdout and Stderr block while the client does not read. With TTY there is no Stderr.
	Stdout, Stderr io.Writer
	// TTY is set when the client wants a terminal.
	TTY bool
	// Resize tells of the terminal's sizes, the first when it is opened; nil without TTY. It is closed with the client.
	Resize <-chan TerminalSize
}

// ExecRequest asks to run a command beside a running container.
type ExecRequest struct {
	// Pod is the Pod as Handlers.Pods listed it; it is not to be changed.
	Pod       *corev1.Pod
	Container string
	// ContainerID is the running attempt's ID from the Pod's status, Attempt its number from 0.
	ContainerID string
	Attempt     int
	// Command is the command and its arguments; never empty.
	Command []string
	Streams
}

// AttachRequest asks for the standard streams of a running container.
type AttachRequest struct {
	// Pod is the Pod as Handlers.Pods listed it; it is not to be changed.
	Pod       *corev1.Pod
	Container string
	// ContainerID is the running attempt's ID from the Pod's status, Attempt its number from 0.
	ContainerID string
	Attempt     int
	Streams
}

// PortForwardRequest asks for a connection to a port of a Pod.
type PortForwardRequest struct {
	// Pod is the Pod as Handlers.Pods listed it; it is not to be changed.
	Pod  *corev1.Pod
	Port int32
}

// streaming registers exec, attach, port-forward and run. Each path exists with and without the Pod's UID.
func (h Handlers) streaming(mux *http.ServeMux) {
	both := func(path string, serve http.HandlerFunc) {
		mux.HandleFunc("GET "+path, serve)
		mux.HandleFunc("POST "+path, serve)
	}
	for _, pod := range []string{"{namespace}/{pod}", "{namespace}/{pod}/{uid}"} {
		if h.Pods != nil && h.Exec != nil {
			both("/exec/"+pod+"/{container}", h.serveExec)
			mux.HandleFunc("POST /run/"+pod+"/{container}", h.serveRun)
		}
		if h.Pods != nil && h.Attach != nil {
			both("/attach/"+pod+"/{container}", h.serveAttach)
		}
		if h.Pods != nil && h.PortForward != nil {
			both("/portForward/"+pod, h.servePortForward)
		}
	}
}

func (h Handlers) streamIdle() time.Duration { return or(h.StreamIdleTimeout, defaultStreamIdle) }

// pod finds the Pod of a request; it answers the request itself when it returns nil. The texts are the kubelet's.
func (h Handlers) pod(w http.ResponseWriter, r *http.Request) *corev1.Pod {
	pods, err := h.Pods(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil
	}
	pod := findPod(pods, r.PathValue("namespace"), r.PathValue("pod"))
	if pod == nil {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return nil
	}
	if uid := r.PathValue("uid"); uid != "" && uid != string(pod.UID) {
		http.Error(w, "pod not found", http.StatusNotFound)
		return nil
	}
	return pod
}

// running finds the running attempt of a request's container; it answers the request itself when there is none.
func running(w http.ResponseWriter, pod *corev1.Pod, container string) *corev1.ContainerStatus {
	if !hasContainer(pod, container) {
		http.Error(w, fmt.Sprintf("container not found (%q)", container), http.StatusNotFound)
		return nil
	}
	status := findStatus(&pod.Status, container)
	if status == nil || status.State.Running == nil {
		http.Error(w, fmt.Sprintf("container %q in pod %q is not running", container, pod.Name), http.StatusInternalServerError)
		return nil
	}
	return status
}

// A session is what exec and attach ask for alike.
type session struct {
	options *remotecommand.Options
	pod     *corev1.Pod
	status  *corev1.ContainerStatus
}

// session reads the request; it answers the request itself when it returns nil.
func (h Handlers) session(w http.ResponseWriter, r *http.Request) *session {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil
	}
	pod := h.pod(w, r)
	if pod == nil {
		return nil
	}
	status := running(w, pod, r.PathValue("container"))
	if status == nil {
		return nil
	}
	return &session{options, pod, status}
}

func (h Handlers) serveExec(w http.ResponseWriter, r *http.Request) {
	s := h.session(w, r)
	if s == nil {
		return
	}
	command := r.URL.Query()["command"]
	if len(command) == 0 {
		http.Error(w, "you must specify at least one command for the container", http.StatusBadRequest)
		return
	}
	run := func(ctx context.Context, streams Streams) error {
		return h.Exec(ctx, ExecRequest{s.pod, s.status.Name, s.status.ContainerID, int(s.status.RestartCount), command, streams})
	}
	h.serveSession(w, r, executor{s.options, run}, execStatus, func(u *upgradable, r *http.Request, e executor) {
		remotecommand.ServeExec(u, r, e, s.pod.Name, string(s.pod.UID), s.status.Name, command, s.options,
			h.streamIdle(), streamCreation, remotecommand.SupportedStreamingProtocols)
	})
}

func (h Handlers) serveAttach(w http.ResponseWriter, r *http.Request) {
	s := h.session(w, r)
	if s == nil {
		return
	}
	run := func(ctx context.Context, streams Streams) error {
		return h.Attach(ctx, AttachRequest{s.pod, s.status.Name, s.status.ContainerID, int(s.status.RestartCount), streams})
	}
	h.serveSession(w, r, executor{s.options, run}, attachStatus, func(u *upgradable, r *http.Request, e executor) {
		remotecommand.ServeAttach(u, r, e, s.pod.Name, string(s.pod.UID), s.status.Name, s.options,
			h.streamIdle(), streamCreation, remotecommand.SupportedStreamingProtocols)
	})
}

// serveSession speaks version 5 itself; older has cri-streaming speak what the client knows.
func (h Handlers) serveSession(
	w http.ResponseWriter, r *http.Request, e executor, status func(error) metav1.Status, older func(*upgradable, *http.Request, executor),
) {
	upgraded(w, r, func(u *upgradable, r *http.Request) {
		if offers(r, protocolV5) {
			h.serveV5(u, r, e, status)
			return
		}
		older(u, r, e)
	})
}

// An executor stands between cri-streaming and Handlers.
type executor struct {
	options *remotecommand.Options
	run     func(ctx context.Context, s Streams) error
}

// ExecInContainer implements remotecommand.Executor.
func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, _ []string, in io.Reader, out, errs io.WriteCloser,
	_ bool, resize <-chan TerminalSize, _ time.Duration,
) error {
	err := e.guard(ctx, e.streams(in, out, errs, resize))
	// cri-streaming looks at the error itself, not at what it wraps.
	if exit, ok := errors.AsType[utilexec.ExitError](err); ok {
		return exit
	}
	return err
}

// AttachContainer implements remotecommand.Attacher.
func (e executor) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, errs io.WriteCloser,
	_ bool, resize <-chan TerminalSize,
) error {
	return e.guard(ctx, e.streams(in, out, errs, resize))
}

// guard drops the error of a client that is gone: nobody would read it, and cri-streaming would log it.
func (e executor) guard(ctx context.Context, s Streams) error {
	err := guarded(func() error { return e.run(ctx, s) })
	if errors.Is(context.Cause(ctx), ErrClientGone) {
		return nil
	}
	return err
}

// streams leaves out what the client did not ask for: over WebSocket there is a dead stream for each.
func (e executor) streams(in io.Reader, out, errs io.Writer, resize <-chan TerminalSize) Streams {
	s := Streams{TTY: e.options.TTY}
	if e.options.Stdin {
		s.Stdin = in
	}
	if e.options.Stdout {
		s.Stdout = out
	}
	if e.options.Stderr {
		s.Stderr = errs
	}
	if e.options.TTY {
		s.Resize = resize
	}
	return s
}

// guarded turns a panic into an error: some of these calls come on goroutines of the streaming library, where a panic
// would end the daemon.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// serveRun is exec without streams: the whole output is the answer.
func (h Handlers) serveRun(w http.ResponseWriter, r *http.Request) {
	pod := h.pod(w, r)
	if pod == nil {
		return
	}
	status := running(w, pod, r.PathValue("container"))
	if status == nil {
		return
	}
	command := strings.Split(r.URL.Query().Get("cmd"), " ")
	stdout, stderr := &limited{left: runOutput}, &limited{left: runOutput}
	ctx := r.Context()
	err := guarded(func() error {
		return h.Exec(ctx, ExecRequest{
			pod, status.Name, status.ContainerID, int(status.RestartCount), command, Streams{Stdout: stdout, Stderr: stderr},
		})
	})
	if exit, ok := errors.AsType[utilexec.ExitError](err); ok {
		err = fmt.Errorf("command '%s' exited with %d: %s", strings.Join(command, " "), exit.ExitStatus(), stderr.Bytes())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	// The kubelet calls the raw output JSON too.
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(append(stdout.Bytes(), stderr.Bytes()...))
}

// limited keeps the beginning of what is written and lets the rest go. A guest's streams are copied one after the other
// into it, so it needs no lock.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n, err := l.Buffer.Write(p[:min(len(p), l.left)])
	l.left -= n
	return len(p), err
}
