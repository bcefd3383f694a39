package podactor

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A script in testdata is a list of blocks. Each is a command line (pod: with a manifest below it), "----", and the
// machine's answer, up to an empty line. Lines that begin with # are comments. -update rewrites the answers.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := gocmp.Diff(string(want), got); d != "" {
				t.Errorf("%s (-want +got):\n%s", file, d)
			}
		})
	}
}

// runScript returns the script with the answers that the machine gives now.
func runScript(t *testing.T, text string) string {
	t.Helper()
	s := &script{t: t, now: epoch, sup: actors.DefaultSupervision()}
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		question, _, _ := strings.Cut(block, "\n----")
		var lines []string
		for line := range strings.SplitSeq(question, "\n") {
			out.WriteString(line + "\n")
			if !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			s.do(lines)
			out.WriteString("----\n" + s.answer.String())
			s.answer.Reset()
		}
		out.WriteString("\n")
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// script drives one machine. It answers resolve at once, and prepare, too, unless told "manual prepare" or "manual all".
type script struct {
	t      *testing.T
	now    time.Time
	sup    actors.Supervision
	pod    *corev1.Pod
	state  State
	shown  status
	manual string // what is not answered: prepare, or all
	timers []pending
	// refreshAt is what prepare and project answer.
	refreshAt time.Time
	answer    strings.Builder
}

type pending struct {
	at    time.Time
	timer timer
}

func (s *script) do(lines []string) {
	words := strings.Fields(lines[0])
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	rest := func(i int) string { return strings.Join(words[min(i, len(words)):], " ") }
	switch words[0] {
	case "pod":
		s.newPod(strings.Join(lines[1:], "\n"))
	case "connect":
		s.feed(connected{Network{IP: arg(1)}})
	case "host":
		s.feed(connected{Network{IP: s.state.PodIP, HostIP: arg(1)}})
	case "disconnected": // before the beginning it is what the Pod starts with
		n := Network{Wait: &Wait{Reason: actors.Reason(arg(1)), Message: rest(2)}}
		if s.state.Stage == StageAdmitting {
			s.state.connect(n)
			return
		}
		s.feed(connected{n})
	case "manual":
		s.manual = arg(1)
	case "begin":
		s.feed(began{})
	case "reject":
		s.feed(began{Reject: &Rejection{Reason: actors.Reason(arg(1)), Message: rest(2)}})
	case "prepared":
		s.feed(prepared{Found: s.found(words[1:])})
	case "token":
		s.refreshAt = s.now.Add(s.duration(arg(1)))
	case "refresh":
		s.feed(refreshed{arg(1), arg(2), arg(3)})
	case "projected":
		s.refreshAt = time.Time{}
		s.feed(projected{Gen: s.state.ProjectGen})
	case "unprojected":
		s.feed(projected{Gen: s.state.ProjectGen, Err: &prepareError{Volume: arg(1), Err: errors.New(rest(2))}})
	case "label":
		p := s.state.Pod.DeepCopy()
		p.Labels = map[string]string{arg(1): arg(2)}
		s.feed(applied{p})
	case "unprepared":
		s.feed(prepared{Err: &prepareError{Volume: arg(1), Err: errors.New(rest(2))}})
	case "resume":
		s.timers = nil
		s.feed(resumed{})
	case "start":
		for _, name := range words[1:] {
			s.start(name)
		}
	case "report":
		s.report(arg(1), arg(2))
	case "exit":
		s.exit(arg(1), arg(2), arg(3))
	case "unstarted":
		s.feed(exited{arg(1), actors.Exit{
			Reason: actors.Reason(arg(2)), Message: rest(3), NotStarted: true, Attempt: s.container(arg(1)).Attempt, FinishedAt: s.now,
		}})
	case "crash":
		s.feed(crashed{arg(1), rest(2)})
	case "keyless": // the spec is there, but not all of the image pull secrets
		c := s.container(arg(1))
		s.feed(resolved{Container: arg(1), Gen: c.Gen, Spec: moduleactor.Spec{Container: arg(1)}, NoKeys: words[2:]})
	case "unresolved":
		c := s.container(arg(1))
		s.feed(resolved{Container: arg(1), Gen: c.Gen, Err: errors.New(rest(2))})
	case "delete":
		s.feed(terminated{Grace: s.duration(arg(1)), Reason: actors.Reason(arg(2)), Message: rest(3)})
	case "image":
		p := s.state.Pod.DeepCopy()
		specOf(p, arg(1)).Image = arg(2)
		s.feed(applied{p})
	case "resize":
		p := s.state.Pod.DeepCopy()
		p.Generation++
		specOf(p, arg(1)).Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(arg(2))}
		s.feed(applied{p})
	case "phase": // what somebody has written into the API
		p := s.state.Pod.DeepCopy()
		p.Status = corev1.PodStatus{Phase: corev1.PodPhase(arg(1)), Reason: arg(2), Message: rest(3)}
		s.feed(applied{p})
	case "deadline":
		p := s.state.Pod.DeepCopy()
		n := int64(s.duration(arg(1)) / time.Second)
		p.Spec.ActiveDeadlineSeconds = &n
		s.feed(applied{p})
	case "cleaned":
		var err error
		if rest(1) != "" {
			err = errors.New(rest(1))
		}
		s.feed(cleaned{err})
	case "wait":
		s.wait(s.duration(arg(1)))
	case "clock": // set back while no daemon ran
		s.now = s.now.Add(-s.duration(arg(1)))
	case "late":
		s.feed(fired{timer{retryDue, arg(1), s.container(arg(1)).Gen - 1}})
	case "status":
		s.status()
	default:
		s.t.Fatalf("unknown command %q", lines[0])
	}
}

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// newPod reads a manifest, of which only the parts that matter need be there.
func (s *script) newPod(manifest string) {
	s.pod = &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(manifest), s.pod); err != nil {
		s.t.Fatal(err)
	}
	s.pod.Name, s.pod.Namespace, s.pod.UID = cmp.Or(s.pod.Name, "p"), "ns", "uid"
	s.pod.Spec.RestartPolicy = cmp.Or(s.pod.Spec.RestartPolicy, corev1.RestartPolicyAlways)
	for _, list := range [][]corev1.Container{s.pod.Spec.InitContainers, s.pod.Spec.Containers} {
		for i := range list {
			list[i].Image = cmp.Or(list[i].Image, "img:1")
		}
	}
	s.now, s.timers, s.manual, s.shown, s.refreshAt = epoch, nil, "", status{}, time.Time{}
	s.state = newState(s.pod, s.sup, s.now)
}

func (s *script) container(name string) *Container {
	for i := range s.state.Containers {
		if s.state.Containers[i].Name == name {
			return &s.state.Containers[i]
		}
	}
	s.t.Fatalf("no container %q", name)
	return nil
}

// feed gives the machine an event, writes down its effects, and answers what is to be answered at once.
func (s *script) feed(e event) {
	next, effects := step(s.state, e, s.now)
	s.state = next
	var answers []event
	for _, f := range effects {
		if text := describe(s.t, f); text != "" {
			fmt.Fprintln(&s.answer, text)
		}
		switch f := f.(type) {
		case prepare:
			if s.manual == "" {
				answers = append(answers, prepared{RefreshAt: s.refreshAt})
			}
		case project:
			if s.manual == "" {
				answers = append(answers, projected{Gen: f.Gen, RefreshAt: s.refreshAt})
			}
		case resolve:
			if s.manual != "all" {
				answers = append(answers, resolved{
					Container: f.Container, Gen: f.Gen, Spec: moduleactor.Spec{Container: f.Container, Image: specOf(s.state.Pod, f.Container).Image},
				})
			}
		case after:
			s.timers = slices.DeleteFunc(s.timers, func(p pending) bool {
				return p.timer.Kind == f.Timer.Kind && p.timer.Container == f.Timer.Container
			})
			s.timers = append(s.timers, pending{s.now.Add(f.Delay), f.Timer})
		case run, kill, release, observe, cleanup, end: // the script answers these
		}
	}
	for _, a := range answers {
		s.feed(a)
	}
}

func describe(t *testing.T, f effect) string {
	t.Helper()
	switch f := f.(type) {
	case run:
		adopt := ""
		if f.Run.Adopt {
			adopt = " adopt"
		}
		return fmt.Sprintf("run %s #%d %s%s", f.Run.Spec.Container, f.Run.Attempt, f.Run.Spec.Image, adopt)
	case kill:
		return fmt.Sprintf("kill %s within %s", f.Container, f.Grace)
	case release:
		return "release " + f.Container
	case cleanup:
		return "cleanup"
	case end:
		return "end"
	case prepare:
		if f.ScanOnly {
			return "scan"
		}
		return "prepare"
	case project:
		return "project"
	case observe:
		return describeEvent(t, f.Event)
	case resolve, after: // what follows from them is seen
	}
	return ""
}

func describeEvent(t *testing.T, e actors.Event) string {
	t.Helper()
	switch e := e.(type) {
	case actors.Transition:
		return fmt.Sprintf("%s -> %s: %s", e.From, e.To, e.Why)
	case actors.Decision:
		verb := map[actors.Directive]string{actors.DirectiveRestart: "restart after " + e.Delay.String(), actors.DirectiveStop: "stop"}
		return fmt.Sprintf("decide %s %s(%d): %s", e.Container, e.Reason, e.Code, verb[e.Directive])
	case actors.Notice:
		kind := "Normal"
		if e.Warning {
			kind = "Warning"
		}
		text := fmt.Sprintf("event %s %s %s %s", kind, e.Reason, cmp.Or(e.FieldPath, "-"), e.Message)
		if e.Pull != (actors.Pull{}) {
			text += fmt.Sprintf(" [%v, %d bytes]", e.Pull.Took, e.Pull.Bytes)
		}
		return text
	case actors.Failure:
		t.Fatalf("the machine is broken: %s", e.Reason)
	case actors.DeadLetter:
	}
	return ""
}

// start brings the current attempt to Running, with all its facts.
func (s *script) start(name string) {
	for _, fact := range []string{"pulling", "present", "created", "started"} {
		s.report(name, fact)
	}
}

func (s *script) report(name, fact string) {
	c := s.container(name)
	id := fmt.Sprintf("wazlet://%s-%d", name, c.Attempt)
	image := specOf(s.state.Pod, name).Image
	imageID := "reg/" + image + "@sha256:abc"
	var f moduleactor.Fact
	switch fact {
	case "pulling":
		f = moduleactor.Pulling{Container: name, Attempt: c.Attempt, Image: image}
	case "remote":
		f = moduleactor.Pulling{Container: name, Attempt: c.Attempt, Image: image, Remote: true}
	case "present":
		f = moduleactor.Pulled{Container: name, Attempt: c.Attempt, Image: image, ImageID: imageID, Present: true}
	case "pulled":
		f = moduleactor.Pulled{
			Container: name, Attempt: c.Attempt, Image: image, ImageID: imageID, Size: 1234,
			Took: 1500 * time.Millisecond, Waited: 300 * time.Millisecond,
		}
	case "created":
		f = moduleactor.Created{Container: name, Attempt: c.Attempt, ContainerID: id}
	case "started", "adopted":
		f = moduleactor.Started{
			Container: name, Attempt: c.Attempt, ContainerID: id, ImageID: imageID, StartedAt: s.now, Adopted: fact == "adopted",
		}
	default:
		s.t.Fatalf("unknown fact %q", fact)
	}
	s.feed(reported{f})
}

func (s *script) exit(name, code, reason string) {
	c := s.container(name)
	n, err := strconv.Atoi(code)
	if err != nil {
		s.t.Fatal(err)
	}
	x := actors.Exit{
		Reason: actors.Reason(reason), Code: int32(n), Attempt: c.Attempt, StartedAt: c.StartedAt, FinishedAt: s.now,
		ContainerID: c.ContainerID, ImageID: c.ImageID,
	}
	switch {
	case reason != "":
	case n == 0:
		x.Reason = actors.ReasonCompleted
	default:
		x.Reason = actors.ReasonError
	}
	s.feed(exited{name, x})
}

// found reads attempts on disk: NAME:ATTEMPT:alive, NAME:ATTEMPT:starting, NAME:ATTEMPT:dead, or NAME:ATTEMPT:unentered for
// one whose guest was never entered.
func (s *script) found(words []string) []bundle.Found {
	var list []bundle.Found
	for _, w := range words {
		part := strings.Split(w, ":")
		n, err := strconv.Atoi(part[1])
		if err != nil {
			s.t.Fatal(err)
		}
		f := bundle.Found{ID: bundle.ID{PodUID: "uid", Container: part[0], Attempt: n}, Alive: part[2] == "alive" || part[2] == "starting"}
		f.Spec = bundle.Spec{ContainerID: fmt.Sprintf("wazlet://%s-%d", part[0], n), ImageID: "reg/img:1@sha256:abc"}
		if part[2] == "alive" || part[2] == "dead" {
			f.State = &bundle.State{PID: 1, StartedAt: s.now}
		}
		switch part[2] {
		case "dead":
			f.Exit = &bundle.Exit{FinishedAt: s.now, StartedAt: s.now}
		case "unentered":
			f.Exit = &bundle.Exit{FinishedAt: s.now, Code: 137, Reason: bundle.Killed}
		}
		list = append(list, f)
	}
	return list
}

// wait lets time pass; timers fire on their way, in order.
func (s *script) wait(d time.Duration) {
	end := s.now.Add(d)
	for {
		i := -1
		for j := range s.timers {
			if !s.timers[j].at.After(end) && (i < 0 || s.timers[j].at.Before(s.timers[i].at)) {
				i = j
			}
		}
		if i < 0 {
			s.now = end
			return
		}
		p := s.timers[i]
		s.timers = slices.Delete(s.timers, i, i+1)
		s.now = p.at
		before := s.answer.Len()
		s.feed(fired{p.timer})
		if s.answer.Len() > before { // say when, above what it led to
			text := s.answer.String()
			s.answer.Reset()
			fmt.Fprintf(&s.answer, "%s@%s\n%s", text[:before], s.now.Sub(epoch), text[before:])
		}
	}
}

// status writes the status that a user sees.
func (s *script) status() {
	p := deriveStatus(&s.state, Config{}, s.shown, s.now)
	s.shown = status{PodStatus: p}
	line := strings.TrimSpace(fmt.Sprintf("phase %s %s %s", p.Phase, p.Reason, p.Message))
	fmt.Fprintln(&s.answer, line)
	for _, c := range p.Conditions {
		text := strings.TrimSpace(fmt.Sprintf("%s=%s %s %s", c.Type, c.Status, c.Reason, c.Message))
		fmt.Fprintf(&s.answer, "  %s\n", text)
	}
	for _, c := range slices.Concat(p.InitContainerStatuses, p.ContainerStatuses) {
		fmt.Fprintf(&s.answer, "%s restarts=%d ready=%t %s", c.Name, c.RestartCount, c.Ready, describeState(c.State))
		if c.LastTerminationState.Terminated != nil {
			fmt.Fprintf(&s.answer, "; last %s", describeState(c.LastTerminationState))
		}
		fmt.Fprintln(&s.answer)
	}
}

func describeState(c corev1.ContainerState) string {
	switch {
	case c.Running != nil:
		return "running since " + c.Running.StartedAt.Sub(epoch).String()
	case c.Terminated != nil:
		return strings.TrimSpace(fmt.Sprintf("terminated %s(%d) %s", c.Terminated.Reason, c.Terminated.ExitCode, c.Terminated.Message))
	default:
		return strings.TrimSpace(fmt.Sprintf("waiting %s %s", c.Waiting.Reason, c.Waiting.Message))
	}
}
