package actors

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Supervision is the part `supervision` of the node's configuration: every number that decides what a supervisor does.
// It can be changed while the node runs.
type Supervision struct {
	Module ModuleSupervision `json:"module"`
	Image  ImageSupervision  `json:"image"`
	Pod    PodSupervision    `json:"pod"`
	Node   NodeSupervision   `json:"node"`
	Stop   StopSupervision   `json:"stop"`
	// Overrides apply to the Pods they select; the first match wins.
	Overrides []SupervisionOverride `json:"overrides,omitempty"`
}

// BackoffConfig is Backoff as it stands in a file.
type BackoffConfig struct {
	// Initial is the delay before the second restart; default 10s.
	Initial metav1.Duration `json:"initial"`
	// Max bounds the delay; 1s to 5m, default 5m.
	Max metav1.Duration `json:"max"`
	// Factor multiplies the delay after each restart; at least 1, default 2.
	Factor float64 `json:"factor"`
	// ResetAfter is how long a container must have run for its delay to be forgotten; default 10m.
	ResetAfter metav1.Duration `json:"resetAfter,omitzero"`
}

// ModuleSupervision governs restarts of containers that ran.
type ModuleSupervision struct {
	Backoff BackoffConfig `json:"backoff"`
}

// ImageSupervision governs retries of pulls.
type ImageSupervision struct {
	Backoff BackoffConfig `json:"backoff"`
}

// OnExceeded says what becomes of a Pod whose actor crashed too often.
type OnExceeded string

const (
	// FailPod ends the Pod with phase Failed, reason AgentError; the default.
	FailPod OnExceeded = "failPod"
	// ExitNode ends the daemon, for systemd to restart.
	ExitNode OnExceeded = "exitNode"
)

// PodSupervision governs pod actors that crash: a bug of ours.
type PodSupervision struct {
	MaxCrashes int             `json:"maxCrashes"`
	Window     metav1.Duration `json:"window"`
	OnExceeded OnExceeded      `json:"onExceeded"`
	Backoff    BackoffConfig   `json:"backoff"`
}

// NodeSupervision governs the node actor: it is only ever resumed.
type NodeSupervision struct {
	MaxResumes int             `json:"maxResumes"`
	Window     metav1.Duration `json:"window"`
}

// StopSupervision bounds how long stopping takes.
type StopSupervision struct {
	// KillWait is how long a shim has to end by itself after SIGTERM before SIGKILL; default 2s.
	KillWait metav1.Duration `json:"killWait"`
	// TreeDeadline is how long the whole tree has to stop when the daemon ends; default 30s.
	TreeDeadline metav1.Duration `json:"treeDeadline"`
}

// SupervisionOverride replaces parts of Supervision for some Pods. An empty Namespace and a nil Selector match all.
type SupervisionOverride struct {
	Namespace string                `json:"namespace,omitempty"`
	Selector  *metav1.LabelSelector `json:"selector,omitempty"`
	Module    *ModuleSupervision    `json:"module,omitempty"`
	Image     *ImageSupervision     `json:"image,omitempty"`
}
