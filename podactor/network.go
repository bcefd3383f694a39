package podactor

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// Network is the Pod's place in the network of its node. A Pod on the host's network has no IP of its own.
type Network struct {
	// IP is the Pod's own address.
	IP string
	// HostIP is the node's: the status.hostIP, and what hostPorts are bound to. Empty while it has none.
	HostIP string
	// Wait is why the Pod, which has no address, must wait for another Network before anything of it is started. Nil: it
	// need not.
	Wait *Wait
}

// Wait is what a Pod without an address waits for, in the words of an Event.
type Wait struct {
	Reason  actors.Reason
	Message string
}

// onConnected takes the Pod's address over, which the node gives it once.
func (m *machine) onConnected(n Network) {
	late := m.HostIP == "" && n.HostIP != ""
	m.connect(n)
	if late {
		m.retryUnconfigured()
	}
	if m.Stage != StagePreparing || !m.Scanned || m.Busy || m.PrepareGen != 0 || m.ending() {
		return
	}
	if m.Wait != nil {
		m.warnWait()
		return
	}
	m.prepare() // it was all there but the address
}

// retryUnconfigured lets what may have waited for the node's address not wait until the end of its back-off.
func (m *machine) retryUnconfigured() {
	if m.ending() || m.Stage != StageInitializing && m.Stage != StageRunning {
		return
	}
	for i := range m.Containers {
		if c := &m.Containers[i]; c.unconfigured() {
			c.RetryAt = time.Time{}
			m.start(c)
		}
	}
}

// unconfigured tells whether the container waits because of what its definition asks for.
func (c *Container) unconfigured() bool {
	return c.Stage == ModuleBackOff && c.Waiting == actors.ReasonCreateContainerConfigError
}

// connect changes the state alone.
func (s *State) connect(n Network) {
	s.HostIP = n.HostIP
	switch {
	case n.IP != "":
		s.PodIP, s.Wait = n.IP, nil
	case s.PodIP == "":
		s.Wait = n.Wait
	}
}

// warnWait tells once of each reason to wait.
func (m *machine) warnWait() {
	if m.Warned == *m.Wait {
		return
	}
	m.Warned = *m.Wait
	m.warn("", m.Wait.Reason, m.Wait.Message)
}

// waitText is shown by containers that wait for the Pod's address.
func (s *State) waitText() string {
	if s.Wait == nil || s.Prepared {
		return ""
	}
	return s.Wait.Message
}

// setAddresses fills in the addresses of the node and of the Pod. A terminal Pod keeps its own.
func setAddresses(p *corev1.PodStatus, pod *corev1.Pod, hostIP, podIP string) {
	if hostIP != "" {
		p.HostIP, p.HostIPs = hostIP, []corev1.HostIP{{IP: hostIP}}
	}
	if pod.Spec.HostNetwork {
		podIP = hostIP
	}
	if podIP != "" {
		p.PodIP, p.PodIPs = podIP, []corev1.PodIP{{IP: podIP}}
	}
}

// errNoHostIP is why a container waits that needs the node's address. The kubelet says as much where it needs it.
var errNoHostIP = errors.New("host IP unknown: the node has no address yet")

// validateNetwork checks what a checkpoint says.
func (s *State) validateNetwork() error {
	if s.PodIP == "" {
		return nil
	}
	if _, err := netip.ParseAddr(s.PodIP); err != nil {
		return fmt.Errorf("state.podIP: want an IP address (got %q)", s.PodIP)
	}
	return nil
}
