package nodeactor

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/podactor"
)

// Lifecycle is how far a Pod has come, in the words of the kubelet's metrics.
type Lifecycle string

// The lifecycle of a Pod.
const (
	// Syncing: it is to run, or waits for its turn.
	Syncing Lifecycle = "sync"
	// Terminating: its containers are being ended.
	Terminating Lifecycle = "terminating"
	// Terminated: none of them is left.
	Terminated Lifecycle = "terminated"
)

// Standing is how one Pod stands.
type Standing struct {
	// Pod must not be changed; nil where only files of an earlier daemon tell of it.
	Pod       *corev1.Pod
	Lifecycle Lifecycle
	// Unwanted says that neither the API nor a manifest has it any more.
	Unwanted bool
}

// Census is how the Pods stand, and what was counted since the node actor began.
type Census struct {
	Pods []Standing
	Tally
}

// Tally counts what happens to Pods. It is a value, like the machine that it is part of.
type Tally struct {
	// Restarted and RestartedStatic are the Pods that were removed and wanted again, under the same UID, before they were gone.
	Restarted, RestartedStatic uint64
	// Orphans are the Pods that were found on disk and that nobody explained.
	Orphans uint64
}

func (m *machine) census() Census {
	c := Census{Pods: make([]Standing, 0, len(m.pods)), Tally: m.Tally}
	for _, p := range m.pods {
		c.Pods = append(c.Pods, Standing{Pod: p.wanted, Lifecycle: p.lifecycle(), Unwanted: p.unwanted || p.wanted == nil})
	}
	return c
}

func (p *pod) lifecycle() Lifecycle {
	switch p.stage {
	case stageLeaving, stageFailed:
		return Terminated
	case stageFailing, stageClearing:
		return Terminating
	case stageWaiting, stageLive, stageBackOff:
	}
	switch {
	case isOver(p.status):
		return Terminated
	case p.ending:
		return Terminating
	default:
		return Syncing
	}
}

// again counts a Pod that begins once more under its UID.
func (t *Tally) again(p *corev1.Pod) {
	if podactor.IsStatic(p) {
		t.RestartedStatic++
	} else {
		t.Restarted++
	}
}
