package moduleactor

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt")

// TestMachine replays scripts: "> " begins an event, "# " a comment, everything else is what the machine wants done.
func TestMachine(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(data))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(data), got); d != "" && !*update {
				t.Errorf("script (-want +got):\n%s", d)
			}
		})
	}
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func play(t *testing.T, script string) string {
	t.Helper()
	m := machine{state: stateCreated, timeout: 2 * time.Minute}
	now := epoch
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#") || line == "":
			fmt.Fprintln(&out, line)
			continue
		case strings.HasPrefix(line, "+"):
			d, err := time.ParseDuration(line[1:])
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(d)
			fmt.Fprintln(&out, line)
			continue
		case !strings.HasPrefix(line, "> "):
			continue
		}
		fmt.Fprintln(&out, line)
		var effects []effect
		m, effects = step(m, parse(t, m, line[2:]), now)
		for _, e := range effects {
			fmt.Fprintln(&out, "  "+show(e))
		}
	}
	return out.String()
}

// parse reads an event: its name, and ok or what went wrong.
func parse(t *testing.T, m machine, line string) event {
	t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	arg, text, _ := strings.Cut(rest, " ")
	var err error
	if arg == "err" {
		err = errors.New(text)
	}
	switch word {
	case "run":
		return Run{Attempt: 3, Adopt: arg == "adopt", Spec: Spec{Container: "c", Image: "r/i:t"}}
	case "terminate":
		grace, err1 := time.ParseDuration(arg)
		wait, err2 := time.ParseDuration(text)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return Terminate{Grace: grace, KillWait: wait}
	case "looked":
		return looked{remote: arg == "remote"}
	case "pulled":
		if r, ok := strings.CutPrefix(arg, "reason="); ok {
			return pulled{err: fmt.Errorf("wrapped: %w", &image.Error{Reason: image.Reason(r), Err: errors.New(text)})}
		}
		return pulled{image: image.Image{ID: "r/i@sha256:1", Size: 5, Took: time.Second}, err: err}
	case "prepared":
		if arg == "invalid" {
			err = fmt.Errorf("compile: %w", &bundle.InvalidModule{Text: text})
		}
		return prepared{err: err}
	case "launched":
		l := launched{spec: bundle.Spec{ContainerID: "wazlet://1", ImageID: "r/i@sha256:1", Signals: arg == "signals"}, err: err}
		if arg == "handler" {
			l.spec.Handler = &bundle.Handler{}
		}
		return l
	case "entered":
		return entered{state: bundle.State{PID: 7, StartedAt: epoch.Add(time.Second)}, ok: arg == "ok", err: err}
	case "ended":
		if err != nil {
			return ended{err: err}
		}
		if arg == "closed" {
			return ended{err: fmt.Errorf("wait: %w", bundle.ErrClosed)}
		}
		x := bundle.Exit{Reason: bundle.ExitReason(arg)}
		if _, err := fmt.Sscan(text, &x.Code); err != nil {
			t.Fatal(err)
		}
		return ended{exit: x}
	case "crashed":
		return crashed{text: rest}
	case "fire":
		k := map[string]timer{"create": timerCreate, "kill": timerKill, "letgo": timerLetGo}[arg]
		if text == "stale" {
			return timedOut{timer: k, gen: m.gen + 1}
		}
		return timedOut{timer: k, gen: m.gens[k]}
	}
	t.Fatalf("script: %q is no event", line)
	return nil
}

func show(e effect) string {
	switch e := e.(type) {
	case pull, prepare, launch, adopt, awaitEntry, awaitEnd, cancelWork:
		return strings.TrimPrefix(fmt.Sprintf("%T", e), "moduleactor.")
	case signal:
		if e.kill {
			return "SIGKILL"
		}
		return "SIGTERM"
	case arm:
		return fmt.Sprintf("timer %s in %s", [...]string{"", "create", "kill", "letgo"}[e.timer], e.after)
	case tell:
		return fmt.Sprintf("tell %T", e.fact)
	case moved:
		return fmt.Sprintf("%s -> %s (%s)", e.from, e.to, e.why)
	case fail:
		return "exit " + showExit(e.exit)
	}
	return fmt.Sprintf("%T", e)
}

func showExit(x actors.Exit) string {
	s := fmt.Sprintf("%s %d attempt=%d", x.Reason, x.Code, x.Attempt)
	if x.NotStarted {
		s += " not-started"
	} else {
		s += fmt.Sprintf(" ran=%s", x.FinishedAt.Sub(x.StartedAt))
	}
	if x.Message != "" {
		s += fmt.Sprintf(" %q", x.Message)
	}
	return s
}

func TestEdges(t *testing.T) {
	for from := stateCreated; from <= stateExited; from++ {
		for to := stateCreated; to <= stateExited; to++ {
			func() {
				defer func() { _ = recover() }()
				mustReach(from, to)
				if to <= from {
					t.Errorf("%s -> %s is permitted, but attempts only go forward", from, to)
				}
			}()
		}
	}
	if len(edges(stateExited)) != 0 {
		t.Error("Exited can be left")
	}
}

// TestSecondWorker shows that the machine would rather crash than have two workers.
func TestSecondWorker(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a second worker was started")
		}
	}()
	tn := &turn{}
	tn.work(pull{})
	tn.work(pull{})
}

func TestExitReasons(t *testing.T) {
	for got, want := range map[bundle.ExitReason]actors.Reason{
		bundle.Completed: actors.ReasonCompleted, bundle.Error: actors.ReasonError, bundle.Trap: actors.ReasonError,
		bundle.Killed: actors.ReasonError, bundle.StartError: actors.ReasonStartError,
		bundle.OOMKilled: actors.ReasonOOMKilled, "Novel": actors.ReasonError,
	} {
		if r := exitReason(bundle.Exit{Reason: got}); r != want {
			t.Errorf("reason of %s: got %s, want %s", got, r, want)
		}
	}
}

func TestExitCarriesEverything(t *testing.T) {
	at := epoch.Add(time.Hour)
	tn := &turn{now: at, machine: machine{
		run: Run{Attempt: 4}, imageID: "img", containerID: "cid", startedAt: epoch,
	}}
	got := tn.fromBundle(ended{message: "my last words", exit: bundle.Exit{
		Code: 134, Reason: bundle.Trap, Message: "wasm trap", StartedAt: epoch, FinishedAt: epoch.Add(time.Minute),
		PeakMemoryBytes: 65536, CPUTimeNanos: 7,
	}})
	want := actors.Exit{
		Reason: actors.ReasonError, Code: 134, Message: "my last words", Attempt: 4, StartedAt: epoch,
		FinishedAt: epoch.Add(time.Minute), ContainerID: "cid", ImageID: "img", PeakMemory: 65536, CPUTime: 7,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("exit (-want +got):\n%s", d)
	}
}
