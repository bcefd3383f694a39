package podactor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/podactor/volume"
)

// prepareAll sets up the volumes, unless scanOnly, and finds the attempts that are on disk. A volume that fails does not
// hide the attempts. It runs in a worker.
func prepareAll(ctx context.Context, s surroundings, bundles Bundles, scanOnly bool) event {
	found, err := bundles.Scan(string(s.pod.UID))
	if err != nil {
		return prepared{Err: &prepareError{Err: err}}
	}
	if scanOnly {
		return prepared{Found: found}
	}
	if err := ctx.Err(); err != nil { // nobody waits any more
		return prepared{Err: &prepareError{Err: err}}
	}
	refreshAt, err := volume.Setup(ctx, s.world(), s.pod)
	return prepared{Err: volumeError(err), Found: found, RefreshAt: refreshAt}
}

// projectAll makes the files of volumes anew. It runs in a worker.
func projectAll(ctx context.Context, s surroundings, gen uint64) event {
	refreshAt, err := volume.Refresh(ctx, s.world(), s.pod)
	return projected{Gen: gen, Err: volumeError(err), RefreshAt: refreshAt}
}

func volumeError(err error) *prepareError {
	if err == nil {
		return nil
	}
	p := &prepareError{Err: err}
	if v := (*volume.Error)(nil); errors.As(err, &v) {
		p.Volume, p.Err = v.Volume, v.Err
	}
	return p
}

// removeAll removes everything that the Pod has on disk: volumes, bundles with the checkpoint, logs. It runs in a worker.
func removeAll(cfg Config, bundles Bundles, pod *corev1.Pod) error {
	uid := string(pod.UID)
	// Volumes first: if the rest fails, the checkpoint is still there to tell the next daemon of the Pod.
	if err := volume.Remove(cfg.RootDir, uid); err != nil {
		return err
	}
	if err := removeLogs(cfg, pod); err != nil {
		return err
	}
	return bundles.RemovePod(uid)
}

func removeLogs(cfg Config, pod *corev1.Pod) error {
	// The name is made of what a manifest says. It must not reach beyond the directory of logs.
	if cfg.PodLogsDir == "" || strings.ContainsRune(pod.Namespace+pod.Name+string(pod.UID), filepath.Separator) {
		return fmt.Errorf("remove logs: %q is no directory of a Pod", podLogsDir(cfg, pod))
	}
	if err := os.RemoveAll(podLogsDir(cfg, pod)); err != nil {
		return fmt.Errorf("remove logs: %w", err)
	}
	return nil
}
