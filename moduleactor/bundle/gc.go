package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Pods lists the UIDs of Pods that have a directory, sorted.
func Pods(root string) ([]string, error) {
	return listDirs(PodsDir(root), isUID)
}

// RemoveAttempts removes the attempts of a container but the latest ones; keepLatest 0 removes all. Running ones stay.
func (r *Runtime) RemoveAttempts(podUID, container string, keepLatest int) error {
	numbers, err := attempts(r.cfg.Root, podUID, container)
	if err != nil {
		return fmt.Errorf("remove attempts: %w", err)
	}
	var errs []error
	for _, n := range numbers[:max(0, len(numbers)-max(0, keepLatest))] {
		errs = append(errs, r.removeAttempt(ID{PodUID: podUID, Container: container, Attempt: n}))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove attempts: %w", err)
	}
	return nil
}

// RemoveAttempts is Runtime.RemoveAttempts for who has no Runtime; cgroups stay.
func RemoveAttempts(root, podUID, container string, keepLatest int) error {
	return bare(root).RemoveAttempts(podUID, container, keepLatest)
}

func (r *Runtime) removeAttempt(id ID) error {
	dir, err := Dir(r.cfg.Root, id)
	if err != nil {
		return err
	}
	lock, err := takeLock(dir)
	if errors.Is(err, ErrBusy) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	r.removeCgroupsOf(dir, id)
	return moveToTrash(r.cfg.Root, dir)
}

// removeCgroupsOf removes the cgroups of a dead attempt that nobody has settled; the caller holds its lock.
func (r *Runtime) removeCgroupsOf(dir string, id ID) {
	if s, err := readOwnSpec(dir, id); err == nil {
		r.removeCgroups(r.cgroupsOf(s))
	}
}

// RemovePod removes the directory of a Pod with everything in it, or nothing: ErrBusy while an attempt runs. A Pod without
// a directory is removed already.
func (r *Runtime) RemovePod(podUID string) error {
	dir, err := PodDir(r.cfg.Root, podUID)
	if err != nil {
		return err
	}
	ids, err := podAttempts(r.cfg.Root, podUID)
	if err != nil {
		return fmt.Errorf("remove pod: %w", err)
	}
	var locks []*os.File
	defer func() {
		for _, l := range locks {
			_ = l.Close()
		}
	}()
	dirs := make([]string, len(ids))
	for i, id := range ids {
		dirs[i] = filepath.Join(dir, id.Container, strconv.Itoa(id.Attempt))
		lock, err := lockSoon(dirs[i])
		if err != nil {
			return fmt.Errorf("remove pod: %w", err)
		}
		locks = append(locks, lock)
	}
	for i, id := range ids {
		r.removeCgroupsOf(dirs[i], id)
	}
	if err := moveToTrash(r.cfg.Root, dir); err != nil {
		return fmt.Errorf("remove pod: %w", err)
	}
	return nil
}

// RemovePod is Runtime.RemovePod for who has no Runtime; cgroups stay.
func RemovePod(root, podUID string) error { return bare(root).RemovePod(podUID) }

func podAttempts(root, podUID string) ([]ID, error) {
	dir, err := PodDir(root, podUID)
	if err != nil {
		return nil, err
	}
	names, err := containers(dir)
	if err != nil {
		return nil, err
	}
	var ids []ID
	for _, name := range names {
		numbers, err := attempts(root, podUID, name)
		if err != nil {
			return nil, err
		}
		for _, n := range numbers {
			ids = append(ids, ID{PodUID: podUID, Container: name, Attempt: n})
		}
	}
	return ids, nil
}

// trashDir is where directories go before they are removed. A removal takes time and may be interrupted anywhere; what
// it leaves must not look like a Pod or an attempt that lost some of its files. New empties it.
func trashDir(root string) string { return filepath.Join(root, "trash") }

func moveToTrash(root, dir string) error {
	if err := os.MkdirAll(trashDir(root), 0o700); err != nil {
		return err
	}
	grave, err := os.MkdirTemp(trashDir(root), "")
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(grave, filepath.Base(dir))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		_ = os.Remove(grave)
		return err
	}
	return RemoveTree(grave)
}
