package podactor

import (
	"fmt"
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
)

// The words of this file are the kubelet's: scripts and people search for them.

// pullErrorFor is how long ErrImagePull is shown before it becomes ImagePullBackOff.
const pullErrorFor = 2 * time.Second

// explain says in status and events why the container does not run, after an ending that will be retried.
func (m *machine) explain(c *Container, x actors.Exit) {
	if x.NotStarted {
		c.Waiting, c.WaitingText = x.Reason, x.Message
		m.explainNotStarted(c, x)
		return
	}
	c.Waiting, c.WaitingText = "", ""
	if c.RetryAt.IsZero() {
		return
	}
	c.Waiting = actors.ReasonCrashLoopBackOff
	c.WaitingText = fmt.Sprintf("back-off %s restarting failed container=%s pod=%s",
		c.RetryAt.Sub(x.FinishedAt).Round(time.Millisecond), c.Name, m.longName())
	m.warn(c.Name, actors.ReasonBackOff, fmt.Sprintf("Back-off restarting failed container %s in pod %s", c.Name, m.longName()))
}

func (m *machine) explainNotStarted(c *Container, x actors.Exit) {
	image := m.image(c)
	switch x.Reason {
	case actors.ReasonErrImagePull, actors.ReasonRegistryUnavailable:
		m.warn(c.Name, actors.ReasonFailed, fmt.Sprintf("Failed to pull image %q: %s", image, x.Message))
		m.warn(c.Name, actors.ReasonFailed, "Error: "+string(x.Reason))
	case actors.ReasonInvalidImageName:
		m.warn(c.Name, actors.ReasonInspectFailed, fmt.Sprintf("Failed to apply default image tag %q: %s", image, x.Message))
		m.warn(c.Name, actors.ReasonFailed, "Error: "+string(x.Reason))
	case actors.ReasonErrImageNeverPull:
		m.warn(c.Name, actors.ReasonErrImageNeverPull, fmt.Sprintf("Container image %q is not present with pull policy of Never", image))
		m.warn(c.Name, actors.ReasonFailed, "Error: "+string(x.Reason))
	case actors.ReasonImageInspectError:
		m.warn(c.Name, actors.ReasonInspectFailed, fmt.Sprintf("Failed to inspect image %q: %s", image, x.Message))
		m.warn(c.Name, actors.ReasonFailed, "Error: "+string(x.Reason))
	default:
		m.warn(c.Name, actors.ReasonFailed, "Error: "+x.Message)
	}
}

// pullErrorBacksOff tells which errors are shown as ImagePullBackOff after a while.
func pullErrorBacksOff(r actors.Reason) bool {
	return r == actors.ReasonErrImagePull || r == actors.ReasonRegistryUnavailable
}

func (m *machine) onPullErrorShown(t timer) {
	c := m.container(t.Container)
	if c == nil || c.Gen != t.Gen || c.Stage != ModuleBackOff || !pullErrorBacksOff(c.Waiting) {
		return
	}
	text := fmt.Sprintf("Back-off pulling image %q", m.image(c))
	c.Waiting, c.WaitingText = actors.ReasonImagePullBackOff, fmt.Sprintf("%s: %s: %s", text, c.Waiting, c.WaitingText)
	m.notice(c, actors.ReasonBackOff, text)
	m.warn(c.Name, actors.ReasonFailed, "Error: "+string(actors.ReasonImagePullBackOff))
}

// pulled tells of an image that can be used now.
func (m *machine) pulled(c *Container, f moduleactor.Pulled) {
	n := actors.Notice{Time: m.now, Pod: m.ref(), FieldPath: fieldPath(c.Role, c.Name), Reason: actors.ReasonPulled, Message: pulledText(f)}
	if !f.Present {
		n.Pull = actors.Pull{Took: f.Took, Bytes: f.Size}
	}
	m.emit(observe{n})
}

func pulledText(f moduleactor.Pulled) string {
	if f.Present {
		return fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", f.Image)
	}
	return fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
		f.Image, (f.Took - f.Waited).Truncate(time.Millisecond), f.Took.Truncate(time.Millisecond), f.Size)
}

func (m *machine) image(c *Container) string {
	if s := m.spec(c); s != nil {
		return s.Image
	}
	return ""
}

// longName is how the kubelet writes a Pod: name_namespace(uid).
func (m *machine) longName() string {
	return fmt.Sprintf("%s_%s(%s)", m.Pod.Name, m.Pod.Namespace, m.Pod.UID)
}

// notice makes a Kubernetes Event of type Normal about a container.
func (m *machine) notice(c *Container, reason actors.Reason, text string) {
	m.emit(observe{actors.Notice{
		Time: m.now, Pod: m.ref(), FieldPath: fieldPath(c.Role, c.Name), Reason: reason, Message: text,
	}})
}

// warn makes one of type Warning, about the Pod when container is empty.
func (m *machine) warn(container string, reason actors.Reason, text string) {
	n := actors.Notice{Time: m.now, Pod: m.ref(), Warning: true, Reason: reason, Message: text}
	if c := m.container(container); c != nil {
		n.FieldPath = fieldPath(c.Role, c.Name)
	}
	m.emit(observe{n})
}

// fieldPath is the involvedObject.fieldPath of an Event.
func fieldPath(r Role, name string) string {
	if r == Main {
		return "spec.containers{" + name + "}"
	}
	return "spec.initContainers{" + name + "}"
}
