package podactor

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
)

// advance starts every container whose turn has come: init containers one after the other, each when the one before it
// is done (or, for a sidecar, has started), then all mains at once.
func (m *machine) advance() {
	if !m.Initialized && !m.initialize() {
		return
	}
	for i := range m.Containers {
		if c := &m.Containers[i]; c.Role != Init && c.Stage == ModuleIdle {
			m.start(c)
		}
	}
	m.concludeMains()
}

// initialize advances the init containers and tells whether all of them are done.
func (m *machine) initialize() bool {
	for i := range m.Containers {
		c := &m.Containers[i]
		switch {
		case c.Role == Main, c.Role == Init && c.succeeded(), c.Role == Sidecar && c.Started && c.Stage != ModuleIdle:
			continue
		case c.Stage == ModuleIdle:
			m.start(c)
		case c.Stage == ModuleExited:
			m.Outcome = &Outcome{Phase: corev1.PodFailed}
		}
		return false
	}
	m.Initialized = true
	if m.Stage == StageInitializing {
		m.become(StageRunning, "init containers are done")
	}
	return true
}

// concludeMains gives the Pod its outcome once all mains are over for good. Sidecars do not count.
func (m *machine) concludeMains() {
	phase := corev1.PodSucceeded
	for i := range m.Containers {
		c := &m.Containers[i]
		if c.Role != Main {
			continue
		}
		if c.Stage != ModuleExited {
			return
		}
		if !c.succeeded() {
			phase = corev1.PodFailed
		}
	}
	m.Outcome = &Outcome{Phase: phase}
}

// start begins the container's next attempt. Its spec is made first, in a worker, because that may block.
func (m *machine) start(c *Container) {
	c.Adopting, c.Crashed, c.Replace = false, false, false
	c.ContainerID, c.ImageID, c.StartedAt, c.KillBy = "", "", time.Time{}, time.Time{}
	if c.RetryAt.After(m.now) { // the whole Pod starts over, but this container has a delay to wait for
		m.backOff(c)
		return
	}
	c.RetryAt = time.Time{}
	if c.Stage != ModuleCreated {
		m.moveTo(c, ModuleCreated)
	}
	c.Gen = m.nextGen()
	m.emit(resolve{Container: c.Name, Gen: c.Gen})
}

// adopt takes over an attempt that was started before and may still be alive.
func (m *machine) adopt(c *Container) {
	c.Adopting = true
	c.Gen = m.nextGen()
	m.emit(resolve{Container: c.Name, Gen: c.Gen, Adopt: true})
}

func (m *machine) onResolved(e resolved) {
	c := m.container(e.Container)
	switch {
	case c == nil || c.Gen != e.Gen || c.Attached, m.ending() && !c.Adopting: // overtaken by something newer
	case e.Err != nil:
		m.ended(c, actors.Exit{
			Reason: actors.ReasonCreateContainerConfigError, Message: e.Err.Error(),
			NotStarted: true, Attempt: c.Attempt, FinishedAt: m.now,
		})
	default:
		m.warnMissingKeys(e.NoKeys)
		c.Attached, c.AttachedAt = true, m.now
		m.emit(run{moduleactor.Run{Spec: e.Spec, Attempt: c.Attempt, Adopt: c.Adopting}})
		if !c.KillBy.IsZero() { // asked for while there was nobody to tell
			m.emit(kill{c.Name, m.grace(c.KillBy)})
		}
	}
}

// onReported follows the attempt. Stages only go forward here: a late fact changes nothing.
func (m *machine) onReported(e reported) {
	switch f := e.Fact.(type) {
	case moduleactor.Pulling:
		if c := m.attempt(f.Container, f.Attempt); c != nil {
			m.forward(c, ModulePulling)
			if f.Remote {
				m.notice(c, actors.ReasonPulling, fmt.Sprintf("Pulling image %q", f.Image))
			}
		}
	case moduleactor.Pulled:
		if c := m.attempt(f.Container, f.Attempt); c != nil {
			c.ImageID = f.ImageID
			m.forward(c, ModulePreparing)
			m.pulled(c, f)
		}
	case moduleactor.Created:
		if c := m.attempt(f.Container, f.Attempt); c != nil {
			c.ContainerID = f.ContainerID
			m.forward(c, ModuleStarting)
			m.notice(c, actors.ReasonCreated, "Container created")
		}
	case moduleactor.Started:
		if c := m.attempt(f.Container, f.Attempt); c != nil {
			m.started(c, f)
		}
	}
}

func (m *machine) started(c *Container, f moduleactor.Started) {
	m.forward(c, ModuleRunning)
	c.Started = true
	c.Waiting, c.WaitingText = "", ""
	c.ContainerID, c.ImageID, c.StartedAt = f.ContainerID, f.ImageID, f.StartedAt
	if !f.Adopted {
		m.notice(c, actors.ReasonStarted, "Container started")
	}
}

// attempt finds the container whose current attempt this is; nil for anything that is over.
func (m *machine) attempt(name string, attempt int) *Container {
	if c := m.container(name); c != nil && c.Attached && c.Attempt == attempt {
		return c
	}
	return nil
}

func (m *machine) forward(c *Container, to ModuleStage) {
	if c.Stage < to {
		m.moveTo(c, to)
	}
}
