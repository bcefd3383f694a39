package podactor

import (
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor/volume"
)

// The kinds of objects that Refresh knows.
const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

// onRefreshed brings the new content of an object to whatever uses it.
func (m *machine) onRefreshed(e refreshed) {
	if e.Namespace != m.Pod.Namespace || m.ending() {
		return
	}
	if volume.Uses(m.Pod, e.Kind, e.Name) {
		if m.Stage == StagePreparing && m.PrepareGen != 0 { // it may be what was missing
			m.PrepareGen = 0
			m.prepare()
			return
		}
		m.project()
	}
	if m.Stage != StageInitializing && m.Stage != StageRunning {
		return
	}
	for i := range m.Containers {
		c := &m.Containers[i]
		spec := m.spec(c)
		if c.unconfigured() && environmentUses(spec, e.Kind, e.Name) || c.failedPull() && pullsWith(m.Pod, e.Kind, e.Name) {
			c.RetryAt = time.Time{}
			m.start(c)
		}
	}
}

// project has the files of volumes made anew, once more if that is going on already.
func (m *machine) project() {
	switch {
	case m.ProjectGen != 0, m.Stage == StagePreparing && m.Busy:
		m.Stale = true
	case m.Stage == StageInitializing, m.Stage == StageRunning, m.Stage == StageTerminating && !m.Busy && m.CleanGen == 0:
		m.Stale = false
		m.ProjectGen = m.nextGen()
		m.emit(project{m.ProjectGen})
	}
}

func (m *machine) onProjected(e projected) {
	if e.Gen != m.ProjectGen {
		return
	}
	m.ProjectGen = 0
	m.keepFresh(e.Err, e.RefreshAt)
}

// keepFresh says when the files of volumes are to be made anew: at once if something has changed meanwhile, after a
// back-off if it failed, before a token in them grows old.
func (m *machine) keepFresh(err *prepareError, refreshAt time.Time) {
	m.RefreshGen = 0
	if err == nil {
		m.ProjectRetries = actors.History{}
	}
	switch {
	case err != nil:
		m.warnMount(err)
		v := m.retry(m.ProjectRetries)
		m.ProjectRetries = v.History
		m.RefreshGen = m.arm(refreshDue, v.Delay)
	case !refreshAt.IsZero():
		m.RefreshGen = m.arm(refreshDue, max(refreshAt.Sub(m.now), minRefresh))
	}
	if m.Stale {
		m.project()
	}
}

// minRefresh keeps a server with a wrong clock from being asked for tokens all the time.
const minRefresh = 10 * time.Second

func (m *machine) warnMount(e *prepareError) {
	m.warn("", actors.ReasonFailedMount, fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", e.Volume, e.Err))
}

// changedMetadata tells whether what downwardAPI volumes show may be another one.
func changedMetadata(a, b *corev1.Pod) bool {
	return !maps.Equal(a.Labels, b.Labels) || !maps.Equal(a.Annotations, b.Annotations)
}
