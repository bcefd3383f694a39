package debug

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// podReport is the answer of /debug/pods/NAMESPACE/NAME. Of a Pod that has ended, spec and status are null and gone says
// when it ended.
type podReport struct {
	actors.PodRef
	Labels  map[string]string `json:"labels,omitempty"`
	Created *time.Time        `json:"created,omitempty"`
	Gone    *time.Time        `json:"gone,omitempty"`
	Spec    *specSummary      `json:"spec"`
	Status  *corev1.PodStatus `json:"status"`
	History []change          `json:"history"`
}

// specSummary has what may be shown of a spec to whoever can reach the page.
type specSummary struct {
	RestartPolicy    corev1.RestartPolicy `json:"restartPolicy"`
	RuntimeClassName string               `json:"runtimeClassName,omitempty"`
	GraceSeconds     *int64               `json:"terminationGracePeriodSeconds,omitempty"`
	DeadlineSeconds  *int64               `json:"activeDeadlineSeconds,omitempty"`
	Containers       []containerSummary   `json:"containers"`
	Volumes          []string             `json:"volumes"`
}

type containerSummary struct {
	Name string `json:"name"`
	// Type is init, sidecar, main or ephemeral.
	Type      string                      `json:"type"`
	Image     string                      `json:"image"`
	Resources corev1.ResourceRequirements `json:"resources"`
}

func (h *handler) servePod(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	past, changes, known := h.Recorder.history(namespace, name)
	pod, err := h.find(r, namespace, name)
	if err != nil {
		refuse(w, r, http.StatusInternalServerError, fmt.Sprintf("list pods: %v", err))
		return
	}
	if pod == nil && !known {
		refuse(w, r, http.StatusNotFound, fmt.Sprintf("no pod %s/%s, and none that ended within %s", namespace, name, historyKept))
		return
	}
	report := podReport{PodRef: past.ref, History: changes}
	if !past.gone.IsZero() {
		report.Gone = &past.gone
	}
	if pod != nil {
		report.describe(pod)
	}
	if report.History == nil {
		report.History = []change{}
	}
	writeJSON(w, http.StatusOK, report)
}

func (h *handler) find(r *http.Request, namespace, name string) (*corev1.Pod, error) {
	if h.Pods == nil {
		return nil, nil //nolint:nilnil // no pod is an answer
	}
	pods, err := h.Pods(r.Context())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(pods, func(p *corev1.Pod) bool { return p.Namespace == namespace && p.Name == name })
	if i < 0 {
		return nil, nil //nolint:nilnil // no pod is an answer
	}
	return pods[i], nil
}

func (p *podReport) describe(pod *corev1.Pod) {
	p.PodRef = actors.PodRef{UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name}
	p.Labels = pod.Labels
	if !pod.CreationTimestamp.IsZero() {
		p.Created = &pod.CreationTimestamp.Time
	}
	p.Spec, p.Status = summarize(&pod.Spec), &pod.Status
}

func summarize(spec *corev1.PodSpec) *specSummary {
	s := &specSummary{
		RestartPolicy:   spec.RestartPolicy,
		GraceSeconds:    spec.TerminationGracePeriodSeconds,
		DeadlineSeconds: spec.ActiveDeadlineSeconds,
		Containers:      []containerSummary{},
		Volumes:         []string{},
	}
	if spec.RuntimeClassName != nil {
		s.RuntimeClassName = *spec.RuntimeClassName
	}
	for _, c := range spec.InitContainers {
		kind := "init"
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			kind = "sidecar"
		}
		s.Containers = append(s.Containers, containerSummary{c.Name, kind, c.Image, c.Resources})
	}
	for _, c := range spec.Containers {
		s.Containers = append(s.Containers, containerSummary{c.Name, "main", c.Image, c.Resources})
	}
	for _, c := range spec.EphemeralContainers {
		s.Containers = append(s.Containers, containerSummary{c.Name, "ephemeral", c.Image, c.Resources})
	}
	for _, v := range spec.Volumes {
		s.Volumes = append(s.Volumes, v.Name)
	}
	return s
}

func (h *handler) serveSupervision(w http.ResponseWriter, _ *http.Request) {
	past := h.Recorder.pastDecisions()
	list := make([]decision, len(past))
	for i, d := range past {
		list[i] = wireDecision(d)
	}
	writeJSON(w, http.StatusOK, struct {
		Decisions []decision `json:"decisions"`
	}{list})
}

func (h *handler) serveDeadLetters(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, h.Recorder.deadLetters())
}
