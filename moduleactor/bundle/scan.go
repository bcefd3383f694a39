package bundle

import "errors"

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
	// Err says which file is corrupt. The attempt then counts as dead, with an Exit made up unless that could be read.
	Err error
	// Previous is how the attempt before it ended, if it is still on disk.
	Previous *Exit
}

// Scan finds the latest attempt of each container of a Pod, sorted by container. Attempts whose start was interrupted
// before spec.json are removed, attempts found dead without an exit.json get one. A Pod without a directory has none.
// ErrBusy: an attempt is being started at this moment; try again.
func (r *Runtime) Scan(podUID string) ([]Found, error) { return Scan(r.cfg.Root, podUID) }

// Scan is Runtime.Scan for who has no Runtime.
func Scan(root, podUID string) ([]Found, error) { return nil, errors.New("not yet") }

// Pods lists the UIDs of Pods that have a directory.
func Pods(root string) ([]string, error) { return nil, errors.New("not yet") }

// RemoveAttempts removes the attempts of a container but the latest ones; keepLatest 0 removes all. Running ones stay.
func RemoveAttempts(root, podUID, container string, keepLatest int) error {
	return errors.New("not yet")
}

// RemovePod removes the directory of a Pod with everything in it, or nothing: ErrBusy while an attempt runs.
func RemovePod(root, podUID string) error { return errors.New("not yet") }
