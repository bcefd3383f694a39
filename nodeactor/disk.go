package nodeactor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/podactor"
)

// Disk is what Pods leave below the root directory, for the node actor to deal with where no pod actor does. Its methods
// block; they are called from workers only.
type Disk interface {
	// Recover reads everything. What cannot be read is an error of its own and hides nothing else.
	Recover() Remains
	// End ends the guests of a Pod: SIGTERM, and SIGKILL after killWait. It returns when none is alive.
	End(ctx context.Context, uid string, killWait time.Duration) error
	// Remove removes everything of a Pod whose guests have ended.
	Remove(uid string) error
	// Fail makes a Pod whose guests have ended a failed one for every daemon to come.
	Fail(uid string, verdict podactor.Outcome, now time.Time) error
}

// Remains are what an earlier daemon left.
type Remains struct {
	Checkpoints []podactor.Checkpoint
	// Orphans are the UIDs of Pods whose directories have no usable checkpoint.
	Orphans []string
	// Errs name the files that are corrupt.
	Errs []error
}

// Guests is the part of bundle.Runtime that a Disk needs.
type Guests interface {
	Scan(podUID string) ([]bundle.Found, error)
	Adopt(ctx context.Context, id bundle.ID) (*bundle.Process, error)
}

// NewDisk returns the real Disk. Logs of Pods are below podLogs, everything else is below root.
func NewDisk(guests Guests, root, podLogs string) Disk {
	return disk{guests: guests, root: root, podLogs: podLogs}
}

type disk struct {
	guests        Guests
	root, podLogs string
}

// dieWait is how long a guest may take to be gone after SIGKILL before it is an incident.
const dieWait = 30 * time.Second

func (d disk) Recover() Remains {
	var r Remains
	var errs []error
	r.Checkpoints, errs = podactor.LoadCheckpoints(d.root)
	for _, err := range errs {
		r.Errs = append(r.Errs, fmt.Errorf("%s: %w", bundle.PodsDir(d.root), err))
	}
	uids, err := bundle.Pods(d.root)
	if err != nil {
		r.Errs = append(r.Errs, fmt.Errorf("find pods on disk: %w", err))
	}
	r.Orphans = slices.DeleteFunc(uids, func(uid string) bool {
		return slices.ContainsFunc(r.Checkpoints, func(c podactor.Checkpoint) bool { return string(c.Pod().UID) == uid })
	})
	return r
}

func (d disk) End(ctx context.Context, uid string, killWait time.Duration) error {
	found, err := d.guests.Scan(uid)
	if err != nil {
		return fmt.Errorf("end guests of pod %s: %w", uid, err)
	}
	var all errgroup.Group
	for _, f := range found {
		if f.Alive {
			all.Go(func() error { return d.endGuest(ctx, f.ID, killWait) })
		}
	}
	return all.Wait()
}

func (d disk) endGuest(ctx context.Context, id bundle.ID, killWait time.Duration) error {
	p, err := d.guests.Adopt(ctx, id)
	if err != nil {
		return fmt.Errorf("end guest %s: %w", id, err)
	}
	for _, kill := range []bool{false, true} {
		if err := p.Signal(kill); err != nil {
			return fmt.Errorf("end guest %s: %w", id, err)
		}
		wait := killWait
		if kill {
			wait = dieWait
		}
		c, cancel := context.WithTimeout(ctx, wait)
		_, err = p.Wait(c)
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("end guest %s: %w", id, err)
	}
	return nil
}

func (d disk) Remove(uid string) error {
	if err := bundle.RemovePod(d.root, uid); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove pod %s: %w", uid, err)
	}
	if d.podLogs == "" {
		return nil
	}
	dirs, err := filepath.Glob(filepath.Join(d.podLogs, "*_"+uid)) // the UID was checked by RemovePod
	for _, dir := range dirs {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("remove logs of pod %s: %w", uid, err)
	}
	return nil
}

// Fail rewrites the checkpoint. Without a usable one nothing can be kept, and nothing is: the verdict then holds for as
// long as this daemon runs.
func (d disk) Fail(uid string, verdict podactor.Outcome, now time.Time) error {
	c, err := podactor.LoadCheckpoint(d.root, uid)
	if err != nil {
		return nil //nolint:nilerr // nothing to keep
	}
	condemn(&c.State, verdict, now)
	if err := c.Save(d.root); err != nil {
		return fmt.Errorf("fail pod %s: %w", uid, err)
	}
	return nil
}

// condemn makes s the state of a Pod that is over.
func condemn(s *podactor.State, verdict podactor.Outcome, now time.Time) {
	s.Stage, s.Since, s.Outcome = podactor.StageFinished, now, &verdict
	for i := range s.Containers {
		c := &s.Containers[i]
		if c.Stage != podactor.ModuleExited && c.Stage != podactor.ModuleBackOff && c.Stage != podactor.ModuleIdle {
			c.Previous, c.Last = c.Last, &actors.Exit{
				Reason: actors.ReasonContainerStatusUnknown, Code: 137, Message: verdict.Message, Attempt: c.Attempt,
				StartedAt: c.StartedAt, FinishedAt: now, ContainerID: c.ContainerID, ImageID: c.ImageID,
			}
		}
		c.Stage, c.Adopting, c.RetryAt = podactor.ModuleExited, false, time.Time{}
	}
}
