package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsyscall "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// confine takes from this process what neither it nor its guest needs: new privileges, and, if the spec says so, every
// file but those of the spec, TCP unless the guest has a network, and signals and abstract sockets of others. The guest cannot reach any of it without a
// bug in the compiler or in the WASI host; this is for the day there is one. A kernel that knows less enforces less:
// nothing before 5.19, since without Landlock's "refer" a guest could not rename files between its directories.
func (s *shim) confine(opened []rootfs.Opened) error {
	if err := limitFiles(s.spec.GuestLimits.OpenFiles); err != nil {
		return err
	}
	if s.spec.Landlock {
		if err := s.restrict(opened); err != nil {
			return err
		}
	}
	return errors.Join(noNewPrivs(), dropCapabilities())
}

// confineServe does so for a shared shim, whose guests come and go: it keeps the Pods and the logs of the node, and may read
// modules and what was compiled of them, which others execute too. Nothing that is elsewhere can be mounted, but for what is in
// the directories of the host that the node's configuration allows to all of its guests: Landlock cannot tell one from another.
func confineServe(o serveOptions) error {
	if err := rights(true).Restrict(
		landlock.RWDirs(append(o.host, o.dir, bundle.PodsDir(o.root), o.logs)...).WithRefer(),
		landlock.RODirs(o.images(), o.cache),
	); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return errors.Join(noNewPrivs(), dropCapabilities())
}

func noNewPrivs() error {
	// Landlock has set it for all threads, unless the kernel has no Landlock. To ask each thread again takes a while.
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set == 1 {
		return nil
	}
	if err := llsyscall.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// keptCapabilities are what a shim keeps of root's powers: to use the files of volumes whoever owns them, as a container's root does, and
// ports below 1024. It keeps none that Landlock would not hold, such as to load a module into the kernel.
const keptCapabilities = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_NET_BIND_SERVICE

// dropCapabilities takes all others from every thread. None comes back by an exec: no_new_privs is set.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	for i := range sets {
		kept := uint32(uint64(keptCapabilities) >> (32 * i))
		sets[i] = unix.CapUserData{Effective: sets[i].Effective & kept, Permitted: sets[i].Permitted & kept}
	}
	//nolint:gosec // capset(header, sets) in every thread
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0)
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}

const (
	// maxOpenFiles bounds what a shim can have open, of what all processes of the node share, unless its guest may have more.
	maxOpenFiles = 16384
	// ownFiles is far more than what it has open besides its guest's.
	ownFiles = 1024
)

func limitFiles(guest int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit open files: %w", err)
	}
	limit.Max = min(limit.Max, uint64(max(maxOpenFiles, guest+ownFiles)))
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit open files: %w", err)
	}
	return nil
}

// restrict allows the bundle, the log and what was opened for the guest, by its descriptor: a name may lead elsewhere by now. Its module's
// part of the cache can be read alone: other shims execute what is there.
func (s *shim) restrict(opened []rootfs.Opened) error {
	rules := []landlock.Rule{landlock.RWDirs(s.dir).WithRefer(), landlock.RODirs(s.cache())}
	if s.spec.Log != nil {
		rules = append(rules, landlock.RWDirs(filepath.Dir(s.spec.Log.Path)).WithRefer())
	}
	for _, o := range opened {
		rules = append(rules, ruleOf(o))
	}
	if err := rights(s.spec.Network != nil).Restrict(rules...); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

// rights are those that are taken away unless a rule allows them, all at once: whatever is restricted a second time can no
// more be renamed from one directory to another. With a network TCP stays, since Landlock knows ports, not addresses: what
// the guest may reach is for the WASI host to judge.
func rights(network bool) landlock.Config {
	all := landlock.V11
	if network {
		all.HandledAccessNet = 0
	}
	return all.BestEffort()
}

func ruleOf(o rootfs.Opened) landlock.Rule {
	switch {
	case o.Dir && o.ReadOnly:
		return landlock.RODirs(o.Path)
	case o.Dir:
		return landlock.RWDirs(o.Path).WithRefer()
	case o.ReadOnly:
		return landlock.ROFiles(o.Path)
	default:
		return landlock.RWFiles(o.Path)
	}
}
