package podactor

import (
	"fmt"
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// onResumed goes on with a state that an earlier incarnation left: of the actor, or of the whole daemon. What is alive
// is not known until the attempts on disk are scanned, so nothing is started or ended before that.
func (m *machine) onResumed() {
	m.Busy, m.Scanned = false, false
	m.DeadlineGen, m.PrepareGen, m.GraceGen, m.CleanGen = 0, 0, 0, 0
	m.RefreshGen, m.ProjectGen, m.Stale = 0, 0, false
	for i := range m.Containers {
		c := &m.Containers[i]
		c.Gen = m.nextGen()
		c.Attached, c.Adopting, c.Crashed = false, false, false
	}
	m.boundWaits()
	switch m.Stage {
	case StageAdmitting:
		m.onBegan(began{})
	case StageRejected, StageFinished:
	case StageEnded:
		m.emit(end{})
	case StagePreparing, StageInitializing, StageRunning, StageTerminating:
		if m.Stage != StagePreparing {
			m.become(StagePreparing, "recovered")
		}
		m.armDeadline()
		if !m.KillBy.IsZero() {
			m.GraceGen = m.arm(graceExpired, m.KillBy.Sub(m.now)+graceSlack)
		}
		m.prepare()
	}
}

// boundWaits is for a clock that was set back since the state was saved: nothing waits longer than if it had begun to now.
func (m *machine) boundWaits() {
	grace := m.podGrace()
	if m.Deletion != nil {
		grace = m.Deletion.Grace
	}
	by := m.now.Add(grace)
	if m.KillBy.After(by) {
		m.KillBy = by
	}
	for i := range m.Containers {
		c := &m.Containers[i]
		if c.KillBy.After(by) {
			c.KillBy = by
		}
		if retry := m.now.Add(m.longestWait(c)); c.RetryAt.After(retry) {
			c.RetryAt = retry
		}
	}
}

// onPrepared goes on when the volumes are there and it is known what runs.
func (m *machine) onPrepared(e prepared) {
	m.Busy = false
	if m.Stage != StagePreparing {
		return
	}
	if e.Err == nil || e.Err.Volume != "" {
		m.Scanned = true
		m.recover(e.Found)
	}
	// A Pod that already runs does not stop for a volume that can no longer be set up: its containers have theirs.
	if e.Err != nil && (e.Err.Volume == "" || !m.Prepared) {
		m.prepareFailed(e.Err)
		return
	}
	m.PrepareRetries = actors.History{}
	if m.Wait != nil && !m.Prepared && !m.ending() {
		m.warnWait()
		return // onConnected goes on
	}
	m.Prepared = true
	if m.ending() {
		return // settle goes on with Terminating
	}
	defer m.keepFresh(e.Err, e.RefreshAt)
	if m.Initialized || len(m.Pod.Spec.InitContainers) == 0 {
		m.become(StageRunning, "prepared")
	} else {
		m.become(StageInitializing, "prepared")
	}
}

func (m *machine) prepareFailed(e *prepareError) {
	v := m.retry(m.PrepareRetries)
	m.PrepareRetries = v.History
	m.PrepareGen = m.arm(prepareDue, v.Delay)
	if e.Volume != "" {
		m.warnMount(e)
	} else {
		m.warn("", actors.ReasonFailed, fmt.Sprintf("error finding the pod's containers: %v", e.Err))
	}
}

// recover compares what the state believes with the attempts on disk, which are the truth.
func (m *machine) recover(found []bundle.Found) {
	byName := make(map[string]*bundle.Found, len(found))
	for i := range found {
		byName[found[i].ID.Container] = &found[i]
	}
	for i := range m.Containers {
		c := &m.Containers[i]
		f := byName[c.Name]
		switch {
		case c.alive(): // a Prepare that was repeated; the first one found it
		case f != nil && (f.Alive || c.Last == nil || c.Last.Attempt < f.ID.Attempt):
			m.recoverAttempt(c, f)
		default:
			m.recoverWithout(c)
		}
		// Nothing runs in a Pod that was not prepared, no main in one that was not initialized. This matters when the
		// checkpoint is older than the attempts.
		m.Prepared = m.Prepared || f != nil
		m.Initialized = m.Initialized || (f != nil && c.Role == Main)
	}
}

// recoverAttempt takes over an attempt whose ending the state has not seen. Adopting it brings the ending, too, if there
// is one by now, with its true times.
func (m *machine) recoverAttempt(c *Container, f *bundle.Found) {
	if f.Previous != nil && (c.Last == nil || c.Last.Attempt < f.ID.Attempt-1) {
		c.Previous, c.Last = c.Last, previousExit(f)
	}
	if f.ID.Attempt > c.Attempt { // what was asked of the one before it was done
		c.Replace, c.KillBy = false, time.Time{}
	}
	if neverEntered(f) {
		m.recoverUnentered(c, f)
		return
	}
	c.Attempt, c.RetryAt = f.ID.Attempt, time.Time{}
	c.ContainerID, c.ImageID = f.Spec.ContainerID, f.Spec.ImageID
	if c.Stage != ModuleIdle {
		m.moveTo(c, ModuleIdle)
	}
	if f.State == nil {
		m.moveTo(c, ModuleStarting)
	} else {
		c.Started, c.StartedAt = true, f.State.StartedAt
		c.Waiting, c.WaitingText = "", ""
		m.moveTo(c, ModuleRunning)
	}
	if c.Replace && c.KillBy.IsZero() {
		c.KillBy = m.now.Add(m.podGrace())
	}
	m.adopt(c)
}

// neverEntered tells whether the daemon ended between spec.json and the guest: nothing of the image ran.
func neverEntered(f *bundle.Found) bool {
	return !f.Alive && f.Err == nil && f.State == nil && f.Exit != nil && f.Exit.Reason == bundle.Killed
}

// recoverUnentered starts a container again, whatever its policy, that was created but never started, as the kubelet does:
// a Pod must not fail because its agent ended at a bad moment. The number of the attempt is used up.
func (m *machine) recoverUnentered(c *Container, f *bundle.Found) {
	c.Attempt, c.RetryAt = f.ID.Attempt+1, time.Time{}
	c.Waiting, c.WaitingText = "", ""
	if c.Stage != ModuleIdle {
		m.moveTo(c, ModuleIdle)
	}
}

// previousExit is what can be told of an attempt that only its exit.json remembers.
func previousExit(f *bundle.Found) *actors.Exit {
	x := &actors.Exit{
		Reason: actors.ReasonError, Code: f.Previous.Code, Message: f.Previous.Message, Attempt: f.ID.Attempt - 1,
		StartedAt: f.Previous.StartedAt, FinishedAt: f.Previous.FinishedAt,
	}
	switch f.Previous.Reason {
	case bundle.Completed:
		x.Reason = actors.ReasonCompleted
	case bundle.StartError:
		x.Reason = actors.ReasonStartError
	case bundle.OOMKilled:
		x.Reason = actors.ReasonOOMKilled
	case bundle.Error, bundle.Trap, bundle.Killed:
	}
	return x
}

// recoverWithout handles a container that left no attempt the state does not know.
func (m *machine) recoverWithout(c *Container) {
	switch c.Stage {
	case ModuleCreated, ModulePulling, ModulePreparing, ModuleStarting:
		m.moveTo(c, ModuleIdle) // it did not get as far as a bundle: its turn comes again
	case ModuleRunning:
		m.ended(c, lostExit(c, m.now))
	case ModuleBackOff:
		if !m.ending() {
			m.rearm(c)
		}
	case ModuleIdle, ModuleExited:
	}
}

// rearm goes on waiting for what is left of a back-off.
func (m *machine) rearm(c *Container) {
	c.Gen = m.nextGen()
	m.emit(after{timer{retryDue, c.Name, c.Gen}, max(c.RetryAt.Sub(m.now), 0)})
	if pullErrorBacksOff(c.Waiting) {
		m.emit(after{timer{pullErrorShown, c.Name, c.Gen}, 0})
	}
}
