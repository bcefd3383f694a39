package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// LogRequest asks for the log of one attempt of one container.
type LogRequest struct {
	// Pod is the Pod as Handlers.Pods listed it; it is not to be changed.
	Pod       *corev1.Pod
	Container string
	// ContainerID is the attempt's ID from the Pod's status, never empty.
	ContainerID string
	// Attempt is the attempt's number from 0, counted as restartCount counts.
	Attempt int
	Options LogOptions
}

func (h Handlers) serveLogs(w http.ResponseWriter, r *http.Request) {
	options, stream, ok := readLogOptions(w, r)
	if !ok {
		return
	}
	namespace, name, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	pods, err := h.Pods(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	pod := findPod(pods, namespace, name)
	if pod == nil {
		http.Error(w, fmt.Sprintf("pod %q does not exist", name), http.StatusNotFound)
		return
	}
	if !hasContainer(pod, container) {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", container, name), http.StatusNotFound)
		return
	}
	if stream != "" && stream != corev1.LogStreamAll {
		http.Error(w, fmt.Sprintf("unable to return the given log stream: %q; only %q is served", stream, corev1.LogStreamAll), http.StatusBadRequest)
		return
	}
	request, err := selectAttempt(pod, container, options)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.streamLogs(w, r, request)
}

// readLogOptions answers 400 or 422 itself when it returns false. The bodies begin as the kubelet's do and name the
// parameters besides.
func readLogOptions(w http.ResponseWriter, r *http.Request) (options LogOptions, stream string, ok bool) {
	query := r.URL.Query()
	options, err := decodeLogOptions(query)
	if err != nil {
		refuse(w, http.StatusBadRequest, "Unable to decode query.", err)
		return options, "", false
	}
	stream = query.Get("stream")
	if errs := options.validate(stream); len(errs) > 0 {
		refuse(w, http.StatusUnprocessableEntity, "Invalid request.", errs.ToAggregate())
		return options, stream, false
	}
	return options, stream, true
}

func refuse(w http.ResponseWriter, code int, message string, err error) {
	writeJSON(w, code, struct {
		Message string `json:"message"`
		Details string `json:"details"`
	}{message, err.Error()})
}

// streamLogs sends the header before the first line exists, as the kubelet does, so that `kubectl logs -f` of a silent
// container is connected and not waiting.
func (h Handlers) streamLogs(w http.ResponseWriter, r *http.Request, request LogRequest) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	flush := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if err := flush.Flush(); err != nil {
		return
	}
	var to io.Writer = w
	if request.Options.Follow {
		to = flushWriter{w, flush}
	}
	err := h.Logs(r.Context(), request, to)
	if err != nil && r.Context().Err() == nil {
		// The code is sent; the kubelet appends the error to the text too.
		_, _ = fmt.Fprintln(w, err.Error())
	}
}

type flushWriter struct {
	io.Writer
	control *http.ResponseController
}

func (f flushWriter) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	return n, errors.Join(err, f.control.Flush())
}

func findPod(pods []*corev1.Pod, namespace, name string) *corev1.Pod {
	i := slices.IndexFunc(pods, func(p *corev1.Pod) bool { return p.Namespace == namespace && p.Name == name })
	if i < 0 {
		return nil
	}
	return pods[i]
}

func hasContainer(pod *corev1.Pod, name string) bool {
	named := func(c corev1.Container) bool { return c.Name == name }
	return slices.ContainsFunc(pod.Spec.Containers, named) || slices.ContainsFunc(pod.Spec.InitContainers, named) ||
		slices.ContainsFunc(pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == name })
}

// selectAttempt finds the attempt that has the wanted log, or says why there is none in the kubelet's words. While a
// container waits to be restarted, its last attempt is both the current and the previous one, as in the kubelet.
func selectAttempt(pod *corev1.Pod, container string, o LogOptions) (LogRequest, error) {
	r := LogRequest{Pod: pod, Container: container, Options: o}
	status := findStatus(&pod.Status, container)
	if status == nil {
		return r, fmt.Errorf("container %q in pod %q is not available", container, pod.Name)
	}
	r.Attempt = int(status.RestartCount)
	state, last := status.State, status.LastTerminationState.Terminated
	hasLast := last != nil && last.ContainerID != ""
	switch {
	case o.Previous && !hasLast:
		return r, fmt.Errorf("previous terminated container %q in pod %q not found", container, pod.Name)
	case o.Previous && state.Waiting == nil:
		r.ContainerID, r.Attempt = last.ContainerID, max(0, r.Attempt-1)
	case o.Previous:
		r.ContainerID = last.ContainerID
	case state.Running != nil:
		r.ContainerID = status.ContainerID
	case state.Terminated != nil && state.Terminated.ContainerID != "":
		r.ContainerID = state.Terminated.ContainerID
	case hasLast && state.Terminated != nil:
		r.ContainerID, r.Attempt = last.ContainerID, max(0, r.Attempt-1)
	case hasLast:
		r.ContainerID = last.ContainerID
	case state.Terminated != nil || last != nil:
		return r, fmt.Errorf("container %q in pod %q is terminated", container, pod.Name)
	default:
		return r, waiting(pod.Name, container, state.Waiting)
	}
	return r, nil
}

func waiting(pod, container string, w *corev1.ContainerStateWaiting) error {
	if w == nil {
		return fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", container, pod)
	}
	why := w.Reason
	switch why {
	case "ErrImagePull":
		why = "image can't be pulled"
	case "ImagePullBackOff":
		why = "trying and failing to pull image"
	}
	return fmt.Errorf("container %q in pod %q is waiting to start: %s", container, pod, why)
}

func findStatus(s *corev1.PodStatus, name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
