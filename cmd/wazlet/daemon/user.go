package daemon

import (
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
)

// containerUser is whom the kernel sees when a guest does something: shims run as the daemon does.
func containerUser() (*corev1.ContainerUser, error) {
	groups, err := os.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("find out the groups: %w", err)
	}
	u := &corev1.LinuxContainerUser{UID: int64(os.Getuid()), GID: int64(os.Getgid())}
	for _, g := range groups {
		u.SupplementalGroups = append(u.SupplementalGroups, int64(g))
	}
	return &corev1.ContainerUser{Linux: u}, nil
}
