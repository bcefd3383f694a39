// Package bundle is the file contract between the daemon and its shims: one directory for each attempt to run a container.
package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/wazlet/wazlet/moduleactor/egress"
	"github.com/wazlet/wazlet/moduleactor/resolver"
)

// Spec is spec.json: everything a shim must know to run one attempt of one container. The daemon writes it before it
// starts the shim; nobody changes it afterwards.
type Spec struct {
	// Version is SpecVersion. A shim refuses any other.
	Version int `json:"version"`

	PodUID    string `json:"podUID"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"`
	// Attempt counts from 0 and is the container's restartCount.
	Attempt int `json:"attempt"`
	// ContainerID is "wazlet://" and 64 hexadecimal digits, unique for each attempt.
	ContainerID string `json:"containerID"`
	// ImageID is the image's digest reference, for whoever adopts the attempt.
	ImageID string `json:"imageID"`

	// Module is the host path of the wasm module, ModuleDigest its sha256 ("sha256:…").
	Module       string `json:"module"`
	ModuleDigest string `json:"moduleDigest"`
	// CacheDir is the directory of compiled modules that all shims share.
	CacheDir string `json:"cacheDir"`

	// Args is argv, argv[0] included. Env holds K=V.
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"`
	// Rootfs is the host directory that the guest sees as /; it belongs to this attempt alone. RootReadOnly makes it read-only.
	// As with a Mount's Host, no part of the path may be a symbolic link.
	Rootfs       string  `json:"rootfs"`
	RootReadOnly bool    `json:"rootReadOnly,omitempty"`
	Mounts       []Mount `json:"mounts,omitempty"`

	// Files are small files that the guest finds and cannot change, such as /etc/hosts. They are nowhere on the disk.
	Files []File `json:"files,omitempty"`

	// Listeners are the sockets that the shim inherits, from ListenersFD on, in this order.
	Listeners []Listener `json:"listeners,omitempty"`

	// MemoryBytes bounds the guest's linear memory; 0 means that GuestLimits does.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`

	// Stdin keeps the guest's stdin open for who attaches; StdinOnce closes it after the first that had input. TTY gives the
	// guest a terminal. Of these nothing holds without a Log.
	Stdin     bool `json:"stdin,omitempty"`
	StdinOnce bool `json:"stdinOnce,omitempty"`
	TTY       bool `json:"tty,omitempty"`
	// Shim names the shared shim that runs the attempt beside others; empty: it has a process of its own.
	Shim string `json:"shim,omitempty"`
	// CPUMillicores bounds what an attempt in a shared shim computes; 0 means no bound. That of a process is its cgroup's.
	CPUMillicores int64 `json:"cpuMillicores,omitempty"`

	// Signals gives the guest a descriptor that yields SIGTERM and SIGHUP; then SIGTERM does not end the shim.
	Signals bool `json:"signals,omitempty"`
	// Network is what sockets that the guest opens itself may do. Nil: it can open none.
	Network *Network `json:"network,omitempty"`

	// Handler, if set, makes the container serve HTTP.
	Handler *Handler `json:"handler,omitempty"`

	// GuestLimits bound what a guest takes of the host besides memory and CPU.
	GuestLimits GuestLimits `json:"guestLimits,omitzero"`

	// Log is where stdout and stderr go. Nil: to the shim's own stdout and stderr, as `wazlet try` wants it.
	Log *Log `json:"log,omitempty"`
	// TerminationMessagePath is the guest path of the termination message, which is the host file TerminationMessage.
	TerminationMessagePath string `json:"terminationMessagePath,omitempty"`

	// Cgroups are the cgroup directories (one for each v1 controller, or one of v2) that the shim joins before anything else.
	Cgroups []string `json:"cgroups,omitempty"`
	// Landlock restricts the shim to the paths of this spec.
	Landlock bool `json:"landlock"`
}

// UsesGrace tells whether the guest can make use of the time after SIGTERM. Any other is ended by its shim at once.
func (s *Spec) UsesGrace() bool { return s.Signals || len(s.Listeners) > 0 || s.Handler != nil }

// LinearMemory bounds the guest's linear memory, in bytes; 0 means the engine's own bound (4 GiB).
func (s *Spec) LinearMemory() int64 { return cmp.Or(s.MemoryBytes, s.GuestLimits.MemoryBytes) }

// GuestLimits are limits of a guest; 0 is the engine's default, or no limit where it has none.
type GuestLimits struct {
	// OpenFiles is how many descriptors the guest can have, sockets included.
	OpenFiles int `json:"openFiles,omitempty"`
	// OutputBytesPerSecond is how much the guest can print, on stdout and stderr together. It waits when it prints more.
	OutputBytesPerSecond int64 `json:"outputBytesPerSecond,omitempty"`
	// MemoryBytes is for a container without a memory limit of its own.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// StackBytes bounds the stack of a metered guest's calls.
	StackBytes int64 `json:"stackBytes,omitempty"`
	// TableElements is how many elements its tables can have together.
	TableElements int `json:"tableElements,omitempty"`
	// DirectoryEntries is how many entries of a directory the host has in memory at a time.
	DirectoryEntries int `json:"directoryEntries,omitempty"`
	// PollSubscriptions is how much one poll_oneoff can wait for.
	PollSubscriptions int `json:"pollSubscriptions,omitempty"`
}

func (g GuestLimits) validate() error {
	var errs []error
	for _, l := range []struct {
		field    string
		got, max int64
	}{
		{"openFiles", int64(g.OpenFiles), math.MaxInt32},
		{"outputBytesPerSecond", g.OutputBytesPerSecond, math.MaxInt64},
		{"memoryBytes", g.MemoryBytes, math.MaxInt64},
		{"stackBytes", g.StackBytes, math.MaxInt64},
		{"tableElements", int64(g.TableElements), math.MaxUint32},
		{"directoryEntries", int64(g.DirectoryEntries), math.MaxInt32},
		{"pollSubscriptions", int64(g.PollSubscriptions), math.MaxInt32},
	} {
		if l.got < 0 || l.got > l.max {
			errs = append(errs, fmt.Errorf("guestLimits.%s: want 0 to %d (got %d)", l.field, l.max, l.got))
		}
	}
	return errors.Join(errs...)
}

// SpecVersion is the version of Spec that this build reads and writes.
const SpecVersion = 1

// Mount is one directory or file of the host inside the guest. The shim follows no symbolic link in any part of Host: in a
// volume a guest may have put it there after the spec was written. Whoever writes the spec resolves those of the node.
type Mount struct {
	Host     string `json:"host"`
	Guest    string `json:"guest"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// HostsFile is the guest path of the file that names are looked for in before name servers are asked.
const HostsFile = "/etc/hosts"

// File is a file of the guest.
type File struct {
	Guest string `json:"guest"`
	Text  string `json:"text"`
}

// Hosts is what the guest finds as HostsFile, if it is the node's.
func (s *Spec) Hosts() string {
	for _, f := range s.Files {
		if f.Guest == HostsFile {
			return f.Text
		}
	}
	return ""
}

// Network is a guest's place in the network.
type Network struct {
	// Egress says where it may connect to; its own addresses are the Pod's.
	Egress egress.Policy `json:"egress"`
	// DNS is how names are resolved.
	DNS resolver.Config `json:"dns"`
}

// Log is a CRI log file with rotation.
type Log struct {
	Path     string `json:"path"`
	MaxBytes int64  `json:"maxBytes"`
	MaxFiles int    `json:"maxFiles"`
}

// State is state.json, which the shim writes once the guest's _start is about to be entered.
type State struct {
	PID int `json:"pid"`
	// StartTicks is field 22 of /proc/PID/stat; with it a reused pid is told from the shim.
	StartTicks uint64    `json:"startTicks"`
	StartedAt  time.Time `json:"startedAt"`
	// Shim is the spec's: PID is that of a process that runs other attempts too.
	Shim string `json:"shim,omitempty"`
}

// ExitReason is why a guest ended, as the shim (or whoever found it dead) saw it.
type ExitReason string

// The reasons of exit.json.
const (
	Completed  ExitReason = "Completed"
	Error      ExitReason = "Error"
	Trap       ExitReason = "Trap"
	StartError ExitReason = "StartError"
	OOMKilled  ExitReason = "OOMKilled"
	Killed     ExitReason = "Killed"
)

// Exit is exit.json: the last thing a shim writes, atomically.
type Exit struct {
	Code   int32      `json:"code"`
	Reason ExitReason `json:"reason"`
	// Message is the trap's text with the wasm stack, or what could not be instantiated; at most 4096 bytes.
	Message    string    `json:"message,omitempty"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt"`
	// PeakMemoryBytes is the guest's largest linear memory, CPUTimeNanos the process's user and system time. Of a shim that
	// was killed PeakMemoryBytes is that of its whole cgroup, if it had one.
	PeakMemoryBytes uint64 `json:"peakMemoryBytes,omitempty"`
	CPUTimeNanos    int64  `json:"cpuTimeNanos,omitempty"`
}
