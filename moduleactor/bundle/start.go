package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/wazlet/wazlet/moduleactor/bundle/ctl"
)

// Start writes the attempt's bundle and starts its shim. The directory may exist (its rootfs is made before); ErrExists
// says that the attempt was started already, ErrBusy that another attempt of the container still runs. After an error
// there is no spec.json, so the attempt can be started again.
//
// A daemon that dies in here leaves one of three things, told apart by spec.json and lock: nothing of consequence (no
// spec.json: Scan clears it away), a dead attempt (spec.json, lock free), or a running one (lock held by the shim).
func (r *Runtime) Start(ctx context.Context, spec Spec, limits Limits) (*Process, error) {
	if err := errors.Join(ctx.Err(), r.ctx.Err()); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.ID(), err)
	}
	spec.Cgroups = nil
	if err := spec.Validate(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.ID(), err)
	}
	dir, err := Dir(r.cfg.Root, spec.ID())
	if err != nil {
		return nil, err
	}
	if spec.Shim != "" {
		spec.CPUMillicores = limits.CPUMillicores
		if spec.Shim, err = r.latest(spec.Shim); err != nil {
			return nil, fmt.Errorf("start %s: %w", spec.ID(), err)
		}
	}
	p, err := r.start(ctx, newProcess(r, dir, spec), limits)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.ID(), err)
	}
	return p, nil
}

func (r *Runtime) start(ctx context.Context, p *Process, limits Limits) (*Process, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	r.reached("directory")
	lock, err := takeLock(p.dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // the shim has its own copy by then
	r.reached("lock")
	if err := r.checkFresh(p.dir, p.id); err != nil {
		return nil, err
	}
	sockets, err := bindAll(p.spec.Listeners)
	if err != nil {
		return nil, err
	}
	defer closeAll(sockets) // as the lock
	if p.spec.Shim == "" {
		p.spec.Cgroups = r.createCgroups(p.id, limits)
	}
	r.reached("cgroup")
	if err := WriteSpec(p.dir, p.spec); err != nil {
		r.undo(p)
		return nil, err
	}
	r.reached("spec")
	if p.spec.Shim != "" {
		shared, err := r.share(ctx, p, lock, sockets)
		if err != nil {
			r.undo(p)
		}
		return shared, err
	}
	if err := r.fork(p, lock, sockets, bornIn(p.spec.Cgroups, limits)); err != nil {
		r.undo(p)
		return nil, err
	}
	r.reached("pid")
	return r.watch(p)
}

// checkFresh makes sure that this attempt was never started and no other of its container runs. The caller holds the
// lock.
func (r *Runtime) checkFresh(dir string, id ID) error {
	started, err := exists(dir, SpecFile)
	if err != nil {
		return err
	}
	if started {
		return ErrExists
	}
	others, err := attempts(r.cfg.Root, id.PodUID, id.Container)
	if err != nil {
		return err
	}
	for _, n := range others {
		if n == id.Attempt {
			continue
		}
		lock, err := lockSoon(filepath.Join(filepath.Dir(dir), strconv.Itoa(n)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_ = lock.Close()
	}
	return clean(dir)
}

// clean removes what a start that failed may have left besides the rootfs.
func clean(dir string) error {
	var errs []error
	for _, f := range []string{StateFile, ExitFile, PIDFile, ShimLogFile, ctl.Socket, SpecFile} {
		if err := os.Remove(filepath.Join(dir, f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// undo makes the attempt startable again after a failure.
func (r *Runtime) undo(p *Process) {
	if err := clean(p.dir); err != nil {
		r.warn(fmt.Errorf("undo the start of %s: %w", p.id, err))
	}
	r.removeCgroups(p.spec.Cgroups)
}

// createCgroups returns nil where shims have to run without.
func (r *Runtime) createCgroups(id ID, limits Limits) []string {
	if r.cfg.Cgroups == nil {
		return nil
	}
	if limits.MemoryBytes > 0 {
		limits.MemoryBytes += ShimOverheadBytes
	}
	name := cgroupName(id)
	if err := r.cfg.Cgroups.Create(name, limits); err != nil {
		r.warnCgroup.Do(func() { r.warn(&CgroupError{Err: err}) })
		return nil
	}
	return r.cfg.Cgroups.Dirs(name)
}

func cgroupName(id ID) string { return id.PodUID + "/" + id.Container + "-" + strconv.Itoa(id.Attempt) }

// minBirthMillicores is from where on a shim is born in its cgroup. With less the start of one would be slow, and others
// wait for it: a process that forks lets none of its threads do so meanwhile.
const minBirthMillicores = 100

// bornIn are the cgroups that a shim is started in; it moves to the others by itself.
func bornIn(cgroups []string, l Limits) []string {
	if l.CPUMillicores > 0 && l.CPUMillicores < minBirthMillicores {
		return nil
	}
	return cgroups
}

// fork starts the shim as leader of its own session, so that neither the daemon's terminal nor its end reaches it, and
// writes the pid file.
func (r *Runtime) fork(p *Process, lock *os.File, sockets []*os.File, cgroups []string) (err error) {
	var files []*os.File
	defer func() {
		closeAll(files)
		if err != nil && p.ready != nil {
			_ = p.ready.Close()
		}
	}()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	files = append(files, null)
	// What a shim says there is only ever a fault of its own, one Go traceback at most: GOTRACEBACK bounds it.
	out, err := os.OpenFile(filepath.Join(p.dir, ShimLogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	files = append(files, out)
	ready, signal, err := os.Pipe()
	if err != nil {
		return err
	}
	p.ready = ready
	files = append(files, signal)
	pidfd := -1
	p.child, err = startIn(cgroups, []string{r.cfg.Shim, "run", "--bundle", p.dir}, &os.ProcAttr{
		Dir:   p.dir,
		Env:   r.env(),
		Files: append([]*os.File{null, out, out, lock, signal}, sockets...), // from LockFD, ReadyFD, ListenersFD on
		Sys:   shimAttr(&pidfd),
	})
	if err != nil {
		return err
	}
	r.reached("fork")
	p.pid = p.child.Pid
	p.pidfd, err = adoptChild(p.dir, p.child, pidfd)
	return err
}

func (r *Runtime) env() []string { return append([]string{"GOTRACEBACK=single"}, r.cfg.Env...) }
