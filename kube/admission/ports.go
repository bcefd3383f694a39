package admission

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// anyHost is the hostIP of a port that has none.
const anyHost = "0.0.0.0"

// hostPort is a port of the node that a Pod takes.
type hostPort struct {
	ip       string
	protocol corev1.Protocol
	port     int32
}

func (a hostPort) conflicts(b hostPort) bool {
	return a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || a.ip == anyHost || b.ip == anyHost)
}

func nodePorts(r Request) *Rejection {
	wanted := hostPorts(r.Pod)
	if len(wanted) == 0 {
		return nil
	}
	for _, o := range r.Others {
		for _, taken := range hostPorts(o) {
			if slices.ContainsFunc(wanted, taken.conflicts) {
				return predicate(ReasonNodePorts, "node(s) didn't have free ports for the requested pod ports")
			}
		}
	}
	return nil
}

// hostPorts are those of the containers that run as long as the Pod.
func hostPorts(p *corev1.Pod) []hostPort {
	var out []hostPort
	add := func(c *corev1.Container) {
		for _, port := range c.Ports {
			if port.HostPort > 0 {
				out = append(out, hostPort{cmp.Or(port.HostIP, anyHost), cmp.Or(port.Protocol, corev1.ProtocolTCP), port.HostPort})
			}
		}
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	for i := range p.Spec.Containers {
		add(&p.Spec.Containers[i])
	}
	return out
}
