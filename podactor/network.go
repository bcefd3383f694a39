package podactor

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

// Network is the Pod's place in the network of its node. The zero value is that of a Pod on the host's network, whose
// address is Config.HostIP.
type Network struct {
	// IP is the Pod's own address.
	IP string
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
	m.connect(n)
	if m.Stage != StagePreparing || !m.Scanned || m.Busy || m.PrepareGen != 0 || m.ending() {
		return
	}
	if m.Wait != nil {
		m.warnWait()
		return
	}
	m.prepare() // it was all there but the address
}

// connect changes the state alone.
func (s *State) connect(n Network) {
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
func setAddresses(p *corev1.PodStatus, cfg Config, pod *corev1.Pod, podIP string) {
	if cfg.HostIP != "" {
		p.HostIP, p.HostIPs = cfg.HostIP, []corev1.HostIP{{IP: cfg.HostIP}}
	}
	if pod.Spec.HostNetwork {
		podIP = cfg.HostIP
	}
	if podIP != "" {
		p.PodIP, p.PodIPs = podIP, []corev1.PodIP{{IP: podIP}}
	}
}

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
