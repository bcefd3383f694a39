package podactor

import corev1 "k8s.io/api/core/v1"

// containersOf makes the machine's containers of a Pod: init containers in their order, then mains in theirs.
func containersOf(p *corev1.Pod) []Container {
	all := make([]Container, 0, len(p.Spec.InitContainers)+len(p.Spec.Containers))
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		all = append(all, Container{Name: c.Name, Role: initRole(c), Stage: ModuleIdle})
	}
	for i := range p.Spec.Containers {
		all = append(all, Container{Name: p.Spec.Containers[i].Name, Role: Main, Stage: ModuleIdle})
	}
	return all
}

// specOf finds a container of the Pod by name; names are unique across init containers and mains.
func specOf(p *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// roleOf is the role of the container of that name. A status asks for that of each container, so it must cost little.
func roleOf(p *corev1.Pod, name string) Role {
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; c.Name == name {
			return initRole(c)
		}
	}
	return Main
}

func initRole(c *corev1.Container) Role {
	if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
		return Sidecar
	}
	return Init
}
