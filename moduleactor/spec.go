package moduleactor

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// buildSpec merges container and image into what a shim is told. ContainerID and Rootfs are left to the caller.
func buildSpec(run Run, img image.Image, cfg Config) bundle.Spec {
	s := run.Spec
	return bundle.Spec{
		Version: bundle.SpecVersion,
		PodUID:  s.Pod.UID, Namespace: s.Pod.Namespace, Pod: s.Pod.Name, Container: s.Container, Attempt: run.Attempt,
		ImageID: img.ID, Module: img.Module, ModuleDigest: img.Digest, CacheDir: cfg.CacheDir,
		Args: argv(s, img), Env: environ(s, img),
		RootReadOnly: s.RootReadOnly, Mounts: slices.Clone(s.Mounts), Files: s.Files, Listeners: slices.Clone(s.Listeners),
		MemoryBytes: s.MemoryBytes, GuestLimits: cfg.GuestLimits, Shim: s.Shim,
		Stdin: s.Stdin, StdinOnce: s.StdinOnce, TTY: s.TTY,
		Network:                s.Network,
		Handler:                s.Handler,
		Log:                    &bundle.Log{Path: logPath(s, run.Attempt), MaxBytes: cfg.LogMaxBytes, MaxFiles: cfg.LogMaxFiles},
		TerminationMessagePath: s.TerminationMessagePath,
		Landlock:               true,
	}
}

func logPath(s Spec, attempt int) string {
	return filepath.Join(s.LogDir, strconv.Itoa(attempt)+".log")
}

// argv applies the rules of Kubernetes to a container over its image: command replaces the entrypoint and, with it, the
// image's cmd; args replace the cmd. An image that says nothing at all has its module's name for an entrypoint.
func argv(s Spec, img image.Image) []string {
	entrypoint, cmd := img.Entrypoint, img.Cmd
	if len(entrypoint) == 0 && len(cmd) == 0 {
		entrypoint = []string{img.Name}
	}
	switch {
	case len(s.Command) > 0:
		return slices.Concat(s.Command, s.Args)
	case len(s.Args) > 0:
		return slices.Concat(entrypoint, s.Args)
	}
	return slices.Concat(entrypoint, cmd)
}

// environ merges the image's environment with the container's: the last one of a name wins, at the place of the first.
// HOSTNAME and PWD are what they are in any container, unless the container says otherwise.
func environ(s Spec, img image.Image) []string {
	env := []string{"HOSTNAME=" + cmp.Or(s.Hostname, s.Pod.Name)}
	env = append(env, img.Env...)
	if dir := workingDir(s, img); dir != "" {
		env = append(env, "PWD="+dir)
	}
	env = append(env, s.Env...)

	at := make(map[string]int, len(env))
	out := make([]string, 0, len(env))
	for _, kv := range env {
		name, _, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			continue // an image may say anything; a variable without a name cannot be passed on
		}
		if i, seen := at[name]; seen {
			out[i] = kv
			continue
		}
		at[name] = len(out)
		out = append(out, kv)
	}
	return out
}

func workingDir(s Spec, img image.Image) string {
	if s.WorkingDir != "" {
		return s.WorkingDir
	}
	return img.WorkingDir
}
