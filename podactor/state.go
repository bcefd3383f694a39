package podactor

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

//go:generate go tool -modfile=../.ci/tools.mod stringer -type=Stage -trimprefix=Stage
//go:generate go tool -modfile=../.ci/tools.mod stringer -type=ModuleStage -trimprefix=Module
//go:generate go tool -modfile=../.ci/tools.mod stringer -type=Role

// Stage is where a Pod stands. See the diagram in doc.go.
type Stage uint8

// The stages of a Pod.
const (
	StageAdmitting Stage = iota + 1
	StageRejected
	StagePreparing
	StageInitializing
	StageRunning
	StageTerminating
	StageFinished
	StageEnded
)

// edges is the table of permitted transitions of a Pod. A Pod that is recovered goes through Preparing again.
func edges(from Stage) []Stage {
	switch from {
	case StageAdmitting:
		return []Stage{StageRejected, StagePreparing}
	case StageRejected:
		return []Stage{StageTerminating}
	case StagePreparing:
		return []Stage{StageInitializing, StageRunning, StageTerminating}
	case StageInitializing:
		return []Stage{StageRunning, StageTerminating, StagePreparing}
	case StageRunning:
		return []Stage{StageInitializing, StageTerminating, StagePreparing}
	case StageTerminating:
		return []Stage{StageFinished, StageEnded, StagePreparing}
	case StageFinished:
		return []Stage{StageTerminating}
	case StageEnded:
		return nil
	}
	return nil
}

// ModuleStage is where a container stands: the module actor's state as far as the Pod knows it, and around it the states
// in which there is no attempt. A recovered container starts from Idle again.
type ModuleStage uint8

// The stages of a container.
const (
	// ModuleIdle waits for its turn; it never ran, or the whole Pod starts over.
	ModuleIdle ModuleStage = iota + 1
	// ModuleCreated has an attempt whose spec is being resolved, or whose actor has not reported anything yet.
	ModuleCreated
	ModulePulling
	ModulePreparing
	ModuleStarting
	ModuleRunning
	// ModuleBackOff waits for its next attempt.
	ModuleBackOff
	// ModuleExited is over for good.
	ModuleExited
)

// moduleEdges is the table of permitted transitions of a container. Facts can be overtaken by the ending of the attempt
// (notes/protoactor.md §3, pitfall 16), and an adopted attempt may be at any point: hence the forward jumps.
func moduleEdges(from ModuleStage) []ModuleStage {
	switch from {
	case ModuleIdle:
		return []ModuleStage{ModuleCreated, ModuleStarting, ModuleRunning, ModuleBackOff, ModuleExited}
	case ModuleCreated:
		return []ModuleStage{ModulePulling, ModulePreparing, ModuleStarting, ModuleRunning, ModuleBackOff, ModuleExited, ModuleIdle}
	case ModulePulling:
		return []ModuleStage{ModulePreparing, ModuleStarting, ModuleRunning, ModuleBackOff, ModuleExited, ModuleCreated, ModuleIdle}
	case ModulePreparing:
		return []ModuleStage{ModuleStarting, ModuleRunning, ModuleBackOff, ModuleExited, ModuleCreated, ModuleIdle}
	case ModuleStarting:
		return []ModuleStage{ModuleRunning, ModuleBackOff, ModuleExited, ModuleCreated, ModuleIdle}
	case ModuleRunning:
		return []ModuleStage{ModuleBackOff, ModuleExited, ModuleCreated, ModuleIdle}
	case ModuleBackOff:
		return []ModuleStage{ModuleCreated, ModuleExited, ModuleIdle}
	case ModuleExited:
		return []ModuleStage{ModuleIdle}
	}
	return nil
}

// Role is a container's part in the life of its Pod.
type Role uint8

// The roles.
const (
	// Init runs before the mains and must exit with 0.
	Init Role = iota + 1
	// Sidecar is an init container with restartPolicy Always: it stays up until the mains are done.
	Sidecar
	// Main is one of spec.containers.
	Main
)

// State is everything that a pod actor knows. It is a value: step makes the next one from it and never changes it, so
// that a panic leaves it intact. It is also what the checkpoint holds.
type State struct {
	Stage Stage     `json:"stage"`
	Since time.Time `json:"since"`
	// Pod is the wanted Pod. It is shared between states and therefore never changed in place.
	Pod         *corev1.Pod        `json:"pod"`
	Supervision actors.Supervision `json:"-"`
	StartTime   time.Time          `json:"startTime"`

	// PodIP is the Pod's own address, which it keeps; empty while it has none, and on the host's network.
	PodIP string `json:"podIP,omitempty"`
	// HostIP is the node's address, empty while it is not known.
	HostIP string `json:"-"`
	// Wait is why the Pod cannot start without one, Warned the last of these that was told.
	Wait   *Wait `json:"-"`
	Warned Wait  `json:"-"`

	// Infeasible says that the API wants other resources than those that the containers have.
	Infeasible bool `json:"-"`

	// Outcome is how the Pod ended, or is bound to end once its containers are gone. It never changes again.
	Outcome *Outcome `json:"outcome,omitempty"`
	// Deletion is set once the Pod must go.
	Deletion *Deletion `json:"deletion,omitempty"`
	// KillBy is when containers must be gone; zero while they need not go.
	KillBy time.Time `json:"killBy,omitzero"`
	// Force ends containers without any grace.
	Force bool `json:"force,omitempty"`

	// Prepared says that the volumes were set up once, Initialized that all init containers were done once.
	Prepared    bool `json:"prepared,omitempty"`
	Initialized bool `json:"initialized,omitempty"`
	// RestartingAll says that all containers are ended in order to start over.
	RestartingAll bool `json:"restartingAll,omitempty"`

	// Containers are the init containers in their order, then the mains in theirs.
	Containers []Container `json:"containers"`

	// Gen is the source of generations; the generations of the Pod's own timers follow, zero for none pending.
	Gen         uint64 `json:"gen"`
	DeadlineGen uint64 `json:"-"`
	PrepareGen  uint64 `json:"-"`
	GraceGen    uint64 `json:"-"`
	CleanGen    uint64 `json:"-"`
	RefreshGen  uint64 `json:"-"`
	// ProjectGen is the generation of the projection under way, zero for none. Stale says that something has changed since
	// it, or the Prepare under way, began.
	ProjectGen uint64 `json:"-"`
	Stale      bool   `json:"-"`
	// Scanned says that the attempts on disk are known.
	Scanned bool `json:"-"`
	// Busy says that a Prepare or a Cleanup was asked for and has not been answered.
	Busy bool `json:"-"`
	// PrepareRetries, ProjectRetries and CleanRetries remember how often these failed.
	PrepareRetries actors.History `json:"-"`
	ProjectRetries actors.History `json:"-"`
	CleanRetries   actors.History `json:"-"`
}

// Outcome is a terminal phase with its reasons.
type Outcome struct {
	Phase   corev1.PodPhase `json:"phase"`
	Reason  actors.Reason   `json:"reason,omitempty"`
	Message string          `json:"message,omitempty"`
}

// Deletion is the shortest Terminate seen so far.
type Deletion struct {
	Grace   time.Duration `json:"grace"`
	Reason  actors.Reason `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
}

// Container is what a pod actor knows of one container.
type Container struct {
	Name  string      `json:"name"`
	Role  Role        `json:"role"`
	Stage ModuleStage `json:"stage"`
	// Attempt is the number of the current attempt, or of the next one while there is none.
	Attempt int `json:"attempt"`
	// Gen is the generation of the pending timer, or of the spec that is being resolved.
	Gen uint64 `json:"-"`
	// Attached says that a module actor was given this attempt and has not ended it: a guest may be alive.
	Attached bool `json:"-"`
	// AttachedAt is since when.
	AttachedAt time.Time `json:"-"`
	// Adopting says that the attempt, which may be alive, is to be taken over, or was.
	Adopting bool `json:"-"`
	// Crashed says that it is because its module actor crashed.
	Crashed bool `json:"-"`
	// Started says that some attempt of the container reached Running.
	Started bool `json:"started,omitempty"`
	// Replace restarts the container whatever its policy says, because its definition changed.
	Replace bool `json:"replace,omitempty"`
	// KillBy is when the guest must be gone; zero while it may run.
	KillBy time.Time `json:"killBy,omitzero"`

	// ContainerID, ImageID and StartedAt belong to the current attempt.
	ContainerID string    `json:"containerID,omitempty"`
	ImageID     string    `json:"imageID,omitempty"`
	StartedAt   time.Time `json:"startedAt,omitzero"`

	// Waiting and WaitingText are shown while no attempt runs; empty for the ordinary reason.
	Waiting     actors.Reason `json:"waiting,omitempty"`
	WaitingText string        `json:"waitingText,omitempty"`
	// RetryAt is the end of the back-off.
	RetryAt time.Time `json:"retryAt,omitzero"`

	// Last and Previous are the last two attempts that ran and ended.
	Last     *actors.Exit `json:"last,omitempty"`
	Previous *actors.Exit `json:"previous,omitempty"`
	// History drives the back-off of the container, Crashes that of its module actor.
	History actors.History `json:"history,omitzero"`
	Crashes actors.History `json:"-"`
}

// clone copies what step may change. Pod, Outcome, Deletion, Last and Previous are replaced, never changed in place.
func (s State) clone() State {
	s.Containers = slices.Clone(s.Containers)
	return s
}

// ref names the Pod in events.
func (s *State) ref() actors.PodRef { return refOf(s.Pod) }

func refOf(p *corev1.Pod) actors.PodRef {
	return actors.PodRef{UID: string(p.UID), Namespace: p.Namespace, Name: p.Name}
}

// alive tells whether a guest of the container may be running or about to run.
func (c *Container) alive() bool { return c.Attached || c.Adopting }

// succeeded tells whether the container is over and exited with 0.
func (c *Container) succeeded() bool {
	return c.Stage == ModuleExited && c.Last != nil && c.Last.Code == 0
}
