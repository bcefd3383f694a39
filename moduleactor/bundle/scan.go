package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Found is an attempt on disk.
type Found struct {
	ID   ID
	Spec Spec
	// Alive says that its shim runs (or is being started): Runtime.Adopt takes it over.
	Alive bool
	// State is what the shim wrote when the guest started; nil when it did not get there.
	State *State
	// Exit is how it ended; nil while alive.
	Exit *Exit
	// Err says which files are corrupt. Spec has the ID alone then if it was spec.json; a dead attempt has an Exit in any
	// case.
	Err error
	// Previous is how the attempt before it ended, if it is still on disk.
	Previous *Exit
}

// Scan finds the latest attempt of each container of a Pod, sorted by container. Attempts whose start was interrupted
// before spec.json are removed, attempts found dead without an exit.json get one. A Pod without a directory has none.
// ErrBusy: an attempt is being started at this moment; try again.
func (r *Runtime) Scan(podUID string) ([]Found, error) {
	dir, err := PodDir(r.cfg.Root, podUID)
	if err != nil {
		return nil, err
	}
	names, err := containers(dir)
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", dir, err)
	}
	var found []Found
	for _, name := range names {
		some, err := r.scanContainer(podUID, name)
		if err != nil {
			return nil, fmt.Errorf("scan %s: %w", filepath.Join(dir, name), err)
		}
		found = append(found, some...)
	}
	return found, nil
}

// Scan is Runtime.Scan for who has no Runtime; cgroups are neither read nor removed.
func Scan(root, podUID string) ([]Found, error) {
	return bare(root).Scan(podUID)
}

// bare is a Runtime that can do no more than look at files.
func bare(root string) *Runtime { return &Runtime{cfg: Config{Root: root, Clock: realClock{}}} }

// Running lists the attempts of a container whose shims run. Unlike Scan it changes nothing on disk, so it may be asked
// while an attempt is being prepared.
func (r *Runtime) Running(podUID, container string) ([]ID, error) {
	numbers, err := attempts(r.cfg.Root, podUID, container)
	if err != nil {
		return nil, fmt.Errorf("find running attempts: %w", err)
	}
	var running []ID
	for _, n := range numbers {
		id := ID{PodUID: podUID, Container: container, Attempt: n}
		dir, err := Dir(r.cfg.Root, id)
		if err != nil {
			return nil, err
		}
		started, err := exists(dir, SpecFile)
		if err != nil {
			return nil, fmt.Errorf("find running attempts: %w", err)
		}
		if !started {
			continue
		}
		lock, err := takeLock(dir)
		switch {
		case errors.Is(err, ErrBusy):
			running = append(running, id)
		case err == nil:
			_ = lock.Close()
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("find running attempts: %w", err)
		}
	}
	return running, nil
}

// scanContainer returns the latest attempt, and any earlier one that is alive, which Start does not let happen.
func (r *Runtime) scanContainer(podUID, name string) ([]Found, error) {
	numbers, err := attempts(r.cfg.Root, podUID, name)
	if err != nil {
		return nil, err
	}
	var found []Found
	for _, n := range numbers {
		f, ok, err := r.scanAttempt(ID{PodUID: podUID, Container: name, Attempt: n})
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if len(found) > 0 {
			f.Previous = found[len(found)-1].Exit
		}
		found = append(found, f)
	}
	last := len(found) - 1
	kept := found[:0]
	for i, f := range found {
		if f.Alive || i == last {
			kept = append(kept, f)
		}
	}
	return kept, nil
}

// scanAttempt looks at one attempt. Not ok: it was never started and is removed.
func (r *Runtime) scanAttempt(id ID) (f Found, ok bool, err error) {
	dir, err := Dir(r.cfg.Root, id)
	if err != nil {
		return Found{}, false, err
	}
	lock, err := takeLock(dir)
	busy := errors.Is(err, ErrBusy)
	if err != nil && !busy {
		return Found{}, false, err
	}
	if lock != nil {
		defer lock.Close()
	}
	f = Found{ID: id, Alive: busy}
	f.Spec, f.Err = readOwnSpec(dir, id)
	if f.Spec.Version == 0 {
		if busy {
			return Found{}, false, fmt.Errorf("%s is being started: %w", id, ErrBusy)
		}
		return Found{}, false, r.removeUnstarted(dir, id)
	}
	if st, err := ReadState(dir); err == nil {
		f.State = &st
	} else if !errors.Is(err, fs.ErrNotExist) {
		f.Err = errors.Join(f.Err, err)
	}
	if busy {
		return f, true, nil
	}
	if _, err := ReadExit(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Err = errors.Join(f.Err, err)
	}
	e := r.settleFound(dir, f.Spec)
	f.Exit = &e
	return f, true, nil
}

func (r *Runtime) removeUnstarted(dir string, id ID) error {
	if r.cfg.Cgroups != nil {
		r.removeCgroups(r.cfg.Cgroups.Dirs(cgroupName(id)))
	}
	return moveToTrash(r.cfg.Root, dir)
}

// containers lists the container directories of a Pod; what else is there (checkpoint, volumes) has other names.
func containers(podDir string) ([]string, error) {
	return listDirs(podDir, isLabel)
}

// attempts lists the attempts of a container, oldest first.
func attempts(root, podUID, container string) ([]int, error) {
	dir, err := ContainerDir(root, podUID, container)
	if err != nil {
		return nil, err
	}
	names, err := listDirs(dir, func(n string) bool {
		i, err := strconv.Atoi(n)
		return err == nil && i >= 0 && strconv.Itoa(i) == n
	})
	numbers := make([]int, 0, len(names))
	for _, n := range names {
		i, _ := strconv.Atoi(n)
		numbers = append(numbers, i)
	}
	slices.SortFunc(numbers, cmp.Compare[int])
	return numbers, err
}

func listDirs(dir string, want func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && want(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}
