package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsyscall "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// confine takes from this process what neither it nor its guest needs: new privileges, and, if the spec says so, every
// file but those of the spec, TCP, and signals and abstract sockets of others. The guest cannot reach any of it without a
// bug in the compiler or in the WASI host; this is for the day there is one. A kernel that knows less enforces less:
// nothing before 5.19, since without Landlock's "refer" a guest could not rename files between its directories.
func (s *shim) confine(mounts []rootfs.Mount) error {
	if s.spec.Landlock {
		if err := s.restrict(mounts); err != nil {
			return err
		}
	}
	// Landlock has set it for all threads, unless the kernel has no Landlock. To ask each thread again takes a while.
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set == 1 {
		return nil
	}
	if err := llsyscall.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// restrict allows the paths of the spec and no others.
func (s *shim) restrict(mounts []rootfs.Mount) error {
	rules := []landlock.Rule{landlock.RWDirs(s.dir, s.spec.CacheDir).WithRefer()}
	if s.spec.Log != nil {
		rules = append(rules, landlock.RWDirs(filepath.Dir(s.spec.Log.Path)).WithRefer())
	}
	for _, m := range append(mounts, rootfs.Mount{Host: s.spec.Rootfs, ReadOnly: s.spec.RootReadOnly}) {
		rule, err := mountRule(m)
		if err != nil {
			return err
		}
		rules = append(rules, rule)
	}
	if err := landlock.V11.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

func mountRule(m rootfs.Mount) (landlock.Rule, error) {
	info, err := os.Stat(m.Host)
	switch {
	case err != nil:
		return nil, fmt.Errorf("landlock: %w", err)
	case info.IsDir() && m.ReadOnly:
		return landlock.RODirs(m.Host), nil
	case info.IsDir():
		return landlock.RWDirs(m.Host).WithRefer(), nil
	case m.ReadOnly:
		return landlock.ROFiles(m.Host), nil
	default:
		return landlock.RWFiles(m.Host), nil
	}
}
