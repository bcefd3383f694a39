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
	return listDirs(PodsDir(root), func(n string) bool { return uidPattern.MatchString(n) })
}

// RemoveAttempts removes the attempts of a container but the latest ones; keepLatest 0 removes all. Running ones stay.
func RemoveAttempts(root, podUID, container string, keepLatest int) error {
	numbers, err := attempts(root, podUID, container)
	if err != nil {
		return fmt.Errorf("remove attempts: %w", err)
	}
	var errs []error
	for _, n := range numbers[:max(0, len(numbers)-max(0, keepLatest))] {
		dir, err := Dir(root, ID{PodUID: podUID, Container: container, Attempt: n})
		if err == nil {
			err = removeAttempt(root, dir)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove attempts: %w", err)
	}
	return nil
}

func removeAttempt(root, dir string) error {
	lock, err := takeLock(dir)
	if errors.Is(err, ErrBusy) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	return moveToTrash(root, dir)
}

// RemovePod removes the directory of a Pod with everything in it, or nothing: ErrBusy while an attempt runs. A Pod without
// a directory is removed already.
func RemovePod(root, podUID string) error {
	dir, err := PodDir(root, podUID)
	if err != nil {
		return err
	}
	names, err := containers(dir)
	if err != nil {
		return fmt.Errorf("remove pod: %w", err)
	}
	var locks []*os.File
	defer func() {
		for _, l := range locks {
			_ = l.Close()
		}
	}()
	for _, name := range names {
		numbers, err := attempts(root, podUID, name)
		if err != nil {
			return fmt.Errorf("remove pod: %w", err)
		}
		for _, n := range numbers {
			lock, err := lockSoon(filepath.Join(dir, name, strconv.Itoa(n)))
			if err != nil {
				return fmt.Errorf("remove pod: %w", err)
			}
			locks = append(locks, lock)
		}
	}
	return moveToTrash(root, dir)
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
	return os.RemoveAll(grave)
}
