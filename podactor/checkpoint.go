package podactor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// checkpointFile lies in the Pod's directory, checkpointVersion is the only version that this build reads and writes.
const (
	checkpointFile    = "pod.json"
	checkpointVersion = 1
)

// Checkpoint is what a daemon must know of a Pod to go on where the last one stopped. The attempts on disk are the truth
// about what ran (bundle.Scan); the checkpoint adds what they cannot tell: the Pod itself, its start time, its back-off,
// its deletion, its outcome.
type Checkpoint struct {
	Version int `json:"version"`
	// State is the machine's.
	State State `json:"state"`
	// Conditions are the last ones shown, for their lastTransitionTime.
	Conditions []corev1.PodCondition `json:"conditions,omitempty"`
}

// Pod is the Pod that was checkpointed. The caller must not change it.
func (c *Checkpoint) Pod() *corev1.Pod { return c.State.Pod }

func (c *Checkpoint) validate(uid string) error {
	switch {
	case c.Version != checkpointVersion:
		return fmt.Errorf("version: want %d (got %d)", checkpointVersion, c.Version)
	case c.State.Pod == nil:
		return errors.New("state.pod: missing")
	case string(c.State.Pod.UID) != uid:
		return fmt.Errorf("state.pod.metadata.uid: want %q, the name of the directory (got %q)", uid, c.State.Pod.UID)
	case c.State.Stage < StageAdmitting || c.State.Stage > StageEnded:
		return fmt.Errorf("state.stage: want %d to %d (got %d)", StageAdmitting, StageEnded, c.State.Stage)
	}
	if err := c.State.validateNetwork(); err != nil {
		return err
	}
	return c.validateContainers()
}

// validateContainers makes sure that the machine finds a container of the Pod for each it remembers, and the reverse.
func (c *Checkpoint) validateContainers() error {
	want := containersOf(c.State.Pod)
	if len(want) != len(c.State.Containers) {
		return fmt.Errorf("state.containers: want the Pod's %d (got %d)", len(want), len(c.State.Containers))
	}
	for i := range want {
		got := &c.State.Containers[i]
		if got.Name != want[i].Name || got.Role != want[i].Role {
			return fmt.Errorf("state.containers[%d]: want %s %q (got %s %q)", i, want[i].Role, want[i].Name, got.Role, got.Name)
		}
		if got.Stage < ModuleIdle || got.Stage > ModuleExited {
			return fmt.Errorf("state.containers[%d].stage: want %d to %d (got %d)", i, ModuleIdle, ModuleExited, got.Stage)
		}
	}
	return nil
}

// LoadCheckpoints reads the checkpoint of every Pod below root. A Pod whose checkpoint cannot be used is an error of its
// own and hides no other; its directory stays as it is. A Pod without a checkpoint never got as far as running anything.
func LoadCheckpoints(root string) ([]Checkpoint, []error) {
	entries, err := os.ReadDir(bundle.PodsDir(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []error{fmt.Errorf("read checkpoints: %w", err)}
	}
	var found []Checkpoint
	var errs []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		c, err := LoadCheckpoint(root, e.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		default:
			found = append(found, c)
		}
	}
	return found, errs
}

// LoadCheckpoint reads the checkpoint of one Pod; fs.ErrNotExist when it has none.
func LoadCheckpoint(root, uid string) (Checkpoint, error) {
	data, err := os.ReadFile(filepath.Join(bundle.PodsDir(root), uid, checkpointFile))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint of pod %s: %w", uid, err)
	}
	c, err := parseCheckpoint(data, uid)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint of pod %s: %w", uid, err)
	}
	return c, nil
}

func parseCheckpoint(data []byte, uid string) (Checkpoint, error) {
	var c Checkpoint
	if err := json.Unmarshal(data, &c); err != nil {
		return Checkpoint{}, fmt.Errorf("parse %s: %w", checkpointFile, err)
	}
	if err := c.validate(uid); err != nil {
		return Checkpoint{}, fmt.Errorf("parse %s: %w", checkpointFile, err)
	}
	return c, nil
}

// Save replaces the Pod's checkpoint below root atomically. It holds environment values, so only the owner may read it,
// and no copy is ever made outside of the Pod's directory.
func (c *Checkpoint) Save(root string) error {
	dir, err := bundle.PodDir(root, string(c.State.Pod.UID))
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, checkpointFile), data, 0o600, renameio.WithTempDir(dir)); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}
