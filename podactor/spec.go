package podactor

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
	"github.com/wazlet/wazlet/podactor/volume"
)

// resolveSpec makes what a module actor must know of a container. It may block: subPaths are looked up and made. With
// adopt it touches no volume: the guest has its own already.
func resolveSpec(ctx context.Context, around surroundings, name string, adopt bool) (moduleactor.Spec, error) {
	cfg, pod := around.cfg, around.pod
	if adopt {
		around.objects = nil // the guest has its environment: do not wait for an API server
	}
	c := specOf(pod, name)
	if c == nil {
		return moduleactor.Spec{}, fmt.Errorf("the Pod has no container %q", name)
	}
	s := baseSpec(cfg, pod, c)
	var err error
	if s.Shim, err = sharedShim(cfg, pod); err != nil && !adopt {
		return s, err
	}
	if s.Signals, err = signalsOf(pod); err != nil {
		return s, err
	}
	if s.Handler, err = httpHandler(cfg.Handlers, pod, c); err != nil {
		return s, err
	}
	env, err := newEnvironment(ctx, around, c)
	if err != nil {
		return s, err
	}
	s.Env = env.list()
	s.Command = expandAll(c.Command, env)
	s.Args = expandAll(c.Args, env)
	if adopt {
		return s, nil
	}
	if err := ctx.Err(); err != nil {
		return s, err
	}
	if s.Listeners, err = around.listeners(c); err != nil {
		return s, err
	}
	if s.Network, err = around.network(); err != nil {
		return s, err
	}
	if s.Mounts, err = volume.Mounts(cfg.RootDir, pod, c, env.mustExpand); err != nil {
		return s, err
	}
	if err := checkSharedMounts(cfg, pod, c, &s); err != nil {
		return s, err
	}
	return s, addGuestFiles(cfg, pod, around.podIP, &s)
}

// sharedShim is the shared shim that runs the Pod's containers; empty: each has a process of its own. A shared shim is
// confined to the directories of the node, and those that its configuration names, so other hostPath volumes are refused: a Pod
// gets all of what it asks for, or says why not.
func sharedShim(cfg Config, pod *corev1.Pod) (string, error) {
	isolation := cfg.DefaultIsolation
	if class := pod.Spec.RuntimeClassName; class != nil && cfg.RuntimeClasses[*class] != "" {
		isolation = cfg.RuntimeClasses[*class]
	}
	if isolation != IsolationShared {
		return "", nil
	}
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.HostPath != nil && !isBelow(cfg.SharedHostPaths, filepath.Clean(v.HostPath.Path)) {
			return "", hostPathRefused(cfg, i, v.HostPath.Path)
		}
	}
	if cfg.SharedByNamespace {
		return bundle.SharedShim(pod.Namespace), nil
	}
	return bundle.SharedShim(""), nil
}

// checkSharedMounts makes sure that what hostPath volumes are in the end, links resolved, is in an allowed directory, too: whoever
// may write there could have made a link.
func checkSharedMounts(cfg Config, pod *corev1.Pod, c *corev1.Container, s *moduleactor.Spec) error {
	if s.Shim == "" {
		return nil
	}
	var allowed []string
	for _, dir := range cfg.SharedHostPaths {
		if resolved, err := filepath.EvalSymlinks(dir); err == nil {
			allowed = append(allowed, resolved)
		}
	}
	for n, vm := range c.VolumeMounts { // of which each is a mount
		for i := range pod.Spec.Volumes {
			if v := &pod.Spec.Volumes[i]; v.Name == vm.Name && v.HostPath != nil && !isBelow(allowed, s.Mounts[n].Host) {
				return hostPathRefused(cfg, i, s.Mounts[n].Host)
			}
		}
	}
	return nil
}

func hostPathRefused(cfg Config, volume int, path string) error {
	return fmt.Errorf("volumes[%d].hostPath: not possible with isolation %s, whose process sees nothing of the host but isolation.shared.hostPaths of the node's "+
		"configuration (allowed: %q; got %q); use a runtimeClassName that stands for %s", volume, IsolationShared, cfg.SharedHostPaths, path, IsolationProcess)
}

// isBelow tells whether the path is one of the directories or below one.
func isBelow(dirs []string, path string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		rel, err := filepath.Rel(dir, path)
		return err == nil && filepath.IsLocal(rel)
	})
}

// SignalsAnnotation with the value fd gives each container of the Pod a descriptor, its number in WAZLET_SIGNAL_FD, that
// yields one byte, the number, for each SIGTERM and SIGHUP. With none they have no such descriptor, whatever their images say.
const SignalsAnnotation = "wazlet.dev/signals"

func signalsOf(pod *corev1.Pod) (string, error) {
	v, ok := pod.Annotations[SignalsAnnotation]
	if !ok {
		return "", nil
	}
	if err := moduleactor.CheckSignals(v); err != nil {
		return "", fmt.Errorf("annotation %s: %w", SignalsAnnotation, err)
	}
	return v, nil
}

// baseSpec is the part that cannot fail.
func baseSpec(cfg Config, pod *corev1.Pod, c *corev1.Container) moduleactor.Spec {
	s := moduleactor.Spec{
		Pod: refOf(pod), Container: c.Name, FieldPath: fieldPath(roleOf(pod, c.Name), c.Name),
		Image: c.Image, PullPolicy: pullPolicy(c), WorkingDir: c.WorkingDir,
		MemoryBytes:   c.Resources.Limits.Memory().Value(),
		CPUMillicores: c.Resources.Limits.Cpu().MilliValue(),
		Stdin:         c.Stdin, StdinOnce: c.StdinOnce, TTY: c.TTY,
		LogDir:                   filepath.Join(podLogsDir(cfg, pod), c.Name),
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: string(corev1.TerminationMessageReadFile),
	}
	if sc := c.SecurityContext; sc != nil && sc.ReadOnlyRootFilesystem != nil {
		s.RootReadOnly = *sc.ReadOnlyRootFilesystem
	}
	if c.TerminationMessagePath != "" {
		s.TerminationMessagePath = c.TerminationMessagePath
	}
	if c.TerminationMessagePolicy != "" {
		s.TerminationMessagePolicy = string(c.TerminationMessagePolicy)
	}
	return s
}

// podLogsDir is the directory of all logs of a Pod, under the name the kubelet gives it.
func podLogsDir(cfg Config, pod *corev1.Pod) string {
	return filepath.Join(cfg.PodLogsDir, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
}

// pullPolicy is Kubernetes' default where the container has none: Always for the tag latest, said or unsaid.
func pullPolicy(c *corev1.Container) image.PullPolicy {
	if c.ImagePullPolicy != "" {
		return image.PullPolicy(c.ImagePullPolicy)
	}
	if strings.Contains(c.Image, "@") {
		return image.IfNotPresent
	}
	last := c.Image[strings.LastIndexByte(c.Image, '/')+1:]
	if _, tag, ok := strings.Cut(last, ":"); ok && tag != "latest" {
		return image.IfNotPresent
	}
	return image.Always
}

func expandAll(list []string, env *environment) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, expand(s, env.lookup))
	}
	return out
}

// mustExpand is expand for a subPathExpr, where an unknown name is an error.
func (e *environment) mustExpand(s string) (string, error) {
	missing := ""
	out := expand(s, func(name string) (string, bool) {
		v, ok := e.lookup(name)
		if !ok && missing == "" {
			missing = name
		}
		return v, ok
	})
	if missing != "" {
		return "", fmt.Errorf("missing value for %q", missing)
	}
	return out, nil
}
