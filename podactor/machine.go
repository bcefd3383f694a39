package podactor

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// rejectedText begins the message of a Pod that the node refused; it is the kubelet's.
const rejectedText = "Pod was rejected: "

// machine is one step at work: a private copy of the state, and the effects so far.
type machine struct {
	State
	now time.Time
	out []effect
}

// newState is the state of a Pod that was never seen before.
func newState(pod *corev1.Pod, sup actors.Supervision, now time.Time) State {
	return State{
		Stage: StageAdmitting, Since: now, Pod: pod, Supervision: sup, StartTime: now,
		Containers: containersOf(pod),
	}
}

// step is the machine: it is the only way from one State to the next. It knows no clock, no context, no log and no
// goroutine. An event records what happened; settle then does whatever has become possible or necessary, so that the
// order in which independent things happen does not matter.
func step(s State, e event, now time.Time) (State, []effect) {
	m := machine{State: s.clone(), now: now}
	m.handle(e)
	m.settle()
	return m.State, m.out
}

func (m *machine) handle(e event) {
	switch e := e.(type) {
	case began:
		m.onBegan(e)
	case resumed:
		m.onResumed()
	case applied:
		m.onApplied(e)
	case terminated:
		m.onTerminated(e)
	case connected:
		m.onConnected(e.Network)
	case tuned:
		m.onTuned(e)
	case prepared:
		m.onPrepared(e)
	case refreshed:
		m.onRefreshed(e)
	case projected:
		m.onProjected(e)
	case resolved:
		m.onResolved(e)
	case reported:
		m.onReported(e)
	case exited:
		m.onExited(e)
	case crashed:
		m.onCrashed(e)
	case fired:
		m.onFired(e.Timer)
	case cleaned:
		m.onCleaned(e)
	}
}

// settle goes on until nothing changes: a stage that was just entered may have nothing to wait for.
func (m *machine) settle() {
	type progress struct {
		stage  Stage
		ending bool
	}
	for before := (progress{}); before != (progress{m.Stage, m.ending()}); {
		before = progress{m.Stage, m.ending()}
		m.proceed()
	}
}

// proceed does what the stage allows to do now.
func (m *machine) proceed() {
	switch m.Stage {
	case StagePreparing:
		// A Prepare under way may still create directories, and before a scan nobody knows what is alive.
		if m.ending() && m.Scanned && !m.Busy {
			m.terminate()
		}
	case StageInitializing, StageRunning:
		switch {
		case m.ending():
			m.terminate()
		case m.RestartingAll:
			m.restartAll()
		default:
			m.advance()
		}
	case StageTerminating:
		m.windDown()
	case StageRejected, StageFinished:
		if m.Deletion != nil {
			m.terminate()
		}
	case StageAdmitting, StageEnded:
	}
}

// ending tells whether no container may be started any more.
func (m *machine) ending() bool { return m.Deletion != nil || m.Outcome != nil }

// become moves the Pod to another stage. A move that is not in the table is a bug: it is reported and not made.
func (m *machine) become(next Stage, why string) {
	if !slices.Contains(edges(m.Stage), next) {
		m.broken(fmt.Sprintf("pod: no transition %s -> %s (%s)", m.Stage, next, why))
		return
	}
	m.emit(observe{actors.Transition{
		Time: m.now, Kind: actors.KindPod, Name: m.Pod.Namespace + "/" + m.Pod.Name, Pod: m.ref(),
		From: m.Stage.String(), To: next.String(), Why: why,
	}})
	m.Stage, m.Since = next, m.now
}

// moveTo moves a container to another stage; the same rule holds.
func (m *machine) moveTo(c *Container, next ModuleStage) {
	if !slices.Contains(moduleEdges(c.Stage), next) {
		m.broken(fmt.Sprintf("container %s: no transition %s -> %s", c.Name, c.Stage, next))
		return
	}
	c.Stage = next
}

// broken reports a bug of the machine. Tests turn it into a panic.
func (m *machine) broken(text string) {
	m.emit(observe{actors.Failure{Time: m.now, Kind: actors.KindPod, Pod: m.ref(), Reason: text}})
}

func (m *machine) emit(e effect) { m.out = append(m.out, e) }

// nextGen makes a generation that no timer and no worker ever had.
func (m *machine) nextGen() uint64 {
	m.Gen++
	return m.Gen
}

// arm sets a timer of the Pod and returns its generation.
func (m *machine) arm(kind timerKind, d time.Duration) uint64 {
	gen := m.nextGen()
	m.emit(after{timer{Kind: kind, Gen: gen}, max(d, 0)})
	return gen
}

// container finds a container by name; nil when the Pod has none of that name.
func (m *machine) container(name string) *Container {
	for i := range m.Containers {
		if m.Containers[i].Name == name {
			return &m.Containers[i]
		}
	}
	return nil
}

// spec is the container's part of the Pod.
func (m *machine) spec(c *Container) *corev1.Container { return specOf(m.Pod, c.Name) }

// params are the supervision parameters that hold for this Pod.
func (m *machine) params() actors.Supervision {
	return m.Supervision.For(m.Pod.Namespace, m.Pod.Labels)
}

func (m *machine) onBegan(e began) {
	if e.Reject != nil {
		m.Outcome = &Outcome{
			Phase: corev1.PodFailed, Reason: e.Reject.Reason, Message: rejectedText + e.Reject.Message,
		}
		m.warn("", e.Reject.Reason, e.Reject.Message)
		m.become(StageRejected, string(e.Reject.Reason))
		return
	}
	m.become(StagePreparing, "admitted")
	m.armDeadline()
	m.prepare()
}

// prepare asks for volumes and for a scan of the attempts on disk.
func (m *machine) prepare() {
	m.Busy = true
	m.emit(prepare{ScanOnly: m.ending()})
}

func (m *machine) onFired(t timer) {
	switch t.Kind {
	case retryDue:
		m.onRetryDue(t)
	case pullErrorShown:
		m.onPullErrorShown(t)
	case deadlineReached:
		m.onDeadlineReached(t)
	case graceExpired:
		m.onGraceExpired(t)
	case prepareDue:
		if t.Gen == m.PrepareGen && m.Stage == StagePreparing {
			m.PrepareGen = 0
			m.prepare()
		}
	case refreshDue:
		if t.Gen == m.RefreshGen {
			m.RefreshGen = 0
			m.project()
		}
	case cleanupDue:
		if t.Gen == m.CleanGen {
			m.CleanGen = 0
		}
	}
}
