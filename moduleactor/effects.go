package moduleactor

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// carryOut does what the machine decided.
func (a *module) carryOut(ctx actor.Context, e effect, now time.Time) {
	switch e := e.(type) {
	case pull, prepare, launch, adopt, awaitEntry, awaitEnd:
		a.work(ctx, e)
	case cancelWork:
		a.worker.Cancel()
	case signal:
		if err := a.process.Signal(e.kill); err != nil {
			a.warn(fmt.Sprintf("signal container %s: %v", a.container, err))
		}
	case arm:
		a.cancelTimer(int(e.timer))
		a.timers[e.timer] = a.sys.After(ctx.Self(), e.after, alarm{a.epoch, timedOut{timer: e.timer, gen: e.gen}})
	case tell:
		ctx.Send(ctx.Parent(), e.fact)
	case moved:
		a.handle.Publish(e.to.String(), now)
		a.sys.Observe(actors.Transition{
			Time: now, Actor: ctx.Self().GetId(), Kind: actors.KindModule, Name: a.container, Pod: a.pod,
			From: e.from.String(), To: e.to.String(), Why: e.why,
		})
	case fail:
		a.cancelTimers()
		a.handle.Failed(e.exit.FinishedAt, string(e.exit.Reason), e.exit.Message, "")
		actors.Fail(ctx, e.exit)
	}
}

// work starts the worker for e. Nothing of ctx or a is used on its goroutine but what never changes.
func (a *module) work(ctx actor.Context, e effect) {
	a.seq++
	j := &job{
		sys: a.sys, cfg: a.cfg, self: ctx.Self(), run: a.machine.run, process: a.process,
		report: report{epoch: a.epoch, seq: a.seq},
	}
	do := func(c context.Context) any { return j.do(c, e) }
	if _, ok := e.(awaitEnd); ok {
		do = j.outlast
	}
	a.worker = a.sys.Go(j.self, do)
}

// outlast waits for the end of the guest. A node has one goroutine in here for each container, and what is on their stacks
// is much of what a container costs it: so nothing is but what the wait needs, and all else is done afterwards.
func (j *job) outlast(ctx context.Context) any {
	_, _ = j.process.Wait(ctx)
	return j.do(ctx, awaitEnd{})
}

// job is the work of one worker, shared with nobody. Its methods take a pointer because a worker waits as long as its guest
// runs, and copies would make its stack four times as large.
type job struct {
	sys     *actors.System
	cfg     Config
	self    *actor.PID
	run     Run
	process Process
	report  report
}

// do carries out e and says what came of it. A panic becomes an actors.Crash; see actors.System.Go.
func (j *job) do(ctx context.Context, e effect) report {
	switch e := e.(type) {
	case pull:
		return j.pull(ctx)
	case prepare:
		return j.prepare(ctx, e.image)
	case launch:
		p, err := j.cfg.Runtime.Start(ctx, e.spec, bundle.Limits{
			MemoryBytes: j.run.Spec.MemoryBytes, CPUMillicores: j.run.Spec.CPUMillicores,
		})
		return j.launched(p, err)
	case adopt:
		p, err := j.cfg.Runtime.Adopt(ctx, j.id())
		return j.launched(p, err)
	case awaitEntry:
		s, ok, err := j.process.Started(ctx)
		return j.found(entered{state: s, ok: ok, err: err})
	case awaitEnd:
		return j.awaitEnd(ctx)
	case cancelWork, signal, arm, tell, moved, fail:
	}
	panic(fmt.Sprintf("moduleactor: %T is no work", e))
}

func (j *job) pull(ctx context.Context) report {
	j.sys.Root().Send(j.self, j.found(looked{remote: j.remote()}))
	img, err := j.cfg.Images.EnsureWith(ctx, j.run.Spec.Image, j.run.Spec.PullPolicy, j.run.Spec.Keys)
	return j.found(pulled{image: img, err: err})
}

// remote tells whether a registry will be asked, as far as that is known beforehand.
func (j *job) remote() bool {
	switch j.run.Spec.PullPolicy {
	case image.Always:
		return true
	case image.Never:
		return false
	case image.IfNotPresent:
	}
	store, ok := j.cfg.Images.(interface {
		PresentWith(ref string, keys image.Keys) (image.Image, bool)
	})
	if !ok {
		return true
	}
	_, present := store.PresentWith(j.run.Spec.Image, j.run.Spec.Keys)
	return !present
}

// prepare compiles the module and lays out what the bundle needs before it is written.
func (j *job) prepare(ctx context.Context, img image.Image) report {
	metered := j.run.Spec.Shim != "" || j.run.Spec.Handler != nil
	if err := j.cfg.Runtime.Compile(ctx, img.Module, img.Digest, metered); err != nil {
		return j.found(prepared{err: fmt.Errorf("compile %s: %w", j.run.Spec.Image, err)})
	}
	signals, err := wantsSignals(j.run.Spec, img)
	if err != nil {
		return j.found(prepared{err: err})
	}
	rootfs, err := j.layOut(ctx, img)
	if err != nil {
		return j.found(prepared{err: err})
	}
	spec := buildSpec(j.run, img, j.cfg)
	spec.ContainerID, spec.Rootfs, spec.Signals = bundle.NewContainerID(), rootfs, signals
	return j.found(prepared{spec: spec})
}

func (j *job) launched(p Process, err error) report {
	if err != nil {
		return j.found(launched{err: err})
	}
	r := j.found(launched{spec: p.Spec()})
	r.process = p
	return r
}

func (j *job) awaitEnd(ctx context.Context) report {
	x, err := j.process.Wait(ctx)
	if err != nil {
		return j.found(ended{err: err})
	}
	message, err := j.terminationMessage(x) //nolint:contextcheck // a bounded read of local files, wanted even now
	r := j.found(ended{exit: x, message: message})
	if tidyErr := j.tidy(); err == nil {
		err = tidyErr
	}
	r.warning = err
	return r
}

func (j *job) found(ev event) report {
	r := j.report
	r.event = ev
	return r
}

func (j *job) id() bundle.ID {
	return bundle.ID{PodUID: j.run.Spec.Pod.UID, Container: j.run.Spec.Container, Attempt: j.run.Attempt}
}
