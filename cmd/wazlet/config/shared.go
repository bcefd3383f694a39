package config

import (
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// SharedProcesses is about the processes that run containers of isolation shared.
type SharedProcesses struct {
	// IdleTimeout is after how long without containers one ends; default 10m, at least 1s.
	IdleTimeout metav1.Duration `json:"idleTimeout"`
	// HostPaths are the directories of the host that hostPath volumes of their Pods can be in; default none, since such a
	// process can then reach all that is in them, whatever its Pods asked for. They must be there when it starts.
	HostPaths []string `json:"hostPaths"`
	// MemoryBytes bounds the memory of each by its cgroup: the linear memories and the stacks of its guests, the host's part
	// of each, and compiled code. At the bound the kernel kills it, and all its containers end with 137. Default 0: none.
	MemoryBytes int64 `json:"memoryBytes"`
}

// defaultIdleTimeout is the default of SharedProcesses.IdleTimeout.
const defaultIdleTimeout = 10 * time.Minute

// The limits of MemoryBytes: a process takes some 20 MiB for itself, and a typing error must not pass.
const (
	minShared = 64 << 20
	maxShared = 1 << 50
)

// validate keeps the node's own directory out: what is compiled there is executed by all.
func (s SharedProcesses) validate(path *field.Path, rootDir string) field.ErrorList {
	var all field.ErrorList
	if s.IdleTimeout.Duration < time.Second {
		all = append(all, field.Invalid(path.Child("idleTimeout"), s.IdleTimeout.Duration.String(), "must be at least 1s"))
	}
	all = append(all, betweenOrNone(path.Child("memoryBytes"), s.MemoryBytes, minShared, maxShared)...)
	for n, dir := range s.HostPaths {
		at := path.Child("hostPaths").Index(n)
		switch {
		case !filepath.IsAbs(dir) || filepath.Clean(dir) != dir:
			all = append(all, field.Invalid(at, dir, "must be a clean absolute path"))
		case within(dir, rootDir), within(rootDir, dir):
			all = append(all, field.Invalid(at, dir, fmt.Sprintf("must neither contain the rootDir %s nor be in it", rootDir)))
		}
	}
	return all
}

// within tells whether path is dir or below it.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
