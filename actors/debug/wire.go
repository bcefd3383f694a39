package debug

import (
	"strings"
	"time"

	"github.com/wazlet/wazlet/actors"
)

// The shapes of events as JSON. Durations are written as Go writes them ("40s"), and times as RFC 3339 with nanoseconds.

type transition struct {
	Time  time.Time     `json:"time"`
	Actor string        `json:"actor"`
	Kind  actors.Kind   `json:"kind"`
	Name  string        `json:"name"`
	Pod   actors.PodRef `json:"pod"`
	From  string        `json:"from"`
	To    string        `json:"to"`
	Why   string        `json:"why"`
}

type decision struct {
	Time      time.Time     `json:"time"`
	Child     string        `json:"child"`
	Pod       actors.PodRef `json:"pod"`
	Container string        `json:"container"`
	Reason    actors.Reason `json:"reason"`
	Code      int32         `json:"code"`
	Directive string        `json:"directive"`
	Delay     string        `json:"delay"`
	Restarts  int           `json:"restarts"`
}

type failure struct {
	Time    time.Time     `json:"time"`
	Actor   string        `json:"actor"`
	Kind    actors.Kind   `json:"kind"`
	Pod     actors.PodRef `json:"pod"`
	Reason  string        `json:"reason"`
	Message string        `json:"message"`
	Stack   string        `json:"stack"`
}

type notice struct {
	Time      time.Time     `json:"time"`
	Pod       actors.PodRef `json:"pod"`
	FieldPath string        `json:"fieldPath"`
	Type      string        `json:"type"`
	Reason    actors.Reason `json:"reason"`
	Message   string        `json:"message"`
}

// wire returns the name and the shape of an event in the stream.
func wire(e actors.Event) (name string, shape any) {
	switch e := e.(type) {
	case actors.Transition:
		return "transition", transition{e.Time, e.Actor, e.Kind, e.Name, e.Pod, e.From, e.To, e.Why}
	case actors.Decision:
		return "decision", wireDecision(e)
	case actors.Failure:
		return "failure", failure{e.Time, e.Actor, e.Kind, e.Pod, e.Reason, e.Message, e.Stack}
	case actors.DeadLetter:
		return "deadletter", letter(e)
	case actors.Notice:
		kind := "Normal"
		if e.Warning {
			kind = "Warning"
		}
		return "notice", notice{e.Time, e.Pod, e.FieldPath, kind, e.Reason, e.Message}
	}
	return "unknown", e
}

// delayUnit keeps delays readable: what is left of one is measured to the nanosecond, and says no more for it.
const delayUnit = 100 * time.Millisecond

func wireDecision(d actors.Decision) decision {
	directive := strings.ToLower(d.Directive.String())
	return decision{d.Time, d.Child, d.Pod, d.Container, d.Reason, d.Code, directive, d.Delay.Round(delayUnit).String(), d.Restarts}
}
