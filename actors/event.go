package actors

import (
	"fmt"
	"time"
)

//go:generate go tool -modfile=../.ci/tools.mod stringer -type=Kind -linecomment

// Kind is the layer of an actor in the tree.
type Kind uint8

// The three layers.
const (
	KindNode   Kind = iota + 1 // node
	KindPod                    // pod
	KindModule                 // module
)

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) {
	if k < KindNode || k > KindModule {
		return nil, fmt.Errorf("kind of actor: must be node, pod or module (got %d)", uint8(k))
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads the kind's name.
func (k *Kind) UnmarshalText(text []byte) error {
	for c := KindNode; c <= KindModule; c++ {
		if c.String() == string(text) {
			*k = c
			return nil
		}
	}
	return fmt.Errorf("kind of actor: must be node, pod or module (got %q)", text)
}

// PodRef names a Pod. The zero value stands for no Pod.
type PodRef struct {
	UID       string `json:"uid,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// Observer is given every Event, in the order in which one actor made them, on the goroutine of that actor. It must not
// block and must not send messages to actors synchronously.
type Observer func(Event)

// Event is something that happened in the tree: one of the types below. Logs, metrics, Kubernetes Events and the debug
// page are all made from this stream (ADR D8). Events never carry specs, environment values or message contents.
//
//sumtype:decl
type Event interface{ event() }

// Transition is a change of an actor's state. Actor is the actor's path, Name what a person calls it.
type Transition struct {
	Time     time.Time
	Actor    string
	Kind     Kind
	Name     string
	Pod      PodRef
	From, To string
	Why      string
}

// Decision is what a supervisor decided about a child that ended.
type Decision struct {
	Time      time.Time
	Child     string // path
	Pod       PodRef
	Container string // empty for a decision about a whole pod actor
	Reason    Reason
	Code      int32
	Directive Directive
	Delay     time.Duration
	Restarts  int
}

// Failure is a crash of an actor: a bug of ours.
type Failure struct {
	Time    time.Time
	Actor   string
	Kind    Kind
	Pod     PodRef
	Reason  string
	Message string // type of the message being handled
	Stack   string
}

// DeadLetter is a message that found no actor. Message is its type, never its contents.
type DeadLetter struct {
	Time            time.Time
	Target, Message string
	Sender          string
}

// Notice is what a user of Kubernetes finds as an Event of the Pod. Warning is false for type Normal.
type Notice struct {
	Time      time.Time
	Pod       PodRef
	FieldPath string // spec.containers{name}, or empty for the Pod itself
	Warning   bool
	Reason    Reason
	Message   string
	// Pull is what a pull took, for ReasonPulled; zero when the image was there.
	Pull Pull
}

// Pull is a pull of an image that has succeeded; the time includes waiting for others.
type Pull struct {
	Took  time.Duration
	Bytes int64
}

func (Transition) event() {}
func (Decision) event()   {}
func (Failure) event()    {}
func (DeadLetter) event() {}
func (Notice) event()     {}
