package moduleactor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/actorstest"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
	"github.com/wazlet/wazlet/moduleactor/moduleactortest"
)

func TestMain(m *testing.M) {
	moduleactortest.Shim()
	goleak.VerifyTestMain(m)
}

var podRef = actors.PodRef{UID: "uid-1", Namespace: "ns", Name: "pod"}

// pod stands in for the pod actor: it keeps what it is told, and does with its child what the test says.
type pod struct {
	h *harness
}

type again struct{} // restart the child

func (p *pod) Receive(ctx actor.Context) {
	h := p.h
	switch m := ctx.Message().(type) {
	case *actor.Started:
		props, _ := moduleactor.Props(h.sys, h.cfg, podRef, "c")
		pid, err := ctx.SpawnNamed(props, "c")
		if err != nil {
			h.log("spawn: %v", err)
			return
		}
		h.child = pid
	case moduleactor.Command:
		ctx.Send(h.child, m)
	case again:
		ctx.(actor.Supervisor).RestartChildren(h.child)
	case moduleactor.Fact:
		h.log("%s", strings.TrimPrefix(fmt.Sprintf("%T", m), "moduleactor."))
	}
}

func (p *pod) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, _ *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	x, ok := reason.(actors.Exit)
	if !ok {
		p.h.log("failed: %v", reason)
		return
	}
	s := fmt.Sprintf("exit %s %d", x.Reason, x.Code)
	if x.NotStarted {
		s += " not-started"
	}
	p.h.log("%s", s)
	p.h.exits = append(p.h.exits, x)
}

// harness is a module actor below a pod in a synctest bubble.
type harness struct {
	sys     *actors.System
	cfg     moduleactor.Config
	images  *moduleactortest.Images
	runtime *moduleactortest.Runtime
	root    *actor.PID
	child   *actor.PID
	spec    moduleactor.Spec

	mu    sync.Mutex
	lines []string
	exits []actors.Exit
}

func (h *harness) log(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *harness) tell(m any) {
	h.sys.Root().Send(h.root, m)
	synctest.Wait()
}

func (h *harness) run(attempt int) { h.tell(moduleactor.Run{Spec: h.spec, Attempt: attempt}) }

func (h *harness) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// expect compares what the pod was told since the last call. Endings come last: they overtake facts, so that their place
// among them means nothing.
func (h *harness) expect(t *testing.T, want ...string) {
	t.Helper()
	endingsLast := func(a, b string) int {
		return strings.Count(a[:4], "exit") - strings.Count(b[:4], "exit")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.SortStableFunc(want, endingsLast)
	slices.SortStableFunc(h.lines, endingsLast)
	if d := cmp.Diff(want, h.lines); d != "" {
		t.Errorf("what the pod was told (-want +got):\n%s", d)
	}
	h.lines = nil
}

// restartPod stops the whole tree, as a daemon that ends does, and starts another one with the same guests.
func (h *harness) restartPod(t *testing.T) {
	t.Helper()
	if err := h.sys.StopTree(t.Context(), h.root); err != nil {
		t.Fatal(err)
	}
	h.spawn(t)
}

func (h *harness) spawn(t *testing.T) {
	t.Helper()
	props, _ := h.sys.Props(actors.KindPod, "ns/pod", podRef, func(*actors.Handle) actor.Actor { return &pod{h} })
	pid, err := h.sys.SpawnRoot(props, "pod", actor.NewOneForOneStrategy(0, 0, actor.DefaultDecider))
	if err != nil {
		t.Fatal(err)
	}
	h.root = pid
	synctest.Wait()
}

func bubble(t *testing.T, f func(t *testing.T, h *harness)) {
	t.Helper()
	dir := t.TempDir()
	actorstest.Bubble(t, actors.Options{}, func(t *testing.T, s *actors.System) {
		images := &moduleactortest.Images{Clock: clock.RealClock{}}
		runtime := &moduleactortest.Runtime{Clock: clock.RealClock{}}
		h := &harness{
			sys: s, images: images, runtime: runtime,
			cfg: moduleactor.Config{Images: images, Runtime: runtime, RootDir: dir},
			spec: moduleactor.Spec{
				Pod: podRef, Container: "c", FieldPath: "spec.containers{c}", Image: "r/i:t",
				PullPolicy: image.IfNotPresent, LogDir: filepath.Join(dir, "logs", "c"),
			},
		}
		h.spawn(t)
		f(t, h)
	})
}

var id0 = bundle.ID{PodUID: "uid-1", Container: "c", Attempt: 0}

func TestRunToCompletion(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.runtime.Script = func(bundle.Spec) moduleactortest.Guest {
			return moduleactortest.Guest{RunFor: time.Hour, Exit: bundle.Exit{Reason: bundle.Completed}}
		}
		h.run(0)
		h.expect(t, "Pulling", "Pulled", "Created", "Started")
		h.pass(time.Hour)
		h.expect(t, "exit Completed 0")
		if x := h.exits[0]; x.FinishedAt.Sub(x.StartedAt) != time.Hour || x.ContainerID == "" || x.ImageID == "" {
			t.Errorf("exit: %+v", x)
		}
	})
}

// TestIdle: nothing wakes the actor of a guest that runs.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.runtime.Script = func(bundle.Spec) moduleactortest.Guest { return moduleactortest.Guest{RunFor: 3 * time.Hour} }
		h.run(0)
		h.expect(t, "Pulling", "Pulled", "Created", "Started")
		handled := func() uint64 { return h.sys.Registry().Lookup("pod/c").Info().Handled }
		before := handled()
		h.pass(2 * time.Hour)
		if after := handled(); before == 0 || after != before {
			t.Errorf("it had handled %d messages, and %d two hours later", before, after)
		}
	})
}

// TestRestarts shows one PID through several attempts, each in an incarnation of its own.
func TestRestarts(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.runtime.Script = func(s bundle.Spec) moduleactortest.Guest {
			return moduleactortest.Guest{RunFor: time.Second, Exit: bundle.Exit{Reason: bundle.Error, Code: int32(s.Attempt)}}
		}
		for n := range 3 {
			h.run(n)
			h.pass(time.Second)
			h.expect(t, "Pulling", "Pulled", "Created", "Started", fmt.Sprintf("exit Error %d", n))
			h.tell(again{})
		}
		if n := h.runtime.Overlaps(); n != 0 {
			t.Errorf("%d attempts overlapped", n)
		}
	})
}

func TestTerminateAtEachState(t *testing.T) {
	slow := 10 * time.Second
	cases := []struct {
		name  string
		pull  moduleactortest.Pull
		guest moduleactortest.Guest
		after time.Duration
		want  []string
		alive int
	}{
		{
			"pulling",
			moduleactortest.Pull{Took: slow},
			moduleactortest.Guest{},
			time.Second,
			[]string{"Pulling", "exit ErrImagePull 137 not-started"},
			0,
		},
		{
			"pulling, deaf",
			moduleactortest.Pull{Took: slow, Deaf: true},
			moduleactortest.Guest{},
			time.Second,
			[]string{"Pulling", "exit ErrImagePull 137 not-started"},
			0,
		},
		{
			"launching",
			moduleactortest.Pull{},
			moduleactortest.Guest{StartTook: slow},
			time.Second,
			[]string{"Pulling", "Pulled", "exit RunContainerError 137 not-started"},
			0,
		},
		{
			"launching, deaf",
			moduleactortest.Pull{},
			moduleactortest.Guest{StartTook: slow, StartDeaf: true, EntryTook: time.Second},
			time.Second,
			[]string{"Pulling", "Pulled", "Created", "exit Error 137"},
			0,
		},
		{
			"starting",
			moduleactortest.Pull{},
			moduleactortest.Guest{EntryTook: slow},
			time.Second,
			[]string{"Pulling", "Pulled", "Created", "exit Error 143"},
			0,
		},
		{
			"running",
			moduleactortest.Pull{},
			moduleactortest.Guest{},
			time.Second,
			[]string{"Pulling", "Pulled", "Created", "Started", "exit Error 143"},
			0,
		},
		{
			"running, deaf",
			moduleactortest.Pull{},
			moduleactortest.Guest{Deaf: true},
			time.Second,
			[]string{"Pulling", "Pulled", "Created", "Started", "exit Error 137"},
			0,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				h.images.Script = func(string, int) moduleactortest.Pull { return c.pull }
				h.runtime.Script = func(bundle.Spec) moduleactortest.Guest { return c.guest }
				h.run(0)
				h.pass(c.after)
				h.tell(moduleactor.Terminate{Grace: 30 * time.Second, KillWait: 2 * time.Second})
				h.pass(slow)
				h.expect(t, c.want...)
				if n := len(h.runtime.Alive()); n != c.alive {
					t.Errorf("%d guests alive, want %d", n, c.alive)
				}
			})
		})
	}
}

// TestStopLetsGo stops the actor in each state: the guest, if there is one, lives on and can be adopted.
func TestStopLetsGo(t *testing.T) {
	slow := 10 * time.Second
	cases := []struct {
		name  string
		pull  moduleactortest.Pull
		guest moduleactortest.Guest
		alive int
	}{
		{"pulling", moduleactortest.Pull{Took: slow}, moduleactortest.Guest{}, 0},
		{"launching", moduleactortest.Pull{}, moduleactortest.Guest{StartTook: slow}, 0},
		{"starting", moduleactortest.Pull{}, moduleactortest.Guest{EntryTook: slow}, 1},
		{"running", moduleactortest.Pull{}, moduleactortest.Guest{}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				h.images.Script = func(string, int) moduleactortest.Pull { return c.pull }
				h.runtime.Script = func(bundle.Spec) moduleactortest.Guest { return c.guest }
				h.run(0)
				h.pass(time.Second)
				h.restartPod(t)
				if n := len(h.runtime.Alive()); n != c.alive {
					t.Fatalf("%d guests alive after the actor stopped, want %d", n, c.alive)
				}
				if c.alive == 0 {
					return
				}
				h.mu.Lock()
				h.lines = nil
				h.mu.Unlock()
				h.tell(moduleactor.Run{Spec: h.spec, Adopt: true})
				h.pass(slow)
				h.expect(t, "Started")
				h.tell(moduleactor.Terminate{Grace: 0})
				h.expect(t, "exit Error 137")
				if got := h.runtime.Guest(id0).Signals(); len(got) != 1 || got[0] != "SIGKILL" {
					t.Errorf("signals: %v", got)
				}
			})
		})
	}
}

func TestAdoptDead(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.run(0)
		h.expect(t, "Pulling", "Pulled", "Created", "Started")
		h.restartPod(t)
		h.runtime.Guest(id0).End(bundle.Exit{Reason: bundle.Error, Code: 3})
		h.pass(time.Minute)
		h.tell(moduleactor.Run{Spec: h.spec, Adopt: true})
		h.expect(t, "Started", "exit Error 3")
		if ago := time.Since(h.exits[0].FinishedAt); ago != time.Minute {
			t.Errorf("it ended %s ago, want 1m0s", ago)
		}
	})
}

func TestAdoptNothing(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.tell(moduleactor.Run{Spec: h.spec, Attempt: 2, Adopt: true})
		h.expect(t, "exit ContainerStatusUnknown 137")
		if h.exits[0].Attempt != 2 {
			t.Errorf("attempt %d, want 2", h.exits[0].Attempt)
		}
	})
}

func TestFailures(t *testing.T) {
	cases := []struct {
		name    string
		pull    moduleactortest.Pull
		guest   moduleactortest.Guest
		compile error
		want    []string
		message string
	}{
		{
			"no image",
			moduleactortest.Pull{Reason: image.RegistryUnavailable, Text: "dial: refused"},
			moduleactortest.Guest{},
			nil,
			[]string{"Pulling", "exit RegistryUnavailable 0 not-started"},
			"dial: refused",
		},
		{
			"compiler refuses",
			moduleactortest.Pull{},
			moduleactortest.Guest{},
			&bundle.InvalidModule{Text: "bad magic"},
			[]string{"Pulling", "Pulled", "exit StartError 128"},
			"bad magic",
		},
		{
			"compiler dies",
			moduleactortest.Pull{},
			moduleactortest.Guest{},
			errors.New("killed"),
			[]string{"Pulling", "Pulled", "exit CreateContainerError 0 not-started"},
			"compile r/i:t: killed",
		},
		{
			"start fails",
			moduleactortest.Pull{},
			moduleactortest.Guest{StartErr: errors.New("fork")},
			nil,
			[]string{"Pulling", "Pulled", "exit RunContainerError 0 not-started"},
			"fork",
		},
		{
			"never enters",
			moduleactortest.Pull{},
			moduleactortest.Guest{EntryTook: -1},
			nil,
			[]string{"Pulling", "Pulled", "Created", "exit StartError 128"},
			"not started within 2m0s",
		},
		{
			"pull panics",
			moduleactortest.Pull{Panic: true},
			moduleactortest.Guest{},
			nil,
			[]string{"Pulling", "exit Crash 2"},
			"panic: images: scripted panic",
		},
		{
			"start panics",
			moduleactortest.Pull{},
			moduleactortest.Guest{Panic: "Start"},
			nil,
			[]string{"Pulling", "Pulled", "exit Crash 137"},
			"panic: runtime: scripted panic in Start, with the process started",
		},
		{
			"started panics",
			moduleactortest.Pull{},
			moduleactortest.Guest{Panic: "Started"},
			nil,
			[]string{"Pulling", "Pulled", "Created", "exit Crash 137"},
			"panic: process: scripted panic in Started",
		},
		{
			"wait panics",
			moduleactortest.Pull{},
			moduleactortest.Guest{Panic: "Wait"},
			nil,
			[]string{"Pulling", "Pulled", "Created", "Started", "exit Crash 2"},
			"panic: process: scripted panic in Wait",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				h.images.Script = func(string, int) moduleactortest.Pull { return c.pull }
				h.runtime.Script = func(bundle.Spec) moduleactortest.Guest { return c.guest }
				if c.compile != nil {
					h.runtime.OnCompile = func(context.Context, string, string) error { return c.compile }
				}
				h.run(0)
				h.pass(3 * time.Minute)
				h.expect(t, c.want...)
				if got := h.exits[0].Message; got != c.message {
					t.Errorf("message %q, want %q", got, c.message)
				}
				if alive := h.runtime.Alive(); len(alive) != 0 {
					t.Errorf("alive: %v", alive)
				}
			})
		})
	}
}

// TestNotStartedIsRetriedUnderTheSameNumber runs attempt 0 twice: the first time its image cannot be had.
func TestNotStartedIsRetriedUnderTheSameNumber(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.images.Script = func(_ string, n int) moduleactortest.Pull {
			if n == 0 {
				return moduleactortest.Pull{Reason: image.ErrImagePull, Text: "no"}
			}
			return moduleactortest.Pull{}
		}
		h.run(0)
		h.tell(again{})
		h.run(0)
		h.expect(t, "Pulling", "exit ErrImagePull 0 not-started", "Pulling", "Pulled", "Created", "Started")
	})
}

// TestLateReportsAreDropped restarts the actor while a deaf pull goes on: what it brings belongs to nobody.
func TestLateReportsAreDropped(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.images.Script = func(_ string, n int) moduleactortest.Pull {
			if n == 0 {
				return moduleactortest.Pull{Took: 5 * time.Second}
			}
			return moduleactortest.Pull{Took: time.Hour}
		}
		h.run(0)
		h.tell(again{})
		h.run(0)
		h.pass(10 * time.Second)
		h.expect(t, "Pulling", "Pulling")
	})
}

func TestTerminationMessage(t *testing.T) {
	cases := []struct {
		name, file, log, policy string
		exit                    bundle.Exit
		want                    string
	}{
		{"file", "from the file", "", "File", bundle.Exit{Code: 1, Reason: bundle.Error, Message: "trap"}, "from the file"},
		{"nothing", "", "2026-01-01T00:00:00Z stdout F line\n", "File", bundle.Exit{Code: 1, Reason: bundle.Error}, ""},
		{"trap", "", "", "File", bundle.Exit{Code: 134, Reason: bundle.Trap, Message: "unreachable"}, "unreachable"},
		{"long", strings.Repeat("a", 5000) + "end", "", "File", bundle.Exit{}, strings.Repeat("a", 4093) + "end"},
		{"not text", "a\xffb", "", "File", bundle.Exit{}, "a\uFFFDb"},
		{"log, success", "", "2026-01-01T00:00:00Z stdout F line\n", "FallbackToLogsOnError", bundle.Exit{Reason: bundle.Completed}, ""},
		{"log, failure", "", "2026-01-01T00:00:00Z stdout F line\n", "FallbackToLogsOnError", bundle.Exit{Code: 1, Reason: bundle.Error}, "line\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				h.spec.TerminationMessagePolicy = c.policy
				h.run(0)
				dir, err := bundle.Dir(h.cfg.RootDir, id0)
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, bundle.TerminationLog), c.file)
				write(t, filepath.Join(h.spec.LogDir, "0.log"), c.log)
				h.runtime.Guest(id0).End(c.exit)
				synctest.Wait()
				if got := h.exits[0].Message; got != c.want {
					t.Errorf("message %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestOldLogsAreRemoved keeps the logs of the attempt that ended and of the one before.
func TestOldLogsAreRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		for _, name := range []string{"1.log", "1.log.20260101-000000", "2.log", "3.log", "3.log.20260101-000000.gz", "notes"} {
			write(t, filepath.Join(h.spec.LogDir, name), "x")
		}
		h.run(3)
		h.tell(moduleactor.Terminate{})
		entries, err := os.ReadDir(h.spec.LogDir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if d := cmp.Diff([]string{"2.log", "3.log", "3.log.20260101-000000.gz", "notes"}, got); d != "" {
			t.Errorf("logs (-want +got):\n%s", d)
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if text == "" {
		return
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}
