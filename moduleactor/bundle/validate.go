package bundle

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// ID names the attempt of this spec.
func (s Spec) ID() ID { return ID{PodUID: s.PodUID, Container: s.Container, Attempt: s.Attempt} }

// Validate reports every problem as "field: problem (got X)".
func (s *Spec) Validate() error {
	var errs []error
	add := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf(field+": "+format, args...))
	}
	if s.Version != SpecVersion {
		add("version", "want %d (got %d)", SpecVersion, s.Version)
	}
	errs = append(errs, s.ID().Validate())
	if !isContainerID(s.ContainerID) {
		add("containerID", "want wazlet:// and 64 hexadecimal digits (got %.80q)", s.ContainerID)
	}
	if !isDigest(s.ModuleDigest) {
		add("moduleDigest", "want sha256: and 64 hexadecimal digits (got %.80q)", s.ModuleDigest)
	}
	for field, path := range s.hostPaths() {
		if err := validatePath(path); err != nil {
			add(field, "%w", err)
		}
	}
	if len(s.Args) == 0 {
		add("args", "want at least argv[0]")
	}
	errs = append(errs, s.validateStrings(), s.validateMounts(), s.validateListeners(), s.Handler.validate(), s.GuestLimits.validate())
	if s.MemoryBytes < 0 {
		add("memoryBytes", "want 0 or more (got %d)", s.MemoryBytes)
	}
	if s.CPUMillicores < 0 {
		add("cpuMillicores", "want 0 or more (got %d)", s.CPUMillicores)
	}
	if s.Shim != "" {
		errs = append(errs, validateShim(s.Shim))
		if len(s.Listeners) > maxSharedListeners {
			add("listeners", "want at most %d with a shared shim (got %d)", maxSharedListeners, len(s.Listeners))
		}
		if s.Log == nil {
			add("log", "want one with a shared shim, which has no output of its own")
		}
	}
	if s.Log != nil && (s.Log.MaxBytes < 0 || s.Log.MaxFiles < 0) {
		add("log", "maxBytes and maxFiles: want 0 or more (got %d and %d)", s.Log.MaxBytes, s.Log.MaxFiles)
	}
	return errors.Join(errs...)
}

// hostPaths yields every path that must be there, in order, by field.
func (s *Spec) hostPaths() func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		if !yield("module", s.Module) || !yield("cacheDir", s.CacheDir) || !yield("rootfs", s.Rootfs) {
			return
		}
		if s.Log != nil && !yield("log.path", s.Log.Path) {
			return
		}
		if s.TerminationMessagePath != "" && !yield("terminationMessagePath", s.TerminationMessagePath) {
			return
		}
		for i, c := range s.Cgroups {
			if !yield(fmt.Sprintf("cgroups[%d]", i), c) {
				return
			}
		}
	}
}

// validateStrings refuses what WASI cannot carry: strings end at a zero byte.
func (s *Spec) validateStrings() error {
	var errs []error
	for i, a := range s.Args {
		if strings.IndexByte(a, 0) >= 0 {
			errs = append(errs, fmt.Errorf("args[%d]: contains a zero byte", i))
		}
	}
	for i, e := range s.Env {
		k, _, ok := strings.Cut(e, "=")
		if !ok || k == "" || strings.IndexByte(e, 0) >= 0 {
			// The value may be a secret: not shown.
			errs = append(errs, fmt.Errorf("env[%d]: want NAME=value without zero bytes (name %.80q)", i, k))
		}
	}
	return errors.Join(errs...)
}

func (s *Spec) validateMounts() error {
	var errs []error
	seen := map[string]int{}
	for i, f := range s.Files {
		if err := validatePath(f.Guest); err != nil {
			errs = append(errs, fmt.Errorf("files[%d].guest: %w", i, err))
		}
	}
	for i, m := range s.Mounts {
		if err := validatePath(m.Host); err != nil {
			errs = append(errs, fmt.Errorf("mounts[%d].host: %w", i, err))
		}
		if err := validatePath(m.Guest); err != nil {
			errs = append(errs, fmt.Errorf("mounts[%d].guest: %w", i, err))
		}
		if j, dup := seen[m.Guest]; dup {
			errs = append(errs, fmt.Errorf("mounts[%d].guest: %.200q is already mounts[%d]", i, m.Guest, j))
		}
		seen[m.Guest] = i
	}
	return errors.Join(errs...)
}

func validatePath(p string) error {
	if !filepath.IsAbs(p) || filepath.Clean(p) != p || strings.IndexByte(p, 0) >= 0 {
		return fmt.Errorf("want a clean absolute path (got %.200q)", p)
	}
	return nil
}

func (s *State) validate() error {
	if s.PID <= 0 {
		return fmt.Errorf("pid: want more than 0 (got %d)", s.PID)
	}
	if s.Shim != "" {
		return validateShim(s.Shim)
	}
	return nil
}

func (e *Exit) validate() error {
	switch e.Reason {
	case Completed, Error, Trap, StartError, OOMKilled, Killed:
		return nil
	}
	return fmt.Errorf("reason: want Completed, Error, Trap, StartError, OOMKilled or Killed (got %.80q)", e.Reason)
}
