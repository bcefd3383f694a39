package podactor

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

const maxPort = 65535

// listeners are the sockets that a container finds open: one on the Pod's address for each port that it declares, and one
// on the node's for each hostPort. SCTP is not for guests.
func (s surroundings) listeners(c *corev1.Container) ([]bundle.Listener, error) {
	var out []bundle.Listener
	add := func(p *corev1.ContainerPort, ip string, port int32) error {
		address, err := netip.ParseAddr(ip)
		if err != nil {
			return fmt.Errorf("want an IP address (got %q)", ip)
		}
		network := bundle.NetworkTCP
		if p.Protocol == corev1.ProtocolUDP {
			network = bundle.NetworkUDP
		}
		l := bundle.Listener{Name: portName(p), Network: network, Address: netip.AddrPortFrom(address, uint16(port))} //nolint:gosec // checked
		if !slices.ContainsFunc(out, func(o bundle.Listener) bool { return o.Network == network && o.Address == l.Address }) {
			out = append(out, l) // to declare one twice is allowed
		}
		return nil
	}
	for i := range c.Ports {
		p := &c.Ports[i]
		if p.Protocol == corev1.ProtocolSCTP {
			continue
		}
		if err := s.bindings(p, add); err != nil {
			return nil, fmt.Errorf("ports[%d].%w", i, err)
		}
	}
	return out, nil
}

// bindings tells where a port is to be bound.
func (s surroundings) bindings(p *corev1.ContainerPort, add func(p *corev1.ContainerPort, ip string, port int32) error) error {
	if p.ContainerPort < 1 || p.ContainerPort > maxPort {
		return fmt.Errorf("containerPort: want 1 to %d (got %d)", maxPort, p.ContainerPort)
	}
	if p.HostPort < 0 || p.HostPort > maxPort {
		return fmt.Errorf("hostPort: want 1 to %d, or none (got %d)", maxPort, p.HostPort)
	}
	hostNetwork := s.pod.Spec.HostNetwork
	if !hostNetwork && s.podIP != "" {
		if err := add(p, s.podIP, p.ContainerPort); err != nil {
			return fmt.Errorf("containerPort: the Pod's address: %w", err)
		}
	}
	host, port := s.bindingIP(p), p.HostPort
	if hostNetwork {
		port = p.ContainerPort
	}
	switch {
	case port == 0:
		return nil
	case host == "":
		return fmt.Errorf("hostPort: %w", errNoHostIP)
	}
	if err := add(p, host, port); err != nil {
		return fmt.Errorf("hostIP: %w", err)
	}
	return nil
}

// bindingIP is where the node listens for a port of a Pod: not on all its addresses, which would be those of the other Pods,
// too, but on its own.
func (s surroundings) bindingIP(p *corev1.ContainerPort) string {
	if a, err := netip.ParseAddr(p.HostIP); p.HostIP == "" || err == nil && a.IsUnspecified() {
		return s.hostIP
	}
	return p.HostIP
}

func portName(p *corev1.ContainerPort) string {
	if p.Name != "" {
		return p.Name
	}
	return strconv.Itoa(int(p.ContainerPort))
}
