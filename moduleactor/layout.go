package moduleactor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
	"github.com/wazlet/wazlet/moduleactor/logs"
)

const (
	// keepAttempts is how many attempts stay on disk: the one that ended last and the one before it.
	keepAttempts = 2
	// messageBytes bounds a termination message, tailLines and tailBytes the log that stands in for it; as the kubelet.
	messageBytes = 4096
	tailLines    = 80
	tailBytes    = 2048

	fallbackToLogs = "FallbackToLogsOnError"
)

// layOut makes the attempt's own root directory with the files of the image, and the directory of the logs.
func (j *job) layOut(ctx context.Context, img image.Image) (string, error) {
	dir, err := bundle.Dir(j.cfg.RootDir, j.id())
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(filepath.Join(dir, bundle.SpecFile)); err == nil {
		return "", fmt.Errorf("lay out %s: %w", j.id(), bundle.ErrExists)
	}
	if err := errors.Join(
		os.MkdirAll(dir, 0o700),
		os.MkdirAll(j.run.Spec.LogDir, 0o755), //nolint:gosec // G301: log collectors read it, as they do the kubelet's
	); err != nil {
		return "", fmt.Errorf("lay out %s: %w", j.id(), err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // the shim follows no link
		return "", fmt.Errorf("lay out %s: %w", j.id(), err)
	}
	rootfs := filepath.Join(dir, bundle.RootfsDir)
	if err := bundle.RemoveTree(rootfs); err != nil {
		return "", fmt.Errorf("lay out %s: %w", j.id(), err)
	}
	if img.Rootfs == "" {
		err = os.Mkdir(rootfs, 0o750)
	} else {
		err = copyTree(ctx, img.Rootfs, rootfs, defaultCopyLimits)
	}
	if err != nil {
		return "", fmt.Errorf("lay out root file system of %s: %w", j.id(), err)
	}
	return rootfs, nil
}

// terminationMessage is what the guest left for its status: its own words, or, if asked for, the end of its log.
func (j *job) terminationMessage(x bundle.Exit) (string, error) {
	text, err := j.readMessage()
	if err != nil || text != "" {
		return text, err
	}
	if j.run.Spec.TerminationMessagePolicy != fallbackToLogs || x.Code == 0 {
		return "", nil
	}
	return logs.Tail(logPath(j.run.Spec, j.run.Attempt), tailLines, tailBytes)
}

// readMessage reads the end of the termination message file. The guest wrote it, and perhaps replaced it.
func (j *job) readMessage() (string, error) {
	dir, err := bundle.Dir(j.cfg.RootDir, j.id())
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, bundle.TerminationLog)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read termination message: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(err, fmt.Errorf("read termination message %s: not a regular file", path))
	}
	data, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-messageBytes), messageBytes))
	if err != nil {
		return "", fmt.Errorf("read termination message: %w", err)
	}
	return strings.ToValidUTF8(string(data), "\uFFFD"), nil
}

// tidy removes old attempts of the container and their logs.
func (j *job) tidy() error {
	id := j.id()
	err := bundle.RemoveAttempts(j.cfg.RootDir, id.PodUID, id.Container, keepAttempts)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, removeLogs(j.run.Spec.LogDir, id.Attempt-keepAttempts)); err != nil {
		return fmt.Errorf("remove old attempts of %s: %w", id, err)
	}
	return nil
}

// removeLogs removes the logs, rotated ones included, of all attempts up to last.
func removeLogs(dir string, last int) error {
	if last < 0 {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		number, rest, _ := strings.Cut(e.Name(), ".")
		n, convErr := strconv.Atoi(number)
		if convErr != nil || n > last || !strings.HasPrefix(rest, "log") {
			continue
		}
		err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
	}
	return err
}
