package bundle

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// The files of an attempt's directory.
const (
	SpecFile       = "spec.json"
	StateFile      = "state.json"
	ExitFile       = "exit.json"
	PIDFile        = "pid"
	LockFile       = "lock"
	ShimLogFile    = "shim.log"
	RootfsDir      = "rootfs"
	TerminationLog = "termination-log"
)

// What a shim inherits besides stdin, stdout and stderr.
const (
	// LockFD is the attempt's lock file, already locked.
	LockFD = 3
	// ReadyFD is the write end of a pipe; one byte says that state.json is written and _start is about to be entered.
	ReadyFD = 4
	// ListenersFD is the first of the spec's Listeners.
	ListenersFD = 5
)

// ExitInvalidModule is the exit code of `wazlet-shim compile` for a module that the compiler refuses; stderr says why.
const ExitInvalidModule = 65

// Errors that a caller branches on.
var (
	// ErrExists is an attempt that was started before.
	ErrExists = errors.New("attempt exists")
	// ErrBusy is something that cannot be done while an attempt runs or is being started.
	ErrBusy = errors.New("attempt is running")
)

// Validate tells whether the parts can be used as names of directories. They come from manifests, so they may be
// anything.
func (id ID) Validate() error {
	return errors.Join(validateUID(id.PodUID), validateContainer(id.Container), validateAttempt(id.Attempt))
}

// String is the attempt's path below the directory of Pods.
func (id ID) String() string { return id.PodUID + "/" + id.Container + "/" + strconv.Itoa(id.Attempt) }

// PodsDir is the directory below which each Pod has one.
func PodsDir(root string) string { return filepath.Join(root, "pods") }

// PodDir is the directory of a Pod: its checkpoint, its volumes and one directory for each container.
func PodDir(root, podUID string) (string, error) {
	if err := validateUID(podUID); err != nil {
		return "", err
	}
	return filepath.Join(PodsDir(root), podUID), nil
}

// ContainerDir is the directory of a container's attempts.
func ContainerDir(root, podUID, container string) (string, error) {
	if err := errors.Join(validateUID(podUID), validateContainer(container)); err != nil {
		return "", err
	}
	return filepath.Join(PodsDir(root), podUID, container), nil
}

// Dir is the directory of an attempt. It fails for an ID whose parts could leave root.
func Dir(root string, id ID) (string, error) {
	if err := id.Validate(); err != nil {
		return "", err
	}
	return filepath.Join(PodsDir(root), id.PodUID, id.Container, strconv.Itoa(id.Attempt)), nil
}

const containerIDPrefix = "wazlet://"

// NewContainerID draws the ID of an attempt: "wazlet://" and 64 hexadecimal digits.
func NewContainerID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return containerIDPrefix + hex.EncodeToString(b[:])
}

// SharedShim is the name of the shared shim of a node or, if there is one for each, of a namespace.
func SharedShim(namespace string) string {
	if namespace == "" {
		return nodeShim
	}
	return namespaceShims + namespace
}

const (
	nodeShim       = "node"
	namespaceShims = "ns-"
)

// ShimsDir is the directory that has one for each shared shim.
func ShimsDir(root string) string { return filepath.Join(root, "shims") }

// ShimDir is the directory of a shared shim: its lock, its pid, its socket and what it says.
func ShimDir(root, name string) (string, error) {
	if err := validateShim(name); err != nil {
		return "", err
	}
	return filepath.Join(ShimsDir(root), name), nil
}

// validateShim takes names with and without a generation, which those of older daemons do not have.
func validateShim(name string) error {
	what, generation, has := strings.Cut(name, ".")
	namespace, ok := strings.CutPrefix(what, namespaceShims)
	if (what == nodeShim || ok && isLabel(namespace)) && (!has || isGeneration(generation)) {
		return nil
	}
	return fmt.Errorf("shim: want %s or %s and a namespace (got %.80q)", nodeShim, namespaceShims, name)
}

func validateUID(uid string) error {
	if !isUID(uid) {
		return fmt.Errorf("podUID: want 1 to 64 letters, digits and dashes (got %.80q)", uid)
	}
	return nil
}

func validateContainer(name string) error {
	if !isLabel(name) {
		return fmt.Errorf("container: want a DNS label, 1 to 63 of a-z, 0-9 and - (got %.80q)", name)
	}
	return nil
}

func validateAttempt(n int) error {
	if n < 0 {
		return fmt.Errorf("attempt: want 0 or more (got %d)", n)
	}
	return nil
}
